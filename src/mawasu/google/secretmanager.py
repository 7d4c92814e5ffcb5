"""Secret Manager: secrets and whether they have a value (cloud.google.com/secret-manager/docs/reference/rest)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mawasu.google.call import Call, path

HOST = "secretmanager.googleapis.com"


def _at(project: str, *more: str) -> str:
    return path("v1", "projects", project, "secrets", *more)


def list_secrets(project: str) -> Call:
    return Call("GET", HOST, _at(project), {"pageSize": "1000"})


def create_secret(project: str, name: str, body: Mapping[str, Any]) -> Call:
    return Call("POST", HOST, _at(project), {"secretId": name}, dict(body), again=True)


def patch_secret(project: str, name: str, body: Mapping[str, Any], fields: Sequence[str]) -> Call:
    chosen = {field: body[field] for field in fields}
    return Call("PATCH", HOST, _at(project, name), {"updateMask": ",".join(fields)}, chosen, again=True)


def delete_secret(project: str, name: str) -> Call:
    return Call("DELETE", HOST, _at(project, name))


def list_values(project: str, name: str) -> Call:
    """The newest version that is enabled, without its value."""
    return Call("GET", HOST, _at(project, name, "versions"), {"filter": "state:ENABLED", "pageSize": "1"})
