"""Cloud Run: jobs, and what of services the infrastructure looks at (cloud.google.com/run/docs/reference/rest/v2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mawasu.google.call import Call, path

HOST = "run.googleapis.com"


def _jobs(project: str, region: str, *more: str) -> str:
    return path("v2", "projects", project, "locations", region, "jobs", *more)


def get_job(project: str, region: str, name: str) -> Call:
    return Call("GET", HOST, _jobs(project, region, name))


def create_job(project: str, region: str, name: str, body: Mapping[str, Any]) -> Call:
    return Call("POST", HOST, _jobs(project, region), {"jobId": name}, dict(body), again=True)


def patch_job(project: str, region: str, name: str, body: Mapping[str, Any]) -> Call:
    return Call("PATCH", HOST, _jobs(project, region, name), body=dict(body), again=True)


def delete_job(project: str, region: str, name: str) -> Call:
    return Call("DELETE", HOST, _jobs(project, region, name))


def list_services(project: str, region: str) -> Call:
    return Call("GET", HOST, path("v2", "projects", project, "locations", region, "services"), {"pageSize": "100"})


def delete_service(project: str, region: str, name: str) -> Call:
    return Call("DELETE", HOST, path("v2", "projects", project, "locations", region, "services", name))
