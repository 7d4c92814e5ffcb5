"""Answers in this process: bounded by bytes, the one not asked for longest goes first."""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict
from collections.abc import Hashable
from hashlib import blake2b

import msgspec

from mawasu.serving.http_cache import Life
from mawasu.serving.message import Headers, Response

OVERHEAD = 1024  # bytes that an entry takes beside its texts, about


class Packed(msgspec.Struct, frozen=True, array_like=True):
    """An answer as other servers read it. `created` in seconds since the epoch."""

    created: float
    life: Life
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Asked(msgspec.Struct, frozen=True):
    """A request as it can be sent again, to a new release; without anything of the caller's identity."""

    method: str
    path: bytes
    query: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Entry:
    """One answer. Its headers are made once a second at most, since only `Age` and what is left to live change."""

    __slots__ = ("_age", "_headers", "_kept", "asked", "body", "created", "etag", "fresh", "hits", "key", "life",
                 "refresh", "size", "spelling")  # fmt: skip

    def __init__(self, key: bytes, packed: Packed, asked: Asked | None = None) -> None:
        self.key = key
        self.created, self.life, self.body = packed.created, packed.life, packed.body
        self.fresh = packed.created + packed.life.ttl  # until when
        self.refresh = 0.0  # not before: the last attempt failed
        self.hits = 0
        self.asked = asked
        self.spelling: Hashable = None  # the request by which it was found last, byte for byte
        named = {name for name, _ in packed.headers}
        self._kept = list(packed.headers)
        if b"cache-control" not in named:
            self._kept.append((b"cache-control", packed.life.header()))
        if b"etag" not in named:
            self._kept.append((b"etag", b'"%b"' % blake2b(packed.body, digest_size=12).hexdigest().encode()))
        self.etag = next(value for name, value in self._kept if name == b"etag")
        self.size = OVERHEAD + 2 * len(packed.body) + (2 * len(asked.body) if asked else 0)
        self._age = -1
        self._headers: Headers = []

    def packed(self) -> Packed:
        return Packed(self.created, self.life, self._kept, self.body)

    def hit(self, now: float) -> Response:
        """As the cache gives it at `now`."""
        age = int(now - self.created)
        if age != self._age:
            self._age = age
            self._headers = self.told(age, b"mawasu; hit; ttl=%d" % math.floor(self.fresh - now))
        self.hits += 1
        return Response(200, self._headers, self.body)

    def told(self, age: int, status: bytes) -> Headers:
        return [*self._kept, (b"age", b"%d" % max(0, age)), (b"cache-status", status)]


class Memory:
    """By key, and by the very bytes of the request that found an entry last, which saves making the key."""

    def __init__(self, limit: int) -> None:
        self.evictions = 0
        self.size = 0
        self._limit = limit
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self._spelled: dict[Hashable, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def spelled(self, spelling: Hashable) -> Entry | None:
        entry = self._spelled.get(spelling)
        if entry is not None:
            self._entries.move_to_end(entry.key)
        return entry

    def find(self, key: bytes, spelling: Hashable) -> Entry | None:
        """What `spelling` finds the next time too."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
            self._spelled.pop(entry.spelling, None)
            entry.spelling = spelling
            self._spelled[spelling] = entry
        return entry

    def put(self, entry: Entry, spelling: Hashable) -> None:
        """In place of what has its key; one that would fill an eighth of the room has none."""
        old = self._entries.pop(entry.key, None)
        if old is not None:
            self._forget(old)
            entry.hits += old.hits
        if entry.size > self._limit // 8:
            return
        entry.spelling = spelling
        self._entries[entry.key] = entry
        self._spelled[spelling] = entry
        self.size += entry.size
        while self.size > self._limit:
            self._forget(self._entries.popitem(last=False)[1])
            self.evictions += 1

    def top(self, count: int) -> list[Asked]:
        """The most asked requests, the most asked first."""
        known = (entry for entry in self._entries.values() if entry.asked is not None)
        return [entry.asked for entry in heapq.nlargest(count, known, key=lambda entry: entry.hits) if entry.asked]

    def _forget(self, entry: Entry) -> None:
        self._spelled.pop(entry.spelling, None)
        self.size -= entry.size
