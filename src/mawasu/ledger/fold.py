"""State as a fold over entries: `apply(state, entry)` is pure; `State` is what everybody asks."""

from __future__ import annotations

import msgspec

from mawasu.words import Digest, Outcome, Push, Result


class StepState(msgspec.Struct):
    name: str
    key: Digest
    runs: bool  # False: reused
    outcome: Outcome | None = None
    started: float | None = None


class BuildState(msgspec.Struct):
    """One build as the ledger tells it; `result` is None while it is queued or running."""

    number: int
    push: Push
    environment: str
    queued: float
    plan: Digest | None = None
    steps: list[StepState] = []
    release: Digest | None = None
    result: Result | None = None
    reason: str = ""
    hint: str = ""
    faults: tuple[str, ...] = ()
    finished: float | None = None


class Done(msgspec.Struct, frozen=True):
    """The first good outcome of a key, and the build that had it."""

    build: int
    step: str
    outcome: Outcome


class ReleaseState(msgspec.Struct, frozen=True):
    release: Digest
    build: int
    name: str
    commit: str
    branch: str
    parts: dict[str, Digest]
    keys: dict[str, Digest]


class Serving(msgspec.Struct, frozen=True):
    release: Digest
    revision: str
    build: int
    since: float


class EnvironmentState(msgspec.Struct):
    """What an environment serves, what it is about to, and all it has served (oldest first)."""

    name: str
    branch: str
    serving: Serving | None = None
    intended: Serving | None = None
    history: list[Serving] = []
    last_push: float = 0.0
    gone: bool = False


class State(msgspec.Struct):
    """Everything that is true of a feature after entry `number`, whose digest is `head`."""

    number: int = 0
    head: Digest | None = None
    builds: dict[int, BuildState] = {}
    done: dict[Digest, Done] = {}
    releases: dict[Digest, ReleaseState] = {}
    environments: dict[str, EnvironmentState] = {}
    heads: dict[str, str] = {}  # project/branch → commit of the last push taken ("" when deleted)
