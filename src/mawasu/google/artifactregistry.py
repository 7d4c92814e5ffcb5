"""Artifact Registry: repositories (cloud.google.com/artifact-registry/docs/reference/rest)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mawasu.google.call import Call, path

HOST = "artifactregistry.googleapis.com"


def _at(project: str, region: str, *more: str) -> str:
    return path("v1", "projects", project, "locations", region, "repositories", *more)


def get_repository(project: str, region: str, name: str) -> Call:
    return Call("GET", HOST, _at(project, region, name))


def create_repository(project: str, region: str, name: str, body: Mapping[str, Any]) -> Call:
    return Call("POST", HOST, _at(project, region), {"repositoryId": name}, dict(body), again=True)


def patch_repository(project: str, region: str, name: str, body: Mapping[str, Any], fields: Sequence[str]) -> Call:
    chosen = {field: body[field] for field in fields}
    return Call("PATCH", HOST, _at(project, region, name), {"updateMask": ",".join(fields)}, chosen, again=True)


def delete_repository(project: str, region: str, name: str) -> Call:
    return Call("DELETE", HOST, _at(project, region, name))
