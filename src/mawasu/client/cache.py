"""Answers that were given: in this process, or in a Redis that the processes of a site share."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from dataclasses import asdict, dataclass
from typing import Any

VERSION = 1  # of what stands in Redis
SUM = 16  # characters of a checksum


@dataclass(frozen=True, slots=True)
class Entry:
    """`value` is JSON text; with `by_unit` it is "" and says: ask with the unit in the key.

    `at` is the wall clock's time of keeping, `age` what it had then; `fresh` and `stale` are seconds from `at`.
    """

    value: str
    release: str
    at: float
    age: float
    fresh: float
    stale: float
    by_unit: bool = False


class Memory:
    """In this process; the least lately used go first. Safe for threads.

    `ttl`: seconds that an answer without `Cache-Control: max-age` is fresh. `stale`: seconds that an answer may be used
    after that when the API does not answer (its own `stale-if-error` may say more). What the API calls `no-store` or
    `no-cache` is never kept.
    """

    def __init__(self, entries: int = 10_000, *, ttl: float = 0.0, stale: float = 0.0) -> None:
        self.ttl, self.stale = ttl, stale
        self._most = entries
        self._kept: OrderedDict[str, Entry] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> Entry | None:
        with self._lock:
            entry = self._kept.get(key)
            if entry is not None:
                self._kept.move_to_end(key)
            return entry

    def put(self, key: str, entry: Entry) -> None:
        with self._lock:
            self._kept[key] = entry
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)

    def __len__(self) -> int:
        return len(self._kept)


@dataclass(frozen=True, slots=True)
class Redis:
    """In a Redis or Valkey, for all processes of a site.

    url: `redis://[user][:password]@host[:port][/db]`, `rediss://` with TLS (`?ca=` names a file of certificates to
    trust), or `unix:///path`. `timeout` in seconds is all that a look-up may cost; a Redis that does not keep to it is
    left alone for a while. `ttl` and `stale` as for Memory.
    """

    url: str
    timeout: float = 0.02
    ttl: float = 0.0
    stale: float = 0.0

    def __repr__(self) -> str:  # the url may hold a password
        return "Redis(…)"


def packed(key: str, entry: Entry) -> bytes:
    """For Redis: with a checksum, so that half of a value, or that of another key, is never taken for an answer."""
    text = json.dumps({"v": VERSION, **asdict(entry)}, ensure_ascii=False, separators=(",", ":")).encode()
    return _sum(key, text) + text


def unpacked(key: str, value: bytes) -> Entry | None:
    """None for what `packed` did not write."""
    if _sum(key, value[SUM:]) != value[:SUM]:
        return None
    try:
        told: dict[str, Any] = json.loads(value[SUM:])
        return Entry(**told) if told.pop("v") == VERSION else None
    except (ValueError, TypeError, KeyError):
        return None


def key_of(*parts: str) -> str:
    return f"mawasu:{VERSION}:{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}"


def _sum(key: str, text: bytes) -> bytes:
    return hashlib.sha256(key.encode() + text).hexdigest()[:SUM].encode()
