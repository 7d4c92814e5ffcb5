"""`mawasu verify`: every object against its digest, every link of every ledger, every reference into the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from mawasu.errors import CorruptError, PlatformError
from mawasu.home import Home
from mawasu.ledger.entries import decode
from mawasu.ledger.fold import State, apply_into
from mawasu.ledger.references import required
from mawasu.ledger.shelf import entry_path, features
from mawasu.store.directory import DirectoryStore
from mawasu.words import Digest, digest_of

Progress = Callable[[str, int], None]
"""Called with what is being looked at (`objects`, or a feature's name) and how many of it were, from time to time."""

_STEP = 100  # between two calls of progress
_BACKUP = "restore this file from a backup"


class Fault(msgspec.Struct, frozen=True):
    """One broken thing, in one line, and what to do."""

    what: str
    hint: str

    def __str__(self) -> str:
        return f"{self.what} — {self.hint}"


class Report(msgspec.Struct, frozen=True):
    """What was looked at, and every fault found. `size` in bytes."""

    objects: int
    size: int
    entries: int
    faults: tuple[Fault, ...]


def verify(home: Home, progress: Progress | None = None) -> Report:
    """Check all records of a home; nothing is changed. What a read would set aside is named, and left in place.

    The newest entry of a ledger has no successor that holds its digest: a change to it alone is not noticed here.
    """
    tell = progress or _silent
    store = DirectoryStore(home.store)
    faults: list[Fault] = []
    bad: set[Digest] = set()
    objects, size = _objects(store, faults, bad, tell)
    entries = 0
    for feature in features(home.ledger):
        count, state = _ledger(home.ledger, feature, faults, tell)
        entries += count
        faults.extend(_missing(store, feature, state, bad))
    return Report(objects, size, entries, tuple(faults))


def _silent(_what: str, _count: int) -> None:
    pass


def _objects(store: DirectoryStore, faults: list[Fault], bad: set[Digest], tell: Progress) -> tuple[int, int]:
    """Check each object's bytes: how many, and their size; bad ones go to `bad`, unread ones too."""
    count = size = 0
    for digest, _ in store.objects():
        try:
            size += store.check(digest)
        except (CorruptError, PlatformError) as error:
            faults.append(Fault(error.message, error.hint))
            bad.add(digest)
        count += 1
        if count % _STEP == 0:
            tell("objects", count)
    tell("objects", count)
    return count, size


def _ledger(directory: Path, feature: str, faults: list[Fault], tell: Progress) -> tuple[int, State]:
    """Walk all entries that are there, past broken ones: how many, and the state that can be told from them."""
    state, count, expected = State(), 0, 1
    previous: Digest | None = None
    known = True  # whether `previous` is the digest of entry `expected - 1`
    for number, path in _files(directory, feature):
        if number != expected:
            faults.append(_gap(directory, feature, expected, number))
            known = False
        expected = number + 1
        try:
            data = path.read_bytes()
            entry = decode(data)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            faults.append(Fault(f"entry {number} of {feature} cannot be read ({path}): {error}", _BACKUP))
            known = False
            continue
        if entry.number != number:
            faults.append(Fault(f"entry {number} of {feature} calls itself {entry.number} ({path})", _BACKUP))
        if known and entry.previous != previous:
            faults.append(_broken_link(directory, feature, number))
        previous, known = digest_of(data), True
        apply_into(state, entry, previous)
        count += 1
        if count % _STEP == 0:
            tell(feature, count)
    tell(feature, count)
    return count, state


def _gap(directory: Path, feature: str, first: int, after: int) -> Fault:
    which = f"entry {first}" if after == first + 1 else f"entries {first} to {after - 1}"
    return Fault(f"{which} of {feature} missing from the ledger ({entry_path(directory, feature, first)})", _BACKUP)


def _broken_link(directory: Path, feature: str, number: int) -> Fault:
    old, new = (entry_path(directory, feature, at) for at in (number - 1, number))
    at = f"the link from entry {number} of {feature} to entry {number - 1} is broken"
    return Fault(f"{at}: one of them was changed after it was written ({old}, {new.name})", _BACKUP)


def _files(directory: Path, feature: str) -> Iterator[tuple[int, Path]]:
    top = entry_path(directory, feature, 1).parent.parent
    for shard in sorted(top.glob("[0-9]" * 9)):
        for path in sorted(shard.glob("[0-9]" * 12 + ".json")):
            yield int(path.stem), path


def _missing(store: DirectoryStore, feature: str, state: State, bad: set[Digest]) -> Iterator[Fault]:
    """References into the store that lead to nothing, also by way of a manifest that is not bad itself."""
    hint = "restore the object from a backup; what needs it cannot be deployed"
    for digest, what in sorted(required(state).items()):
        if not store.has(digest):
            yield Fault(f"{feature} needs {digest}, {what}, which is not in the store", hint)
        elif digest not in bad and store.is_tree(digest):
            for file in store.manifest(digest).files:
                if not store.has(file.digest):
                    yield Fault(
                        f"{feature} needs {file.digest}, {file.path} of {what}, which is not in the store", hint
                    )
