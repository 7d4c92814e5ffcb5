"""Callers that never stop asking: wrk where it is installed, else threads of this process (slower, as strict)."""

from __future__ import annotations

import re
import shutil
import signal
import statistics
import subprocess
import threading
import time
from dataclasses import dataclass

from bench.world import World

CONNECTIONS = 8
LONGEST = 600  # seconds

_SCRIPT = """\
wrk.method = "POST"
wrk.body = '{{"x": 0.5}}'
wrk.headers["content-type"] = "application/json"
wrk.headers["x-api-key"] = "{key}"
"""


@dataclass(frozen=True)
class Load:
    """What the callers saw; `failed` counts answers other than 2xx, and connections refused, cut or silent."""

    requests: int
    failed: int
    rps: float
    p50: float  # ms
    p99: float  # ms


class Wrk:
    """https://github.com/wg/wrk; a closed loop: every connection asks again as soon as it is answered."""

    name = "wrk"

    def __init__(self, world: World, feature: str) -> None:
        script = world.top / "wrk.lua"
        script.write_text(_SCRIPT.format(key=world.key))
        url = f"http://127.0.0.1:{world.port}/{feature}/staging/predict"
        counts = ["-t1", f"-c{CONNECTIONS}", f"-d{LONGEST}", "--timeout", "5", "--latency"]
        self._process = subprocess.Popen(["wrk", *counts, "-s", str(script), url], text=True, stdout=subprocess.PIPE)

    def stop(self) -> Load:
        self._process.send_signal(signal.SIGINT)  # it then prints what it has
        said, _ = self._process.communicate(timeout=60)
        return parsed(said)


def parsed(said: str) -> Load:
    """What wrk printed, which was told `--latency`."""
    total, seconds = re.search(r"(\d+) requests in ([\d.]+\w+)", said).groups()  # type: ignore[union-attr]
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    failed = sum(int(count) for found in (errors, refused) if found for count in found.groups())
    p50, p99 = (_milliseconds(re.search(rf"^ +{share}%\s+(\S+)", said, re.M).group(1)) for share in (50, 99))  # type: ignore[union-attr]
    return Load(int(total), failed, int(total) / (_milliseconds(seconds) / 1000), p50, p99)


class Threads:
    name = "threads"

    def __init__(self, world: World, feature: str) -> None:
        self._times: list[float] = []
        self._failed = 0
        self._stop = threading.Event()
        self._began = time.perf_counter()
        self._world, self._feature = world, feature
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(CONNECTIONS // 2)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        caller = self._world.caller(self._feature)
        while not self._stop.is_set():
            began = time.perf_counter()
            status, _ = caller.ask()
            self._times.append((time.perf_counter() - began) * 1000)
            self._failed += status != 200

    def stop(self) -> Load:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        seconds = time.perf_counter() - self._began
        shares = statistics.quantiles(self._times, n=100)
        return Load(len(self._times), self._failed, len(self._times) / seconds, shares[49], shares[98])


def start(world: World, feature: str) -> Wrk | Threads:
    return Wrk(world, feature) if shutil.which("wrk") else Threads(world, feature)


def _milliseconds(text: str) -> float:
    """`1.23ms`, `45.60us`, `10.02s`, `1.50m` as wrk prints them."""
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m|h)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0, "h": 3_600_000.0}[unit]
