"""`mawasu gc`: remove what nothing references. What may go is decided in `references`; doing it is small.

It may run while builds do. An object is removed only if it was last put well before the sweep began; putting one that
is there makes it young again, under the lock that removal takes. A sweep that is killed leaves a store that is whole,
and the next one goes on.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import msgspec

from mawasu.errors import CancelledError
from mawasu.home import Home
from mawasu.ledger.entries import Collected, Entry
from mawasu.ledger.fold import State, apply
from mawasu.ledger.ledger import Ledger
from mawasu.ledger.references import digests_in, kept, living_plans, outdated, unreferenced
from mawasu.ledger.shelf import DirectoryShelf, features
from mawasu.store.directory import DirectoryStore
from mawasu.store.durable import in_work, reported
from mawasu.store.names import ARTIFACTS
from mawasu.words import Digest, is_digest

DAY = 86400.0


class Report(msgspec.Struct, frozen=True):
    """What was removed, or would be. `freed` is in bytes and counts objects only."""

    dry_run: bool
    objects: tuple[Digest, ...] = ()
    freed: int = 0
    names: tuple[str, ...] = ()  # artifact names that pointed at removed objects
    paths: tuple[Path, ...] = ()  # directories of the cache, temporary files
    outdated: dict[str, Collected] = {}  # by feature: what was recorded as collected


def collect(
    home: Home,
    *,
    keep: Collection[Digest] = (),
    in_use: Collection[Path] | None = None,
    previews: float = 30 * DAY,
    grace: float = DAY,
    dry_run: bool = False,
    progress: Callable[[str, int], None] | None = None,
) -> Report:
    """Remove objects, names, and cache directories that nothing references.

    `keep`: further digests to leave, with all they lead to. `in_use`: workspaces and laid-out trees that processes
    use; None when the caller does not know, then the cache is left alone. `previews`: seconds that what only a
    preview used outlives it. `grace`: seconds that an object is left alone after it was put; longer than any step
    takes from storing its output to the ledger entry that names it.

    Raises CorruptError when a ledger or a referenced manifest is damaged: then nothing is removed.
    """
    store = DirectoryStore(home.store)
    now = time.time()
    states, recorded = {}, {}
    for feature in features(home.ledger):
        ledger = Ledger(DirectoryShelf(home.ledger, feature, home.checkpoints))
        states[feature], body = _record(ledger, now - previews, dry_run=dry_run)
        if body is not None:
            recorded[feature] = body
    roots = set(keep).union(*(kept(state) for state in states.values()))
    roots |= _mentioned(store, states.values())
    manifests = [store.manifest(digest) for digest in roots if store.is_tree(digest)]
    going = unreferenced(store.objects(), roots, manifests, now - grace)
    removed, freed = _sweep(store, going, now - grace, dry_run=dry_run, progress=progress)
    names = [name for name, digest in _dangling(store, removed) if dry_run or store.forget(name, now - grace)]
    paths = store.clean(dry_run=dry_run)
    if in_use is not None:
        paths += _clear_cache(home, states.values(), in_use, dry_run=dry_run)
    return Report(dry_run, tuple(removed), freed, tuple(names), tuple(paths), recorded)


def _record(ledger: Ledger, before: float, *, dry_run: bool) -> tuple[State, Collected | None]:
    """Say in the ledger what is outdated before any of it goes: the state after that, and what was said."""
    while True:
        state = ledger.state()
        body = outdated(state, before)
        if body is None:
            return state, None
        if dry_run:
            return apply(state, Entry(state.number + 1, state.head, before, body)), body
        try:
            ledger.append(body, _unmoved(state.number))
        except _MovedError:
            continue
        return ledger.state(), body


class _MovedError(CancelledError):
    """Another entry came between looking and writing."""


def _unmoved(number: int) -> Callable[[State], None]:
    def check(state: State) -> None:
        if state.number != number:
            raise _MovedError(f"the ledger moved past entry {number}")

    return check


def _mentioned(store: DirectoryStore, states: Collection[State]) -> set[Digest]:
    """Digests in living plans, and in named objects other than artifact names."""
    found: set[Digest] = set()
    for plan in set().union(*(living_plans(state) for state in states)):
        if store.has(plan):
            found |= digests_in(store.read(plan))
    for name in store.names(""):
        if not name.startswith(ARTIFACTS):
            found |= digests_in(store.get(name) or b"")
    return found


def _sweep(
    store: DirectoryStore,
    going: list[Digest],
    before: float,
    *,
    dry_run: bool,
    progress: Callable[[str, int], None] | None,
) -> tuple[list[Digest], int]:
    """Remove objects: which were, and their bytes. Manifests go first, so that one that is there is never hollow."""
    removed, freed = [], 0
    for count, digest in enumerate(sorted(going, key=lambda digest: not store.is_tree(digest))):
        size = store.size(digest) if dry_run else store.remove(digest, before)
        if size is not None:
            removed.append(digest)
            freed += size
        if progress and count % 100 == 0:
            progress("objects", count)
    return removed, freed


def _dangling(store: DirectoryStore, removed: Collection[Digest]) -> Iterator[tuple[str, Digest]]:
    """Artifact names that point at what is gone, now or since an earlier sweep that was killed."""
    gone = set(removed)
    for name in store.names(ARTIFACTS):
        text = (store.get(name) or b"").decode(errors="replace")
        if is_digest(text) and (text in gone or not store.has(Digest(text))):
            yield name, Digest(text)


def _clear_cache(home: Home, states: Collection[State], in_use: Collection[Path], *, dry_run: bool) -> list[Path]:
    """Workspaces and laid-out trees that nobody uses; what environments serve now stays laid out."""
    serving = {
        home.trees / part.removeprefix("sha256:")
        for state in states
        for environment in state.environments.values()
        if environment.serving and environment.serving.release in state.releases
        for part in state.releases[environment.serving.release].parts.values()
    }
    busy = serving | {path.absolute() for path in in_use}
    found = [path for top in (home.workspaces, home.trees) if top.is_dir() for path in sorted(top.iterdir())]
    going = [path for path in found if path not in busy and not in_work(path)]
    for path in going:
        if not dry_run:
            with reported("remove", path):
                _remove_directory(path)
    return going


def _remove_directory(path: Path) -> None:
    """Renamed first, so that one that is partly gone is never taken for whole; user code may have taken modes away."""
    gone = path if path.name.startswith(".") else path.rename(path.with_name(f".{path.name}.{secrets.token_hex(4)}"))
    if gone.is_symlink() or not gone.is_dir():
        gone.unlink()
        return
    gone.chmod(0o700)
    for at, directories, _ in os.walk(gone):
        for directory in directories:
            if not (child := Path(at, directory)).is_symlink():
                child.chmod(0o700)
    shutil.rmtree(gone)
