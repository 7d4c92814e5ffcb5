"""Those who read a page whose model's API is in trouble: what may happen to an API is done to it, the page is timed."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.world import free_port

MODES = ("well", "killed", "stopped", "slow", "dripping", "500", "garbage")
READERS = 4
PATIENCE = 30.0  # seconds
REST = 0.01  # seconds between a reader's visits


@dataclass(frozen=True)
class Seen:
    """What readers of the page saw: seconds of each visit, and how many by where the answer came from."""

    seconds: list[float]
    sources: Counter[str]
    calls: int  # that reached the API

    @property
    def p50(self) -> float:
        return statistics.median(self.seconds)

    @property
    def p99(self) -> float:
        return statistics.quantiles(self.seconds, n=100, method="inclusive")[98]


class World:
    """A page and its API. `caller`: threads, loop or httpx (page.py). `pages`: so many different ones are read."""

    def __init__(self, top: Path, caller: str, *, redis: str = "", pages: int = 10**9) -> None:
        self._mode = top / f"{caller}.mode"
        self._calls = self._mode.with_suffix(".calls")
        self._calls.touch()
        self._mode.write_text("well")
        self._pages, self._visits = pages, 0
        self._api_port, self._port = free_port(), free_port()
        self._api: subprocess.Popen[bytes] | None = None
        self._start_api()
        self._page = script("page", caller, str(self._port), f"http://127.0.0.1:{self._api_port}", redis)
        listening(self._port)

    def become(self, mode: str) -> None:
        """From now on the API is one of MODES."""
        self._mode.write_text(mode)
        if mode == "killed":
            self._end_api()
            return
        self._start_api()
        assert self._api is not None
        self._api.send_signal(signal.SIGSTOP if mode == "stopped" else signal.SIGCONT)

    def recover(self) -> None:
        """Until the page has live answers again."""
        self.become("well")
        give_up = time.monotonic() + PATIENCE
        while self.visit() != "live":
            if time.monotonic() > give_up:
                raise SystemExit("the page never had a live answer again")
            time.sleep(0.02)

    def read(self, *, seconds: float = 0.0, visits: int = 0) -> Seen:
        """READERS read the page, each for so long or so often, resting a moment after each visit."""
        took: list[float] = []
        sources: Counter[str] = Counter()
        before = self.calls

        def reader() -> None:
            until, left = time.monotonic() + seconds, visits
            while left > 0 or time.monotonic() < until:
                began = time.perf_counter()
                source = self.visit()
                took.append(time.perf_counter() - began)
                sources[source] += 1
                left -= 1
                time.sleep(REST)

        threads = [threading.Thread(target=reader) for _ in range(READERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return Seen(took, sources, self.calls - before)

    def visit(self) -> str:
        """Where the page's answer came from."""
        self._visits += 1
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        try:
            connection.request("GET", f"/{self._visits % self._pages}")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    @property
    def calls(self) -> int:
        """That ever reached the API."""
        return self._calls.stat().st_size

    def close(self) -> None:
        self._page.kill()
        self._page.wait()
        self._end_api()

    def _start_api(self) -> None:
        if self._api is None:
            self._api = script("api", str(self._mode), str(self._api_port))
            listening(self._api_port)

    def _end_api(self) -> None:
        if self._api is not None:
            self._api.kill()  # also one that is stopped
            self._api.wait()
            self._api = None


@contextlib.contextmanager
def living(top: Path, caller: str, *, redis: str = "", pages: int = 10**9) -> Iterator[World]:
    world = World(top, caller, redis=redis, pages=pages)
    try:
        yield world
    finally:
        world.close()


def script(*words: str) -> subprocess.Popen[bytes]:
    here = Path(__file__).parent
    told = {**os.environ, "PYTHONPATH": str(here.parent / "src")}
    return subprocess.Popen([sys.executable, str(here / "page.py"), *words], env=told)


def listening(port: int) -> None:
    give_up = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.01)
