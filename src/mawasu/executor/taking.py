"""Taking a push for one feature: what the commit says of it, and a numbered build in its ledger."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from mawasu.errors import SpecError
from mawasu.git.objects import read_files
from mawasu.ledger.entries import BuildQueued
from mawasu.ledger.fold import State
from mawasu.ledger.ledger import Ledger
from mawasu.ledger.moved import MovedError, unmoved
from mawasu.spec import feature_name, load
from mawasu.spec.environments import environment_of
from mawasu.words import Push, Tree


@dataclass(frozen=True)
class Taken:
    """A build that a push caused, and the first ledger entry that speaks of it."""

    feature: str
    build: int
    entry: int


def read_push(repo: str, tree: Tree, file: str, push: Push) -> tuple[str, BuildQueued]:
    """The feature's name and where the branch goes; of a faulty file as much as can be read. The build has no number.

    A file too faulty to say its name is recorded under the project's own.
    """
    oid = tree.files[file].oid
    text = read_files(repo, [oid])[oid].decode(errors="replace")
    try:
        feature = load(text, file=file)
    except SpecError:
        return feature_name(text) or push.project, BuildQueued(0, push, "", file)
    chosen = environment_of(feature, push.branch)
    if chosen is None:
        return feature.name, BuildQueued(0, push, "", file)
    return feature.name, BuildQueued(0, push, chosen.name, file, chosen.environment.expires)


def owner(state: State) -> str | None:
    """The project that a feature belongs to: the first that pushed it."""
    first = next(iter(state.builds.values()), None)
    return first.push.project if first else None


def queue(ledger: Ledger, queued: BuildQueued, seen: State) -> Taken:
    """Append the build under the next number. Raises MovedError when the ledger is not as it was seen any more."""
    number = max(seen.builds, default=0) + 1
    entry = ledger.append(msgspec.structs.replace(queued, build=number), unmoved(seen))
    return Taken(ledger.feature, number, entry.number)


def take(ledger: Ledger, queued: BuildQueued) -> Taken:
    """`queue`, whoever else is writing."""
    while True:
        try:
            return queue(ledger, queued, ledger.state())
        except MovedError:
            continue
