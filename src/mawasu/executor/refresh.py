"""New data by the clock: look at the sources that are due, and commit what is new there to data.lock.

What is due and what is news is decided in `plan.refresh`. The commit is then a push like any other: whoever takes
pushes here takes it up. It goes on top of the very commit that was read, or nowhere: no person's push is ever lost.
"""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from mawasu import data
from mawasu.data.sources import Snapshot
from mawasu.errors import MawasuError, SpecError
from mawasu.executor.commit import read_feature
from mawasu.git.amend import amended
from mawasu.git.repository import read_tree
from mawasu.ledger.entries import DataLooked
from mawasu.ledger.fold import BuildState, State
from mawasu.ledger.ledger import Ledger
from mawasu.plan.refresh import Moved, due, is_news, message
from mawasu.ports import Store
from mawasu.spec.data_lock import FILE, Locked, format_data_lock
from mawasu.spec.feature import DataSet, Feature
from mawasu.words import Commit, Look, short

CAME_BETWEEN = "a push came between, the next look takes it up"


class Origin(Protocol):
    """The repository of a project, where people push to. Everything raises MawasuError."""

    def fetch(self, branch: str) -> tuple[str, Commit] | None:
        """A git directory that holds the branch's head, and the head; None when there is no such branch any more."""

    def move(self, branch: str, old: Commit, new: Commit) -> bool:
        """Move the branch to a commit of that git directory; False if it is not at `old` any more."""


Read = Callable[[BuildState, Ledger], Feature | None]
"""The feature as a build's commit describes it; None where the commit is not to be had. Raises SpecError for a file
with faults."""


@dataclass(frozen=True)
class Taker:
    """A feature that takes a branch's pushes for a stable environment, as its newest build there had it."""

    ledger: Ledger
    file: str
    feature: Feature
    looks: Mapping[str, Look]


@dataclass
class Seen:
    """What looking at one data set gave. `snapshot` is None when there was `trouble`."""

    taker: Taker
    data: str
    snapshot: Snapshot | None = None
    old: Locked | None = None
    trouble: str = ""
    news: bool = False


Place = tuple[str, str]  # project, branch
Stands = tuple[int, list[tuple[BuildState, Feature]]]
"""The number of a ledger's last entry, and the newest builds of the stable environments with what they describe."""


@dataclass
class Refresh:
    """`origin` gives the repository of a project; it raises MawasuError for one that cannot be written to."""

    store: Store
    reach: data.Reach
    origin: Callable[[str], Origin]
    read: Read
    _read: dict[str, Stands] = field(default_factory=dict)  # by feature: for as long as its ledger says nothing new

    def run(self, ledgers: Mapping[str, Ledger], now: float) -> Iterator[str]:
        """Look at all that is due; a line for each thing that happened. A fault with one keeps no other waiting."""
        places: dict[Place, list[Taker]] = {}
        for name, ledger in ledgers.items():
            try:
                for place, taker in self._takers(ledger, now):
                    places.setdefault(place, []).append(taker)
            except MawasuError as error:
                yield f"{name}: refresh: {error}"
        for (project, branch), takers in places.items():
            yield from self._place(project, branch, takers, now)

    # ------------------------------------------------------------------------------------------------ what is due

    def _takers(self, ledger: Ledger, now: float) -> Iterator[tuple[Place, Taker]]:
        state = ledger.state()
        if self._read.get(ledger.feature, (0, []))[0] != state.number:
            self._read[ledger.feature] = state.number, list(self._stands(state, ledger))
        for build, feature in self._read[ledger.feature][1]:
            branch = build.push.branch
            looks = _looks(state, branch)
            if due(feature, branch, looks, now):
                yield (build.push.project, branch), Taker(ledger, build.file, feature, looks)

    def _stands(self, state: State, ledger: Ledger) -> Iterator[tuple[BuildState, Feature]]:
        """Files with faults are left out: their builds have told them."""
        for build in _newest(state):
            with contextlib.suppress(SpecError):
                feature = self.read(build, ledger)
                if feature is not None:
                    yield build, feature

    # ------------------------------------------------------------------------------------------------ one branch

    def _place(self, project: str, branch: str, takers: list[Taker], now: float) -> Iterator[str]:
        """Everything that is due on one branch becomes one commit."""
        seen: list[Seen] = []
        try:
            origin = self.origin(project)
            there = origin.fetch(branch)
            if there is None:
                return
            repo, head = there
            for taker in takers:
                seen += self._look(taker, repo, head, branch, now)
            news = [one for one in seen if one.news]
            if news and not self._commit(origin, repo, branch, head, news):
                yield f"{project} {branch}: {_names(news)}: {CAME_BETWEEN}"
                seen = [one for one in seen if not one.news]
        except MawasuError as error:
            # What could be read was not brought to the branch: it stays news.
            known = {(one.taker.ledger.feature, one.data) for one in seen if one.trouble}
            seen = [one for one in seen if one.trouble]
            seen += [
                Seen(taker, one.name, trouble=str(error))
                for taker in takers
                for one in due(taker.feature, branch, taker.looks, now)
                if (taker.ledger.feature, one.name) not in known
            ]
        for one in seen:
            yield from self._note(one, branch, now)

    def _look(self, taker: Taker, repo: str, head: Commit, branch: str, now: float) -> Iterator[Seen]:
        """The sources that the branch's head says are due: it may be newer than what the ledger knows."""
        tree = read_tree(repo, head)
        if taker.file not in tree.files:
            return
        try:
            at = read_feature(repo, tree, taker.file)
        except SpecError:
            return  # a push that comes after the one we know of: its build tells
        locked = at.pinned()
        for one in due(at.feature, branch, taker.looks, now):
            yield self._source(taker, one, locked.get(one.name))

    def _source(self, taker: Taker, one: DataSet, locked: Locked | None) -> Seen:
        last = taker.looks.get(one.name)
        try:
            found = data.take(one, self.store, self.reach, last)
        except MawasuError as error:
            trouble = str(error).removeprefix(f"data set {one.name}: ")
            return Seen(taker, one.name, old=locked, trouble=trouble)
        return Seen(taker, one.name, found, locked, news=is_news(found.locked, locked, last))

    def _commit(self, origin: Origin, repo: str, branch: str, head: Commit, news: list[Seen]) -> bool:
        """One commit of all that is new; False if the branch has moved on, and then nothing has happened."""
        tree = read_tree(repo, head)
        files: dict[str, bytes] = {}
        for taker in {id(one.taker): one.taker for one in news}.values():
            at = read_feature(repo, tree, taker.file)
            moved = {one.data: one.snapshot.locked for one in news if one.taker is taker and one.snapshot}
            files[posixpath.join(at.feature.root, FILE)] = format_data_lock({**at.pinned(), **moved}).encode()
        return origin.move(branch, head, amended(repo, head, files, message(_moved(news))))

    def _note(self, one: Seen, branch: str, now: float) -> Iterator[str]:
        name = one.taker.ledger.feature
        if one.snapshot is None:
            look = Look(now, trouble=one.trouble)
        else:
            look = Look(now, one.snapshot.locked.digest, one.snapshot.mark)
        try:
            one.taker.ledger.append(DataLooked(one.data, branch, look))
        except MawasuError as error:
            yield f"{name}: refresh: {error}"
        if one.trouble:
            yield f"{name}: data set {one.data} is not refreshed: {one.trouble}"
        elif one.news and one.snapshot:
            yield f"{name}: data set {one.data} is {short(one.snapshot.locked.digest)} now, committed to {branch}"


def _newest(state: State) -> Iterator[BuildState]:
    """The newest build of every stable environment whose branch is still there."""
    wanted = {one.name for one in state.environments.values() if one.expires is None and not one.gone}
    for number in sorted(state.builds, reverse=True):
        if not wanted:
            return
        build = state.builds[number]
        if build.environment in wanted:
            wanted.discard(build.environment)
            if state.heads.get(f"{build.push.project}/{build.push.branch}") == build.push.new:
                yield build


def _looks(state: State, branch: str) -> dict[str, Look]:
    """The last looks at the data sets' sources for this branch."""
    named = ((*name.partition("/")[::2], look) for name, look in state.looks.items())
    return {data: look for data, of, look in named if of == branch}


def _moved(news: list[Seen]) -> list[Moved]:
    return [Moved(one.taker.ledger.feature, one.data, one.old, one.snapshot.locked) for one in news if one.snapshot]


def _names(news: list[Seen]) -> str:
    return ", ".join(dict.fromkeys(one.data for one in news))
