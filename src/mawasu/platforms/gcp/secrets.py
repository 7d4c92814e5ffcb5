"""Secrets as references: where Secret Manager keeps the values that steps are given. A value never comes this way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from mawasu.errors import StepError
from mawasu.google import secretmanager
from mawasu.google.client import Client
from mawasu.platforms.gcp import names
from mawasu.platforms.gcp.names import Cloud


def references(
    client: Client,
    cloud: Cloud,
    feature: str,
    wanted: Sequence[str],
    environment: str,
    step: Literal["training", "api"],
    preview: bool,
) -> Mapping[str, str]:
    """Names to `projects/P/secrets/S/versions/latest`. Raises StepError that names all that have no value."""
    ids = {name: names.secret(feature, environment, name) for name in wanted}
    missing = [name for name, id in ids.items() if not _has_value(client, cloud, id)]
    if missing:
        id = ids[missing[0]]
        command = f"gcloud secrets versions add {id} --project {cloud.project} --data-file=-"
        if preview:
            command = f"previews have none unless somebody makes it: gcloud secrets create {id}, then {command}"
        raise StepError(f"no secret {', '.join(missing)} for {step} in {environment}", command)
    return {name: f"projects/{cloud.project}/secrets/{id}/versions/latest" for name, id in ids.items()}


def _has_value(client: Client, cloud: Cloud, id: str) -> bool:
    found = client.find(secretmanager.list_values(cloud.project, id))
    return bool(found and found.get("versions"))
