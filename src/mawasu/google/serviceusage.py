"""Service Usage: which APIs of a project are on (cloud.google.com/service-usage/docs/reference/rest)."""

from __future__ import annotations

from collections.abc import Sequence

from mawasu.google.call import Call, path

HOST = "serviceusage.googleapis.com"
MOST = 20
"""APIs that one call may enable (batchEnable: serviceIds)."""


def list_enabled(project: str) -> Call:
    return Call(
        "GET", HOST, path("v1", "projects", project, "services"), {"filter": "state:ENABLED", "pageSize": "200"}
    )


def enable(project: str, apis: Sequence[str]) -> Call:
    at = path("v1", "projects", project, "services:batchEnable")
    return Call("POST", HOST, at, body={"serviceIds": list(apis)}, again=True)
