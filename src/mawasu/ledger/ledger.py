"""A feature's ledger on disk: entry N is a file that is created only if it does not exist, and holds N−1's digest.

`<directory>/<feature>/<thousands>/<number>.json`. Order is the sequence; the time in an entry is for people.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from mawasu.errors import CorruptError, MawasuError
from mawasu.ledger import checkpoints
from mawasu.ledger.entries import AnyBody, Entry, decode, encode
from mawasu.ledger.fold import State, apply_into, unshared
from mawasu.store.durable import Area, refused, reported, sync_directory
from mawasu.store.names import escape, unescape
from mawasu.words import Digest, digest_of

_SHARD = 1000  # entries in one directory
_POLL = 0.02  # seconds between looks for entries of other processes

_HINT = "restore the ledger from a backup; `mawasu verify` names every broken link"


def entry_path(directory: Path, feature: str, number: int) -> Path:
    return directory / escape(feature) / _relative(number)


def _relative(number: int) -> str:
    return f"{number // _SHARD:09d}/{number:012d}.json"


def features(directory: Path) -> list[str]:
    """The features that have a ledger below `home.ledger`, sorted."""
    if not directory.is_dir():
        return []
    return sorted(unescape(path.name) for path in directory.iterdir() if path.is_dir())


class Ledger:
    """One feature's ledger: safe for many threads and many processes. Opening it touches nothing.

    Every method that reads raises CorruptError for an entry that is unreadable, or does not hold the digest of the
    one before it; `append` raises PlatformError when the disk refuses, and then earlier entries are as they were.
    """

    def __init__(self, directory: Path, feature: str, checkpoints: Path) -> None:
        """`directory` is `home.ledger`, `checkpoints` is `home.checkpoints`."""
        self.feature = feature
        self._area = Area(directory / escape(feature))
        self._checkpoints = checkpoints / escape(feature)
        self._changed = threading.Condition()  # guards all below
        self._state: State | None = None  # None: not opened yet
        self._shared = False  # somebody else holds self._state
        self._saved = 0  # number of the last checkpoint

    def append(self, body: AnyBody, expect: Callable[[State], None] | None = None) -> Entry:
        """Write the next entry; durable on return.

        `expect` is called with the newest state before each attempt, and raises to withdraw: what it saw is what the
        entry follows, whoever else is writing.
        """
        with self._changed:
            while True:
                state = self._refresh()
                if expect:
                    self._shared = True
                    expect(state)
                entry = Entry(state.number + 1, state.head, time.time(), body)
                data = encode(entry)
                with reported("write entry", self._path(entry.number)):
                    if entry.number % _SHARD == 0:
                        # The entries before this shard may be another process's, not synced yet: no gap must appear.
                        sync_directory(self._path(entry.number - 1).parent)
                    created = self._area.create(self._path(entry.number), data)
                if created:
                    self._take([(entry, digest_of(data))])
                    return entry

    def entries(self, start: int = 1) -> Iterator[Entry]:
        """Entries from number `start` on, up to the newest; each link is checked on the way."""
        return (entry for entry, _ in self._read_from(start, None))

    def state(self) -> State:
        """What is true now. A value: later entries do not change it, and neither must you."""
        with self._changed:
            state = self._refresh()
            self._shared = True
            return state

    def wait(self, number: int, timeout: float) -> bool:
        """Wait until entry `number` exists; False if it does not within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        path = self._path(number)
        with self._changed:
            while not path.exists():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(min(left, _POLL))  # woken by this process, looking for the others
        return True

    # ------------------------------------------------------------------------------------------------ inside

    def _path(self, number: int) -> Path:
        return self._area.root / _relative(number)

    def _refresh(self) -> State:
        """The state with all entries that are there."""
        if self._state is None:
            return self._open()
        if self._path(self._state.number + 1).exists():
            self._take(self._read_from(self._state.number + 1, self._state.head))
        return self._state

    def _open(self) -> State:
        self._state = state = checkpoints.load(self._checkpoints, self._digest_at)
        self._saved = state.number
        try:
            self._take(self._read_from(state.number + 1, state.head))
            self._check_end(state.number)
        except MawasuError:
            self._state = None
            raise
        return state

    def _take(self, new: Iterator[tuple[Entry, Digest]] | list[tuple[Entry, Digest]]) -> None:
        """Fold new entries into the state; on a broken link, up to the link."""
        assert self._state is not None
        if self._shared:
            self._state, self._shared = unshared(self._state), False
        try:
            for entry, digest in new:
                apply_into(self._state, entry, digest)
        finally:
            self._changed.notify_all()
        if self._state.number - self._saved >= checkpoints.EVERY:
            checkpoints.save(self._checkpoints, self._state)
            self._saved = self._state.number

    def _read_from(self, number: int, previous: Digest | None) -> Iterator[tuple[Entry, Digest]]:
        """Entries and the digests of their bytes; `previous` None at a later start: its link cannot be checked."""
        check = previous is not None or number == 1
        while (data := self._bytes(number)) is not None:
            entry = self._decode(number, data)
            if check and entry.previous != previous:
                at = f"entry {number} of {self.feature} does not follow entry {number - 1}"
                raise CorruptError(f"{at}: one of them was changed ({self._path(number - 1)})", _HINT)
            previous, check = digest_of(data), True
            yield entry, previous
            number += 1

    def _decode(self, number: int, data: bytes) -> Entry:
        try:
            entry = decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            at = f"entry {number} of {self.feature} cannot be read ({self._path(number)})"
            raise CorruptError(f"{at}: {error}", _HINT) from error
        if entry.number != number:
            at = f"entry {number} of {self.feature} ({self._path(number)})"
            raise CorruptError(f"{at} calls itself {entry.number}", _HINT)
        return entry

    def _bytes(self, number: int) -> bytes | None:
        path = f"{self._area.root}/{_relative(number)}"  # not a Path: making those took half of a long read
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

    def _digest_at(self, number: int) -> Digest | None:
        data = self._bytes(number)
        return digest_of(data) if data is not None else None

    def _check_end(self, number: int) -> None:
        """Once per opening: no entry near the end may stand behind a missing one, or it would be written twice."""
        for shard in {self._path(number).parent, self._path(number + _SHARD).parent}:
            names = [path.name for path in shard.iterdir()] if shard.is_dir() else []
            later = [name for name in names if name > self._path(number + 1).name]
            if later and not self._path(number + 1).exists():
                raise CorruptError(f"entry {number + 1} of {self.feature} is missing, but {min(later)} is there", _HINT)
