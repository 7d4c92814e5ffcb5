"""State as a fold over entries: `apply(state, entry)` is pure; `State` is what everybody asks."""

from __future__ import annotations

import copy
from collections.abc import Callable, MutableMapping
from typing import Any

import msgspec

from mawasu.ledger.entries import (
    Body,
    BuildFinished,
    BuildPlanned,
    BuildQueued,
    BuildTaken,
    Collected,
    DataLooked,
    Entry,
    EnvironmentGone,
    ReleaseRegistered,
    StepFinished,
    StepStarted,
    Switched,
    SwitchIntended,
    digest_of_entry,
)
from mawasu.words import Digest, Look, Outcome, Push, Result


class StepState(msgspec.Struct, frozen=True, gc=False):
    """One step of a build's plan. A reused step has no outcome of its own: `outcome_of` looks it up by key."""

    name: str
    key: Digest
    runs: bool  # False: reused
    outcome: Outcome | None = None
    started: float | None = None


class BuildState(msgspec.Struct, frozen=True, gc=False):
    """One build as the ledger tells it; `result` is None while it is queued or running."""

    number: int
    push: Push
    environment: str
    queued: float
    file: str = "mawasu.yaml"  # where in the repository the feature is described
    plan: Digest | None = None
    steps: list[StepState] = []
    release: Digest | None = None
    result: Result | None = None
    reason: str = ""
    hint: str = ""
    faults: tuple[str, ...] = ()
    finished: float | None = None
    taken: tuple[str, ...] = ()  # by whom, where builds are walked by whoever comes; the last one has it


class Done(msgspec.Struct, frozen=True, gc=False):
    """The first good outcome of a key, and the build that had it."""

    build: int
    step: str
    outcome: Outcome


class ReleaseState(msgspec.Struct, frozen=True, gc=False):
    """A release as it was first registered. `collected`: its preview is long gone, and so may its parts be."""

    release: Digest
    build: int
    name: str
    commit: str
    branch: str
    parts: dict[str, Digest]
    keys: dict[str, Digest]
    collected: bool = False


class Serving(msgspec.Struct, frozen=True, gc=False):
    release: Digest
    revision: str
    build: int
    since: float


class EnvironmentState(msgspec.Struct, frozen=True, gc=False):
    """What an environment serves, what it is about to, and all it has served (oldest first)."""

    name: str
    branch: str
    serving: Serving | None = None
    intended: Serving | None = None
    history: list[Serving] = []
    last_push: float = 0.0
    expires: float | None = None  # seconds it lives without a push; only previews have it
    gone: bool = False
    gone_since: float = 0.0  # time of the entry that says so


class State(msgspec.Struct):
    """Everything that is true of a feature after entry `number`, whose digest is `head`.

    Treat it as a value: the ledger hands the same one to everybody who asks.
    """

    number: int = 0
    head: Digest | None = None
    builds: MutableMapping[int, BuildState] = {}
    done: MutableMapping[Digest, Done] = {}
    releases: MutableMapping[Digest, ReleaseState] = {}
    environments: dict[str, EnvironmentState] = {}
    heads: dict[str, str] = {}  # project/branch → commit of the last push taken ("" when deleted)
    open: dict[int, None] = {}  # builds without a result, in order of their entries
    looks: dict[str, Look] = {}  # data set/branch → the last look at its source


def apply(state: State, entry: Entry, head: Digest | None = None) -> State:
    """The state after one more entry; the one given stays as it is.

    `head` is the digest of the entry's stored bytes, worked out here when it is not at hand.
    """
    return apply_into(unshared(state), entry, head)


def unshared(state: State) -> State:
    """A state with dictionaries of its own. What they hold is immutable, so nothing deeper is copied."""
    new = copy.copy(state)
    new.builds, new.done, new.releases = copy.copy(state.builds), copy.copy(state.done), copy.copy(state.releases)
    new.environments, new.heads, new.open = dict(state.environments), dict(state.heads), dict(state.open)
    new.looks = dict(state.looks)
    return new


def apply_into(state: State, entry: Entry, head: Digest | None = None) -> State:
    """`apply` in place, for whoever folds many entries into a state that nobody else holds yet."""
    _RULES[type(entry.body)](state, entry.body, entry.time)
    state.number = entry.number
    state.head = head or digest_of_entry(entry)
    return state


def unfinished(state: State) -> list[BuildState]:
    """Builds that are queued or running, oldest first."""
    return [state.builds[number] for number in sorted(state.open)]


def outcome_of(state: State, step: StepState) -> Outcome | None:
    """A step's own outcome, or the one it reuses; None while it has none."""
    if step.outcome is None and not step.runs and step.key in state.done:
        return state.done[step.key].outcome
    return step.outcome


def _queued(state: State, body: BuildQueued, time: float) -> None:
    push = body.push
    state.builds[body.build] = BuildState(body.build, push, body.environment, time, body.file)
    state.open[body.build] = None
    if push.dirty:
        return  # a working tree is no commit: it moves no branch and belongs to no environment
    state.heads[f"{push.project}/{push.branch}"] = push.new or ""
    if body.environment and push.new:
        said = {"branch": push.branch, "last_push": time, "expires": body.expires}
        _environment(state, body.environment, body.build, gone=False, gone_since=0.0, **said)


def _planned(state: State, body: BuildPlanned, _time: float) -> None:
    """Planned again after a restart: steps that are the same keep what they have."""
    had = {(step.name, step.key): step for step in _steps(state, body.build)}
    steps = [
        msgspec.structs.replace(had[name, key], runs=runs) if (name, key) in had else StepState(name, key, runs)
        for name, key, runs in body.steps
    ]
    _build(state, body.build, plan=body.plan, steps=steps, release=body.release)


def _taken(state: State, body: BuildTaken, _time: float) -> None:
    if body.build in state.builds:
        _build(state, body.build, taken=(*state.builds[body.build].taken, body.by))


def _started(state: State, body: StepStarted, time: float) -> None:
    _step(state, body.build, body.step, body.key, started=time)


def _finished_step(state: State, body: StepFinished, _time: float) -> None:
    _step(state, body.build, body.step, body.key, outcome=body.outcome)
    if body.outcome.result is Result.OK:
        state.done.setdefault(body.key, Done(body.build, body.step, body.outcome))


def _registered(state: State, body: ReleaseRegistered, _time: float) -> None:
    _build(state, body.build, release=body.release)
    known = state.releases.get(body.release)
    if known is None or known.collected:
        state.releases[body.release] = ReleaseState(
            body.release, body.build, body.name, body.commit, body.branch, dict(body.parts), dict(body.keys)
        )


def _intended(state: State, body: SwitchIntended, time: float) -> None:
    serving = Serving(body.release, body.revision, body.build, time)
    _environment(state, body.environment, body.build, intended=serving)


def _switched(state: State, body: Switched, time: float) -> None:
    serving = Serving(body.release, body.revision, body.build, time)
    known = state.environments.get(body.environment)
    history = [*known.history, serving] if known else [serving]
    _environment(
        state, body.environment, body.build, serving=serving, intended=None, history=history, gone=False, gone_since=0.0
    )


def _finished_build(state: State, body: BuildFinished, time: float) -> None:
    said = {"result": body.result, "reason": body.reason, "hint": body.hint, "faults": body.faults}
    _build(state, body.build, finished=time, **said)
    state.open.pop(body.build, None)
    build = state.builds.get(body.build)
    environment = state.environments.get(build.environment) if build else None
    if environment and environment.intended and environment.intended.build == body.build:
        _environment(state, environment.name, body.build, intended=None)


def _gone(state: State, body: EnvironmentGone, time: float) -> None:
    if body.environment in state.environments:
        _environment(state, body.environment, 0, serving=None, intended=None, gone=True, gone_since=time)


def _looked(state: State, body: DataLooked, _time: float) -> None:
    """What was seen last stands through looks that saw nothing."""
    name, look = f"{body.data}/{body.branch}", body.look
    if look.trouble and name in state.looks:
        look = msgspec.structs.replace(state.looks[name], at=look.at, trouble=look.trouble)
    state.looks[name] = look


def _collected(state: State, body: Collected, _time: float) -> None:
    for key in body.keys:
        state.done.pop(key, None)
    for release in body.releases:
        if release in state.releases:
            state.releases[release] = msgspec.structs.replace(state.releases[release], collected=True)


def _build(state: State, number: int, **changes: Any) -> None:
    """Change a build; entries about one that was never queued change nothing."""
    if number in state.builds:
        state.builds[number] = msgspec.structs.replace(state.builds[number], **changes)


def _steps(state: State, number: int) -> list[StepState]:
    return state.builds[number].steps if number in state.builds else []


def _step(state: State, number: int, name: str, key: Digest, **changes: Any) -> None:
    """Change a step of a build; one that no plan named becomes its last."""
    steps = [
        msgspec.structs.replace(step, **changes) if (step.name, step.key) == (name, key) else step
        for step in _steps(state, number)
    ]
    if not any((step.name, step.key) == (name, key) for step in steps):
        steps.append(StepState(name, key, runs=True, **changes))
    _build(state, number, steps=steps)


def _environment(state: State, name: str, build: int, **changes: Any) -> None:
    """Change an environment; a new one has the branch of the build that first names it."""
    known = state.environments.get(name)
    if known is None:
        known = EnvironmentState(name, state.builds[build].push.branch if build in state.builds else "")
    state.environments[name] = msgspec.structs.replace(known, **changes)


_RULES: dict[type[Body], Callable[[State, Any, float], None]] = {
    BuildQueued: _queued,
    BuildPlanned: _planned,
    BuildTaken: _taken,
    StepStarted: _started,
    StepFinished: _finished_step,
    ReleaseRegistered: _registered,
    SwitchIntended: _intended,
    Switched: _switched,
    BuildFinished: _finished_build,
    EnvironmentGone: _gone,
    DataLooked: _looked,
    Collected: _collected,
}
