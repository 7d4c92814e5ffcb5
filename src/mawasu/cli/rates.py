"""From two readings of a revision's metrics to how it is doing between them. Pure.

A reading is the sum over the revision's replicas; a counter that is lower than before began again (the server was
restarted), so what it says now is all new.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

SAMPLE = re.compile(r"^mawasu_(\w+?)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
IDENTITY = frozenset(("feature", "environment", "revision", "replica"))

Key = tuple[str, tuple[tuple[str, str], ...]]
Reading = Mapping[Key, float]
"""Of one replica: by a sample's name (without `mawasu_`) and its labels, but those of whose it is."""


class Rates(NamedTuple):
    """Per second, or a share of 1; seconds; items. None where nothing happened that would say."""

    rps: float
    p50: float | None
    p99: float | None
    hits: float | None
    errors: float | None
    refused: float
    batch: float | None
    queued: int
    workers: int
    memory: int


def parse(text: str) -> Reading:
    return {
        (name, tuple(pair for pair in LABEL.findall(labels or "") if pair[0] not in IDENTITY)): float(value)
        for name, labels, value in SAMPLE.findall(text)
    }


def difference(before: Reading, after: Reading) -> dict[Key, float]:
    """What was counted between two readings of one replica; of what is no counter too, where it means nothing."""
    started = ("started_seconds", ())
    again = before.get(started) != after.get(started)
    return {key: value - (0.0 if again else before.get(key, 0.0)) for key, value in after.items()}


def rates(replicas: list[tuple[Reading, Reading]], seconds: float) -> Rates:
    """Of a revision: for each replica its reading before (empty for one that is new) and now."""
    counted: dict[Key, float] = {}
    for before, after in replicas:
        for key, value in difference(before, after).items():
            counted[key] = counted.get(key, 0.0) + value

    def total(name: str) -> float:
        return sum(value for (of, _), value in counted.items() if of == name)

    def now(name: str) -> int:
        return int(sum(value for _, after in replicas for (of, _), value in after.items() if of == name))

    requests = total("requests_total")
    failed = sum(
        value
        for (name, labels), value in counted.items()
        if name == "requests_total" and dict(labels).get("status", "").startswith("5")
    )
    found = total("cache_hits_total") + total("cache_stale_total") + total("cache_collapsed_total")
    asked = found + total("cache_misses_total") + total("cache_bypassed_total")
    batches = total("batches_total")
    return Rates(
        rps=requests / seconds,
        p50=quantile(0.5, counted),
        p99=quantile(0.99, counted),
        hits=found / asked if asked else None,
        errors=failed / requests if requests else None,
        refused=total("refused_total") / seconds,
        batch=total("items_total") / batches if batches else None,
        queued=now("queued"),
        workers=now("workers"),
        memory=now("server_memory_bytes") + now("worker_memory_bytes"),
    )


def quantile(share: float, counted: Mapping[Key, float]) -> float | None:
    """Seconds, of `request_seconds` over all operations: the geometric middle of the bucket it lies in, which is at
    most 19 % off (`serving/metrics.py`: a bucket's end is √2 times its beginning). None when there was no request."""
    below: dict[float, float] = {}
    for (name, labels), value in counted.items():
        if name == "request_seconds_bucket":
            bound = float(dict(labels)["le"])
            below[bound] = below.get(bound, 0.0) + value
    bounds = sorted(below)
    if not bounds or below[bounds[-1]] <= 0:
        return None
    rank = share * below[bounds[-1]]
    place = next(number for number, bound in enumerate(bounds) if below[bound] >= rank)
    if math.isinf(bounds[place]):
        return bounds[place - 1]  # at least
    return bounds[place] / 2**0.25
