"""What this room hands around: resources as wanted and as found, and what lies between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from mawasu.spec.feature import Feature, Gcp
from mawasu.words import Digest, Value, digest_of_value

Body = Mapping[str, Any]

Stage = Literal["foundation", "features"]
"""The foundation (APIs, accounts, who may do what, bucket, registry, Redis) is the same whatever is pushed, and only a
person makes or changes it. What follows from the features a production build converges by itself."""


class Wanted(Value, frozen=True):
    """A feature, and the path of the `mawasu.yaml` that says so."""

    file: str
    feature: Feature


class Scope(Value, frozen=True):
    """What all features of a checkout have said of Google Cloud, in agreement."""

    project: str
    region: str
    bucket: str
    github: str = ""
    connection: str = ""
    redis: int | None = None
    network: str = ""

    @classmethod
    def of(cls, gcp: Gcp, redis: int | None, network: str) -> Scope:
        return cls(gcp.project, gcp.region, gcp.bucket, gcp.github, gcp.connection, redis, network)


class Resource(Value, frozen=True):
    """One thing that should be there. `body` holds the fields that mawasu sets, in the words of Google's API.

    `name` is unique for its kind; `owner` is the repository it is made for ("" if all repositories share it).
    """

    kind: str
    name: str
    body: Body
    why: str
    stage: Stage = "features"
    owner: str = ""

    @property
    def id(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def mark(self) -> Digest:
        """Of what is wanted: kept after each apply, so that a change by hand is told from a change of mind."""
        return digest_of_value(self.body)


class Found(Value, frozen=True):
    """One thing that is there. `body` is Google's answer; `handle` what the API calls it, if that is not its name."""

    kind: str
    name: str
    body: Body
    ours: bool
    handle: str = ""
    owner: str = ""

    @property
    def id(self) -> str:
        return f"{self.kind} {self.name}"


class Edit(Value, frozen=True):
    """One field: where, what it is, what it should be (None: nothing)."""

    path: str
    before: Any
    after: Any


class Change(Value, frozen=True):
    """What one resource needs. `refuse`: it is in the way and not ours."""

    verb: Literal["create", "update", "delete", "refuse"]
    kind: str
    name: str
    why: str
    stage: Stage
    edits: tuple[Edit, ...] = ()
    by_hand: bool = False  # nobody changed his mind: someone changed, or removed, the thing itself

    @property
    def id(self) -> str:
        return f"{self.kind} {self.name}"


class Manual(Value, frozen=True):
    """A step that Google lets only people do: what is missing, and the command or page."""

    what: str
    how: str


class Facts(Value, frozen=True):
    """What must be known of the project before it can be said what is wanted there."""

    number: str
    apis: frozenset[str] = frozenset()  # enabled ones
    connected: bool = False  # Cloud Build's connection to GitHub is there and complete
    repository: str = ""  # the linked repository's resource name
    secrets: frozenset[str] = frozenset()  # ids of all secrets that are there
    manual: tuple[Manual, ...] = ()
