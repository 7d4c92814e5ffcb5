"""What a server counts, and how it says so: Prometheus' text format (prometheus.io, exposition format 0.0.4).

Written here because a request costs us 25 µs in all: a dictionary and a list are a fiftieth of that, a metrics library
with locks for threads that we do not have is a fifth (decisions/0028).
"""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from mawasu.serving.behind import OPEN

KIND = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS = tuple(0.0001 * 2 ** (step / 2) for step in range(40))
"""Seconds: from 0.1 ms to 74 s, each √2 times the one before. So a quantile that is read from the buckets, as the
geometric middle of the one it lies in, is at most the fourth root of 2 (19 %) off."""
OTHER = "other"  # what no operation of the OpenAPI file matches
PATHS = 1024  # different paths whose operation is remembered

Labels = Mapping[str, str]


class Sample(NamedTuple):
    suffix: str
    labels: Labels
    value: float


class Family(NamedTuple):
    """`name` without the `mawasu_` that all begin with; `kind` is counter, gauge or histogram."""

    name: str
    kind: str
    help: str
    samples: Sequence[Sample]


def counter(name: str, help: str, value: float) -> Family:
    return Family(f"{name}_total", "counter", help, [Sample("", {}, value)])


def gauge(name: str, help: str, value: float) -> Family:
    return Family(name, "gauge", help, [Sample("", {}, value)])


def buckets(bounds: Sequence[float], counts: Sequence[int], total: float, labels: Labels) -> list[Sample]:
    """The samples of one histogram: `counts` has one more than `bounds`, for what is above them all."""
    found, below = [], 0
    for bound, count in zip(bounds, counts, strict=False):
        below += count
        found.append(Sample("_bucket", {**labels, "le": f"{bound:.6g}"}, below))
    every = below + counts[-1]
    return [
        *found,
        Sample("_bucket", {**labels, "le": "+Inf"}, every),
        Sample("_sum", labels, total),
        Sample("_count", labels, every),
    ]


def text(families: Iterable[Family], labels: Labels) -> bytes:
    """With `labels` at every sample."""
    lines = []
    for family in families:
        name = f"mawasu_{family.name}"
        lines.append(f"# HELP {name} {family.help}\n# TYPE {name} {family.kind}\n")
        for suffix, own, value in family.samples:
            told = ",".join(f'{key}="{escaped(what)}"' for key, what in {**labels, **own}.items())
            lines.append(f"{name}{suffix}{{{told}}} {value:.10g}\n" if told else f"{name}{suffix} {value:.10g}\n")
    return "".join(lines).encode()


def escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


class Operations:
    """Those of the OpenAPI file, as `POST /flights/{id}`, the most particular first."""

    def __init__(self, names: Sequence[str], prefix: str) -> None:
        self._patterns = [(name, pattern(name)) for name in names]
        self._prefix = prefix.encode()

    def of(self, method: str, path: bytes) -> str:
        rest = path.removeprefix(OPEN.encode()).removeprefix(self._prefix) if self._prefix else path
        asked = f"{method} {rest.decode('latin-1') or '/'}"
        return next((name for name, matches in self._patterns if matches.fullmatch(asked)), OTHER)


class Series:
    """Of one operation."""

    __slots__ = ("buckets", "seconds", "statuses")

    def __init__(self) -> None:
        self.statuses: dict[int, int] = {}
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0


class Requests:
    """Requests by operation and status, and how long each took: from its head to the last byte handed to the kernel.

    A path that a caller thinks up makes no new series.
    """

    def __init__(self, operations: Sequence[str] = (), prefix: str = "") -> None:
        self._operations = Operations(operations, prefix)
        self._series: dict[str, Series] = {}
        self._known: dict[tuple[str, bytes], Series] = {}

    def saw(self, method: str, path: bytes, status: int, seconds: float) -> None:
        series = self._known.get((method, path)) or self._find(method, path)
        series.statuses[status] = series.statuses.get(status, 0) + 1
        series.buckets[bisect_left(BOUNDS, seconds)] += 1
        series.seconds += seconds

    def families(self) -> list[Family]:
        counts = [
            Sample("", {"operation": name, "status": str(status)}, count)
            for name, series in self._series.items()
            for status, count in series.statuses.items()
        ]
        times = [
            sample
            for name, series in self._series.items()
            for sample in buckets(BOUNDS, series.buckets, series.seconds, {"operation": name})
        ]
        return [
            Family("requests_total", "counter", "Requests answered.", counts),
            Family("request_seconds", "histogram", "From a request's head to its answer's last byte.", times),
        ]

    def _find(self, method: str, path: bytes) -> Series:
        if len(self._known) >= PATHS:
            self._known.clear()
        name = self._operations.of(method, path)
        found = self._known[method, path] = self._series.setdefault(name, Series())
        return found


def pattern(operation: str) -> re.Pattern[str]:
    """What requests of an operation look like: `METHOD /path`, one trailing slash allowed."""
    method, _, path = operation.partition(" ")
    texts = re.split(r"\{[^{}/]*\}", path.rstrip("/"))
    return re.compile(
        f"{method} " + "[^/]+".join(re.escape(quote(one, safe="/-._~!$&'()*+,;=:@%")) for one in texts) + "/?"
    )


def resident(pid: int | str) -> int:
    """Bytes of memory a process holds, with pages it shares (proc_pid_statm(5)); 0 where that cannot be read."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0
