"""Readable names of stored things: `feature/branch/commit/what` → digest."""

from __future__ import annotations

from mawasu.ports import Store
from mawasu.store.names import ARTIFACTS, Artifact, format_artifact, parse_artifact
from mawasu.words import Digest, is_digest


def name_artifact(store: Store, feature: str, branch: str, commit: str, what: str, digest: Digest) -> bool:
    """Name a stored thing; the first to take a name keeps it. True if the name now means this digest.

    Name what is in the store already: collection drops names that point at nothing.
    """
    name = ARTIFACTS + format_artifact(Artifact(feature, branch, commit, what))
    return store.create(name, digest.encode()) or store.get(name) == digest.encode()


def find(store: Store, readable: str) -> Digest | None:
    """The digest that `feature/branch/commit/what` names; None if nothing has this name. Raises UsageError."""
    data = store.get(ARTIFACTS + format_artifact(parse_artifact(readable)))
    text = data.decode(errors="replace") if data is not None else ""
    return Digest(text) if is_digest(text) else None
