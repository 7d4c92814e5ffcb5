"""`mawasu verify`: every object against its digest, every link of every ledger, every reference into the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import msgspec

from mawasu.errors import CorruptError, PlatformError
from mawasu.google.storage import Bucket
from mawasu.home import Home
from mawasu.ledger import cloud, shelf
from mawasu.ledger.cloud import CloudShelf
from mawasu.ledger.entries import Entry, decode
from mawasu.ledger.fold import State, apply_into
from mawasu.ledger.references import required
from mawasu.ledger.shelf import DirectoryShelf, Shelf
from mawasu.store.cloud import CloudStore
from mawasu.store.directory import DirectoryStore
from mawasu.store.manifest import Manifest, decode_manifest
from mawasu.words import Digest, digest_of

Progress = Callable[[str, int], None]
"""Called with what is being looked at (`objects`, or a feature's name) and how many of it were, from time to time."""

_STEP = 100  # between two calls of progress
_BACKUP = "restore this file from a backup"
_THREADS, _AHEAD = 8, 64  # entries read at once, and taken in hand


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
    sizes = _objects(store, faults, tell)

    def tree(digest: Digest) -> Manifest | None:
        return store.manifest(digest) if store.is_tree(digest) else None

    shelves = [DirectoryShelf(home.ledger, feature, home.checkpoints) for feature in shelf.features(home.ledger)]
    return _ledgers(shelves, sizes, tree, faults, tell)


def verify_bucket(bucket: Bucket, progress: Progress | None = None) -> Report:
    """As `verify`, by what Google says of the objects: their bytes stay there, but for ledgers and manifests.

    An object whose bytes were changed, and not their number, is found by who reads it.
    """
    tell = progress or _silent
    store = CloudStore(bucket)
    faults: list[Fault] = []
    sizes: dict[Digest, int | None] = dict(store.objects())
    tell("objects", len(sizes))

    def tree(digest: Digest) -> Manifest | None:
        try:
            return decode_manifest(store.look(digest), digest) if store.is_tree(digest) else None
        except CorruptError as error:
            faults.append(Fault(error.message, error.hint))
            return None

    shelves = [CloudShelf(bucket, feature) for feature in cloud.features(bucket)]
    return _ledgers(shelves, sizes, tree, faults, tell)


Sizes = Mapping[Digest, int | None]
"""Bytes of every object that is there; None for one that proved bad."""


def _silent(_what: str, _count: int) -> None:
    pass


def _objects(store: DirectoryStore, faults: list[Fault], tell: Progress) -> Sizes:
    """Check each object's bytes."""
    found: dict[Digest, int | None] = {}
    for digest, _ in store.objects():
        try:
            found[digest] = store.check(digest)
        except (CorruptError, PlatformError) as error:
            faults.append(Fault(error.message, error.hint))
            found[digest] = None
        if len(found) % _STEP == 0:
            tell("objects", len(found))
    tell("objects", len(found))
    return found


def _ledgers(
    shelves: Iterable[Shelf],
    sizes: Sizes,
    tree: Callable[[Digest], Manifest | None],
    faults: list[Fault],
    tell: Progress,
) -> Report:
    entries = 0
    for one in shelves:
        count, state = _ledger(one, faults, tell)
        entries += count
        faults.extend(_missing(one.feature, state, sizes, tree))
    return Report(len(sizes), sum(size or 0 for size in sizes.values()), entries, tuple(dict.fromkeys(faults)))


def _ledger(shelf: Shelf, faults: list[Fault], tell: Progress) -> tuple[int, State]:
    """Walk all entries that are there, past broken ones: how many, and the state that can be told from them."""
    state, count, expected, feature = State(), 0, 1, shelf.feature
    previous: Digest | None = None
    known = True  # whether `previous` is the digest of entry `expected - 1`
    for number, data in _entries(shelf):
        if number != expected:
            faults.append(_gap(shelf, expected, number))
            known = False
        expected = number + 1
        entry = _decoded(data)
        if isinstance(data, Exception) or isinstance(entry, Exception):
            at = f"entry {number} of {feature} cannot be read ({shelf.where(number)})"
            faults.append(Fault(f"{at}: {entry}", _BACKUP))
            known = False
            continue
        if entry.number != number:
            at = f"entry {number} of {feature} calls itself {entry.number}"
            faults.append(Fault(f"{at} ({shelf.where(number)})", _BACKUP))
        if known and entry.previous != previous:
            faults.append(_broken_link(shelf, number))
        previous, known = digest_of(data), True
        apply_into(state, entry, previous)
        count += 1
        if count % _STEP == 0:
            tell(feature, count)
    tell(feature, count)
    return count, state


def _decoded(data: bytes | PlatformError) -> Entry | Exception:
    try:
        return data if isinstance(data, PlatformError) else decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return error


def _entries(shelf: Shelf) -> Iterator[tuple[int, bytes | PlatformError]]:
    """Number and bytes of all entries that are there, or why an entry's cannot be had."""

    def read(number: int) -> bytes | PlatformError:
        try:
            return shelf.read(number) or b""
        except PlatformError as error:
            return error

    numbers = shelf.numbers()
    with ThreadPoolExecutor(_THREADS) as pool:
        while some := list(islice(numbers, _AHEAD)):
            yield from zip(some, pool.map(read, some), strict=True)


def _gap(shelf: Shelf, first: int, after: int) -> Fault:
    which = f"entry {first}" if after == first + 1 else f"entries {first} to {after - 1}"
    return Fault(f"{which} of {shelf.feature} missing from the ledger ({shelf.where(first)})", _BACKUP)


def _broken_link(shelf: Shelf, number: int) -> Fault:
    at = f"the link from entry {number} of {shelf.feature} to entry {number - 1} is broken"
    where = f"{shelf.where(number - 1)}, {shelf.where(number).rpartition('/')[2]}"
    return Fault(f"{at}: one of them was changed after it was written ({where})", _BACKUP)


def _missing(feature: str, state: State, sizes: Sizes, tree: Callable[[Digest], Manifest | None]) -> Iterator[Fault]:
    """References into the store that lead to nothing, also by way of a manifest that is not bad itself."""
    hint = "restore the object from a backup; what needs it cannot be deployed"
    for digest, what in sorted(required(state).items()):
        if digest not in sizes:
            yield Fault(f"{feature} needs {digest}, {what}, which is not in the store", hint)
        elif sizes[digest] is not None and (manifest := tree(digest)) is not None:
            for file in manifest.files:
                needs = f"{feature} needs {file.digest}, {file.path} of {what}, which"
                if file.digest not in sizes:
                    yield Fault(f"{needs} is not in the store", hint)
                elif sizes[file.digest] not in (None, file.size):
                    yield Fault(f"{needs} has {sizes[file.digest]} bytes, not {file.size}", hint)
