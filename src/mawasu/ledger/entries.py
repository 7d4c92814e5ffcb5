"""The kinds of entry a ledger holds. An entry is a fact; what is true now is a fold over all of them (`fold.py`)."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from mawasu.words import Digest, Look, Outcome, Push, Result, digest_of


class Body(msgspec.Struct, frozen=True, tag_field="kind", omit_defaults=True):
    """Base of every entry. A field added later has a default, so that old entries stay readable."""


class BuildQueued(Body, frozen=True, tag="build.queued"):
    """A push was taken. `build` counts up from 1 in the feature."""

    build: int
    push: Push
    environment: str  # "" when no environment takes the branch
    file: str = "mawasu.yaml"  # where in the repository the feature is described
    expires: float | None = None  # seconds the environment lives without a push; only previews have it


class BuildPlanned(Body, frozen=True, tag="build.planned"):
    build: int
    plan: Digest  # the whole plan as JSON in the store
    steps: tuple[tuple[str, Digest, bool], ...]  # name, key, runs
    release: Digest | None = None


class BuildTaken(Body, frozen=True, tag="build.taken"):
    """Who walks the build from here on, where several may: whoever finds it dead takes the build over."""

    build: int
    by: str


class StepStarted(Body, frozen=True, tag="step.started"):
    build: int
    step: str
    key: Digest


class StepFinished(Body, frozen=True, tag="step.finished"):
    build: int
    step: str
    key: Digest
    outcome: Outcome


class ReleaseRegistered(Body, frozen=True, tag="release.registered"):
    """A release exists: what it is made of, by name (`model`, …), and its readable name `feature/branch/commit`."""

    build: int
    release: Digest
    name: str
    commit: str
    branch: str
    parts: Mapping[str, Digest]
    keys: Mapping[str, Digest]  # step → key, to find its steps again


class SwitchIntended(Body, frozen=True, tag="switch.intended"):
    build: int
    environment: str
    release: Digest
    revision: str


class Switched(Body, frozen=True, tag="switched"):
    """From here on the environment serves this release; `previous` is the revision that was drained."""

    build: int
    environment: str
    release: Digest
    revision: str
    previous: str = ""


class BuildFinished(Body, frozen=True, tag="build.finished"):
    build: int
    result: Result
    reason: str = ""
    hint: str = ""
    seconds: float = 0.0
    faults: tuple[str, ...] = ()


class EnvironmentGone(Body, frozen=True, tag="environment.gone"):
    """The branch was deleted, or nothing was pushed for the time it may live."""

    environment: str
    reason: str


class DataLooked(Body, frozen=True, tag="data.looked"):
    """The source of a data set with `refresh` was looked at, for the branch that its commits go to."""

    data: str
    branch: str
    look: Look


class Collected(Body, frozen=True, tag="collected"):
    """What these steps wrote and these releases are made of may be removed from the store: they count as not done.

    Written before anything is removed, so that no later plan reuses what is about to go.
    """

    keys: tuple[Digest, ...] = ()
    releases: tuple[Digest, ...] = ()


AnyBody = (
    BuildQueued
    | BuildPlanned
    | BuildTaken
    | StepStarted
    | StepFinished
    | ReleaseRegistered
    | SwitchIntended
    | Switched
    | BuildFinished
    | EnvironmentGone
    | DataLooked
    | Collected
)


class Entry(msgspec.Struct, frozen=True):
    """Entry `number` (from 1) of a feature's ledger; `previous` is the digest of the stored bytes of the one before.

    `time` (seconds since the epoch) is for people; order is the number.
    """

    number: int
    previous: Digest | None
    time: float
    body: AnyBody


_DECODER = msgspec.json.Decoder(Entry)


def encode(entry: Entry) -> bytes:
    """The bytes an entry is stored as: one line of JSON."""
    return msgspec.json.encode(entry) + b"\n"


def decode(data: bytes) -> Entry:
    """Inverse of `encode`. Raises msgspec.DecodeError for anything else."""
    return _DECODER.decode(data)


def digest_of_entry(entry: Entry) -> Digest:
    return digest_of(encode(entry))
