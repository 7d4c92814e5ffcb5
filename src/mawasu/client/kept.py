"""Which kept answers may be used, and which new ones are kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mawasu.client.cache import Entry, Memory, Redis, key_of, packed, unpacked
from mawasu.client.effects import Read, Steps, Write
from mawasu.client.freshness import Releases, lifetime


@dataclass(frozen=True, slots=True)
class Asked:
    """Items (as JSON texts) that go to one path for one unit ("" for none)."""

    path: str
    unit: str
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """Not fresh: it may be used when the API does not answer. `age` in seconds since the model said it."""

    value: str
    release: str
    fresh: bool
    age: float


class Kept:
    """Safe for threads. `who` stands for the credential: what one caller may see another may not."""

    def __init__(self, cache: Memory | Redis, base: str, who: str, clock: Callable[[], float] = time.time) -> None:
        self._cache = cache
        self._base, self._who = base, who
        self._clock = clock
        self._releases = Releases(clock)

    def find(self, asked: Asked, timeout: float) -> Steps[list[Found | None]]:
        """One for each item. Costs at most two look-ups, and `timeout` seconds each."""
        entries = yield from self._read([self._key(asked, text, "") for text in asked.texts], timeout)
        divided = [number for number, entry in enumerate(entries) if entry is not None and entry.by_unit]
        if divided:
            keys = [self._key(asked, asked.texts[number], asked.unit) for number in divided]
            own = (yield from self._read(keys, timeout)) if asked.unit else [None] * len(divided)
            for number, entry in zip(divided, own, strict=True):
                entries[number] = entry
        return [self._usable(entry) if entry is not None else None for entry in entries]

    def keep(self, asked: Asked, values: Sequence[str], headers: Mapping[str, str], timeout: float) -> Steps[float]:
        """What the API answered, as long as it and the cache's owner say. Seconds of age it came with."""
        release = headers.get("mawasu-release", "")
        if release:
            self._releases.heard(release)
        life = lifetime(headers, ttl=self._cache.ttl, stale=self._cache.stale)
        if life.kept <= 0 or (life.by_unit and not asked.unit):
            return life.age
        now = self._clock()
        entries: dict[str, Entry] = {}
        for text, value in zip(asked.texts, values, strict=True):
            entry = Entry(value, release, now, life.age, life.fresh, life.stale)
            entries[self._key(asked, text, asked.unit if life.by_unit else "")] = entry
            if life.by_unit:
                divided = Entry("", release, now, 0.0, life.fresh, life.stale, by_unit=True)
                entries[self._key(asked, text, "")] = divided
        if isinstance(self._cache, Redis):
            if timeout > 0:
                yield Write({key: packed(key, entry) for key, entry in entries.items()}, life.kept, timeout)
        else:
            for key, entry in entries.items():
                self._cache.put(key, entry)
        return life.age

    def _usable(self, entry: Entry) -> Found | None:
        since = max(0.0, self._clock() - entry.at)
        if entry.by_unit or since >= entry.fresh + entry.stale:
            return None
        fresh = since < entry.fresh and entry.at >= self._releases.changed
        return Found(entry.value, entry.release, fresh, entry.age + since)

    def _read(self, keys: Sequence[str], timeout: float) -> Steps[list[Entry | None]]:
        if isinstance(self._cache, Memory):
            return [self._cache.get(key) for key in keys]
        read: list[bytes | None] = yield Read(tuple(keys), timeout)
        return [unpacked(key, value) if value is not None else None for key, value in zip(keys, read, strict=True)]

    def _key(self, asked: Asked, text: str, unit: str) -> str:
        return key_of(self._base, self._who, asked.path, text, unit)
