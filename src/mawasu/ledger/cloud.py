"""A ledger in a bucket: `ledger/<feature>/<thousands>/<number>.json`, its checkpoints in `checkpoints/<feature>/`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice
from pathlib import Path

from mawasu.errors import PlatformError
from mawasu.google.objects import Found
from mawasu.google.storage import Bucket
from mawasu.ledger.checkpoints import Box, DirectoryBox, rules
from mawasu.ledger.shelf import relative
from mawasu.store.names import escape, unescape

_LEDGER = "ledger/"
_CHECKPOINTS = "checkpoints/"
_THREADS = 16  # entries read at once
_AHEAD = 4 * _THREADS


def features(bucket: Bucket) -> list[str]:
    """The features that have a ledger in the bucket, sorted. Raises MissingBucketError."""
    return sorted(unescape(name) for name in bucket.folders(_LEDGER))


class CloudShelf:
    """`Shelf` in a bucket: an entry is created with `ifGenerationMatch=0`, so whoever is first has its number.

    Cloud Storage lists and reads what was written, always (cloud.google.com/storage/docs/consistency): no entry is
    missed. `cache` keeps checkpoints on this machine.
    """

    poll = 1.0
    every = 32  # each entry is a request to read again, but a checkpoint is one too

    def __init__(self, bucket: Bucket, feature: str, cache: Path | None = None) -> None:
        self.feature = feature
        self.checkpoints: Box = CloudBox(bucket, feature, cache)
        self._bucket = bucket
        self._prefix = f"{_LEDGER}{escape(feature)}/"

    def read(self, number: int) -> bytes | None:
        return self._bucket.read(self._name(number))

    def following(self, number: int) -> Iterator[bytes]:
        """Mostly there is nothing new, or little: then it takes one request, or three. A long tail is read ahead."""
        first = self.read(number)
        if first is None:
            return
        yield first
        there = self._listed(number + 1)
        while names := list(islice(there, _AHEAD)):
            with ThreadPoolExecutor(_THREADS) as pool:
                entries = list(pool.map(self._bucket.read, names))
            for data in entries:
                if data is None:
                    return
                yield data

    def _listed(self, number: int) -> Iterator[str]:
        """Names of the entries from `number` on, up to the first that is not there."""
        for found, at in zip(self._bucket.list(self._prefix, start=self._name(number)), count(number), strict=False):
            if found.name != self._name(at):
                return
            yield found.name

    def numbers(self) -> Iterator[int]:
        return (_number(found) for found in self._bucket.list(self._prefix))

    def has(self, number: int) -> bool:
        return self._bucket.stat(self._name(number)) is not None

    def create(self, number: int, data: bytes) -> bool:
        return self._bucket.create(self._name(number), data)

    def later(self, number: int) -> int | None:
        found = next(self._bucket.list(self._prefix, start=self._name(number + 1)), None)
        return _number(found) if found else None

    def where(self, number: int) -> str:
        return f"gs://{self._bucket.name}/{self._name(number)}"

    def _name(self, number: int) -> str:
        return self._prefix + relative(number)


def _number(found: Found) -> int:
    return int(found.name.rpartition("/")[2].partition(".")[0])


class CloudBox:
    """Checkpoints in the bucket, for everybody, and in a directory here, so that reading again reads nothing.

    Each version of mawasu has its own: two that fold by other rules would write over each other's for ever.
    """

    def __init__(self, bucket: Bucket, feature: str, cache: Path | None) -> None:
        self._bucket = bucket
        self._prefix = f"{_CHECKPOINTS}{escape(feature)}/{rules().hex()[:16]}/"
        self._here = DirectoryBox(cache / escape(feature)) if cache else None

    def names(self) -> set[str]:
        found = {one.name.removeprefix(self._prefix) for one in self._bucket.list(self._prefix)}
        return found | set(self._here.names() if self._here else ())

    def read(self, name: str) -> bytes | None:
        data = self._here.read(name) if self._here else None
        if data is None:
            data = self._bucket.read(self._prefix + name)
            if data is not None and self._here:
                self._here.write(name, data)
        return data

    def write(self, name: str, *parts: bytes | memoryview) -> bool:
        """Who may only read the bucket keeps it here."""
        kept = bool(self._here and self._here.write(name, *parts))
        with contextlib.suppress(PlatformError):
            self._bucket.put(self._prefix + name, b"".join(parts))
            kept = True
        return kept

    def remove(self, name: str) -> None:
        if self._here:
            self._here.remove(name)
        with contextlib.suppress(PlatformError):
            self._bucket.delete(self._prefix + name)
