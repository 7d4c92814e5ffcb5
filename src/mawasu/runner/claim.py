"""Whose work a push is, where several runs may come for it: decided in the ledger, one entry at a time."""

from __future__ import annotations

import enum
import itertools
from typing import NamedTuple, Protocol

from mawasu.errors import UsageError
from mawasu.executor.taking import owner, queue
from mawasu.ledger.entries import BuildFinished, BuildQueued, BuildTaken
from mawasu.ledger.fold import BuildState, State, unfinished
from mawasu.ledger.ledger import Ledger
from mawasu.ledger.moved import MovedError, unmoved
from mawasu.words import Result

GOOD = (Result.SERVED, Result.OK, Result.NOTHING)
GAVE_WAY = "a newer push to the branch took its place"


class Runs(Protocol):
    """The runs that walk builds (of Cloud Build), by the names under which they stand in the ledger."""

    @property
    def me(self) -> str:
        """This run; "" for one that nobody can look up (somebody's terminal)."""

    def alive(self, run: str) -> bool:
        """Whether the run is still at it; False for "" and for what nobody knows."""

    def later(self, run: str) -> bool:
        """Whether that run was asked for after this one."""


class Do(enum.Enum):
    WALK = "walk"  # it is ours
    FOLLOW = "follow"  # another run is at it
    DONE = "done"  # it was built before, and well
    LATE = "late"  # a newer push of the branch was faster


class Claim(NamedTuple):
    do: Do
    build: int


def claim(ledger: Ledger, queued: BuildQueued, runs: Runs) -> Claim:
    """Take a push for this run, or find out that there is nothing to take. Safe against other runs doing the same."""
    while True:
        state = ledger.state()
        first = owner(state)
        if first not in (None, queued.push.project):
            message = f"{queued.file}: feature `{ledger.feature}` belongs to project `{first}`"
            raise UsageError(message, "choose another name")
        newest = _newest(state, queued)
        try:
            if newest is None:
                queue(ledger, queued, state)
            elif newest.push.new != queued.push.new and newest.taken and runs.later(newest.taken[-1]):
                taken = queue(ledger, queued, state)
                ledger.append(BuildFinished(taken.build, Result.SUPERSEDED, GAVE_WAY))
                return Claim(Do.LATE, taken.build)
            elif newest.push.new != queued.push.new or (newest.result is not None and newest.result not in GOOD):
                queue(ledger, queued, state)
            elif newest.result is not None:
                return Claim(Do.DONE, newest.number)
            elif newest.taken and newest.taken[-1] != runs.me and runs.alive(newest.taken[-1]):
                return Claim(Do.FOLLOW, newest.number)
            else:
                ledger.append(BuildTaken(newest.number, runs.me), unmoved(state))
                return Claim(Do.WALK, newest.number)
        except MovedError:
            continue


def give_way(ledger: Ledger, build: BuildState, runs: Runs) -> None:
    """Older builds of the branch that nobody walks any more end here; those that are walked end themselves."""
    for older in unfinished(ledger.state()):
        if older.number < build.number and _branch(older) == _branch(build) and not is_walked(older, runs):
            ledger.append(BuildFinished(older.number, Result.SUPERSEDED, GAVE_WAY))


def has_newer(state: State, build: BuildState) -> bool:
    """Whether the branch was pushed again, so that this build's work is not wanted any more."""
    numbers = (number for number in sorted(state.builds, reverse=True))
    newer = (state.builds[number] for number in itertools.takewhile(lambda number: number > build.number, numbers))
    return any(_branch(one) == _branch(build) and one.result is not Result.SUPERSEDED for one in newer)


def is_walked(build: BuildState, runs: Runs) -> bool:
    """Whether a run other than this one is at it."""
    return bool(build.taken) and build.taken[-1] != runs.me and runs.alive(build.taken[-1])


def _newest(state: State, queued: BuildQueued) -> BuildState | None:
    """The newest build of the branch that did not come late."""
    builds = (state.builds[number] for number in sorted(state.builds, reverse=True))
    mine = (queued.push.project, queued.push.branch)
    return next((one for one in builds if _branch(one) == mine and one.result is not Result.SUPERSEDED), None)


def _branch(build: BuildState) -> tuple[str, str]:
    return build.push.project, build.push.branch
