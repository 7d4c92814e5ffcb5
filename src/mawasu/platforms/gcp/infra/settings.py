"""What the features of a checkout say of Google Cloud, as one: they share a project, a region and a bucket. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from mawasu.errors import SpecError, UsageError
from mawasu.platforms.gcp.infra.words import Scope, Wanted
from mawasu.spec.feature import Gcp

_SHARED = ("project", "region", "bucket", "github", "connection")


def agree(features: Sequence[Wanted]) -> Scope:
    """The one project of all features. Raises UsageError where none names one, SpecError where they do not agree."""
    said = [(one.file, one.feature.gcp) for one in features if one.feature.gcp is not None]
    if not said:
        files = ", ".join(one.file for one in features)
        lines = "gcp: {project: YOUR-PROJECT, region: europe-west1, github: OWNER/REPOSITORY}"
        raise UsageError(f"{files}: there is no `gcp:` section", f"add the line `{lines}`")
    faults = [fault for key in _SHARED for fault in _unlike(key, said)]
    faults += [f"{one.file}: `gcp` is missing, other features have it" for one in features if one.feature.gcp is None]
    networks = sorted({gcp.api.network for _, gcp in said if gcp.api.network and gcp.redis})
    if len(networks) > 1:
        faults.append(f"gcp.api.network: one Redis instance cannot be in two networks: {' and '.join(networks)}")
    if faults:
        raise SpecError(tuple(faults), "features of one repository share a project, a region and a bucket")
    sizes = [gcp.redis for _, gcp in said if gcp.redis]
    return Scope.of(said[0][1], max(sizes, default=None), networks[0] if networks else "")


def _unlike(key: str, said: Sequence[tuple[str, Gcp]]) -> list[str]:
    first, wanted = said[0][0], getattr(said[0][1], key)
    return [
        f"{file}: gcp.{key} is {getattr(gcp, key) or 'missing'}, in {first} it is {wanted or 'missing'}"
        for file, gcp in said[1:]
        if getattr(gcp, key) != wanted
    ]
