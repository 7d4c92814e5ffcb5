"""What a plan is made against: the machine, what was done before, and who holds the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mawasu.spec.feature import Feature
from mawasu.words import Digest, Outcome, Tree


@dataclass(frozen=True)
class Reuse:
    """A key's first good outcome, and the build that had it."""

    build: int
    outcome: Outcome


@dataclass(frozen=True)
class Champion:
    """The release to beat: what its commit said (it is scored by its own code) and the key of its model."""

    release: Digest
    build: int
    feature: Feature
    tree: Tree  # the whole repository at its commit
    train: Digest  # key of its training step


@dataclass(frozen=True)
class Known:
    """`snapshots` names the digest of every data set of this commit; `previous` the inputs of the steps of an
    earlier plan, to say what changed; `served` the release that the environment serves now; `engine` what makes the
    requests of the contract check, "" where it is not installed."""

    architecture: str
    python: str
    snapshots: Mapping[str, Digest] = field(default_factory=dict)
    done: Mapping[Digest, Reuse] = field(default_factory=dict)
    previous: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    champion: Champion | None = None
    served: Digest | None = None
    served_before: frozenset[Digest] = frozenset()
    engine: str = ""
