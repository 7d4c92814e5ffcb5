"""A feature's ledger: entry N is created only if it does not exist, and holds the digest of entry N−1.

Where entries stand is a `Shelf`: a directory, or a bucket. Order is the sequence; the time in an entry is for people.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator

import msgspec

from mawasu.errors import CorruptError, MawasuError
from mawasu.ledger import checkpoints
from mawasu.ledger.entries import AnyBody, Entry, decode, encode
from mawasu.ledger.fold import State, apply_into, unshared
from mawasu.ledger.shelf import Shelf
from mawasu.words import Digest, digest_of

_HINT = "restore the ledger from a backup; `mawasu verify` names every broken link"


class Ledger:
    """One feature's ledger: safe for many threads and many processes. Opening it touches nothing.

    Every method that reads raises CorruptError for an entry that is unreadable, or does not hold the digest of the
    one before it; `append` raises PlatformError when it cannot be written, and then earlier entries are as they were.
    """

    def __init__(self, shelf: Shelf) -> None:
        self.feature = shelf.feature
        self.poll = shelf.poll  # seconds between looks for what others write
        self._shelf = shelf
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
                if self._shelf.create(entry.number, data):
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
        with self._changed:
            while not self._shelf.has(number):
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(min(left, self._shelf.poll))  # woken by this process, looking for the others
        return True

    # ------------------------------------------------------------------------------------------------ inside

    def _refresh(self) -> State:
        """The state with all entries that are there."""
        if self._state is None:
            return self._open()
        self._take(self._read_from(self._state.number + 1, self._state.head))
        return self._state

    def _open(self) -> State:
        self._state = state = checkpoints.load(self._shelf.checkpoints, self._digest_at)
        self._saved = state.number
        try:
            self._take(self._read_from(state.number + 1, state.head))
            self._check_end(state.number)
        except MawasuError:
            self._state = None
            raise
        return state

    def _take(self, new: Iterable[tuple[Entry, Digest]]) -> None:
        """Fold new entries into the state; on a broken link, up to the link."""
        assert self._state is not None
        before = self._state.number
        try:
            for entry, digest in new:
                if self._shared:
                    self._state, self._shared = unshared(self._state), False
                apply_into(self._state, entry, digest)
        finally:
            if self._state.number > before:
                self._changed.notify_all()
        if self._state.number > before and self._state.number - self._saved >= self._shelf.every:
            checkpoints.save(self._shelf.checkpoints, self._state)
            self._saved = self._state.number

    def _read_from(self, number: int, previous: Digest | None) -> Iterator[tuple[Entry, Digest]]:
        """Entries and the digests of their bytes; `previous` None at a later start: its link cannot be checked."""
        check = previous is not None or number == 1
        for data in self._shelf.following(number):
            entry = self._decode(number, data)
            if check and entry.previous != previous:
                at = f"entry {number} of {self.feature} does not follow entry {number - 1}"
                raise CorruptError(f"{at}: one of them was changed ({self._shelf.where(number - 1)})", _HINT)
            previous, check = digest_of(data), True
            yield entry, previous
            number += 1

    def _decode(self, number: int, data: bytes) -> Entry:
        try:
            entry = decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            at = f"entry {number} of {self.feature} cannot be read ({self._shelf.where(number)})"
            raise CorruptError(f"{at}: {error}", _HINT) from error
        if entry.number != number:
            at = f"entry {number} of {self.feature} ({self._shelf.where(number)})"
            raise CorruptError(f"{at} calls itself {entry.number}", _HINT)
        return entry

    def _digest_at(self, number: int) -> Digest | None:
        data = self._shelf.read(number)
        return digest_of(data) if data is not None else None

    def _check_end(self, number: int) -> None:
        """Once per opening: no entry near the end may stand behind a missing one, or it would be written twice."""
        later = self._shelf.later(number + 1)
        if later is not None and not self._shelf.has(number + 1):
            at = f"entry {number + 1} of {self.feature} is missing"
            raise CorruptError(f"{at}, but {later} is there ({self._shelf.where(later)})", _HINT)
