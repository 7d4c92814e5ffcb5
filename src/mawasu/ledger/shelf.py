"""Where the entries of a ledger stand: what a ledger asks of it, and the one in a directory of the home."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from mawasu.ledger.checkpoints import Box, DirectoryBox
from mawasu.store.durable import Area, refused, reported, sync_directory
from mawasu.store.names import escape, unescape

_SHARD = 1000  # entries in one directory


class Shelf(Protocol):
    """The entries of one feature's ledger as bytes, by number from 1. Safe for many threads and processes.

    Every method raises PlatformError when the disk or the network refuses.
    """

    @property
    def feature(self) -> str: ...

    @property
    def poll(self) -> float:
        """Seconds between looks for entries of other processes."""

    @property
    def every(self) -> int:
        """A checkpoint is worth its while after so many entries."""

    @property
    def checkpoints(self) -> Box: ...

    def read(self, number: int) -> bytes | None: ...

    def following(self, number: int) -> Iterator[bytes]:
        """Entries from `number` on, up to the first that is not there."""

    def numbers(self) -> Iterator[int]:
        """Of all entries that are there, in order, past what is missing."""

    def has(self, number: int) -> bool: ...

    def create(self, number: int, data: bytes) -> bool:
        """Durably; False if the entry is there (the first stands)."""

    def later(self, number: int) -> int | None:
        """The first entry near the end that has a higher number."""

    def where(self, number: int) -> str:
        """What people find the entry by."""


def relative(number: int) -> str:
    """The path of an entry below its ledger: names sort as numbers do."""
    return f"{number // _SHARD:09d}/{number:012d}.json"


def entry_path(directory: Path, feature: str, number: int) -> Path:
    return directory / escape(feature) / relative(number)


def features(directory: Path) -> list[str]:
    """The features that have a ledger below `home.ledger`, sorted."""
    if not directory.is_dir():
        return []
    return sorted(unescape(path.name) for path in directory.iterdir() if path.is_dir())


class DirectoryShelf:
    """`<directory>/<feature>/<thousands>/<number>.json`. Creating one touches nothing."""

    poll = 0.02
    every = 256

    def __init__(self, directory: Path, feature: str, checkpoints: Path) -> None:
        """`directory` is `home.ledger`, `checkpoints` is `home.checkpoints`."""
        self.feature = feature
        self.checkpoints: Box = DirectoryBox(checkpoints / escape(feature))
        self._area = Area(directory / escape(feature))

    def read(self, number: int) -> bytes | None:
        path = f"{self._area.root}/{relative(number)}"  # not a Path: making those took half of a long read
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                return os.read(fd, os.fstat(fd).st_size)
            finally:
                os.close(fd)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise refused("read entry", Path(path), error) from error

    def following(self, number: int) -> Iterator[bytes]:
        while (data := self.read(number)) is not None:
            yield data
            number += 1

    def numbers(self) -> Iterator[int]:
        for shard in sorted(self._area.root.glob("[0-9]" * 9)):
            for path in sorted(shard.glob("[0-9]" * 12 + ".json")):
                yield int(path.stem)

    def has(self, number: int) -> bool:
        return self._path(number).exists()

    def create(self, number: int, data: bytes) -> bool:
        path = self._path(number)
        with reported("write entry", path):
            if number % _SHARD == 0:
                # The entries before this shard may be another process's, not synced yet: no gap must appear.
                sync_directory(self._path(number - 1).parent)
            return self._area.create(path, data)

    def later(self, number: int) -> int | None:
        shards = {self._path(number).parent, self._path(number + _SHARD).parent}
        names = [path.name for shard in shards if shard.is_dir() for path in shard.iterdir()]
        found = min((name for name in names if name > self._path(number).name), default=None)
        return int(found.partition(".")[0]) if found else None

    def where(self, number: int) -> str:
        return str(self._path(number))

    def _path(self, number: int) -> Path:
        return self._area.root / relative(number)
