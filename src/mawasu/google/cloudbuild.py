"""Calls of Cloud Build's API, v1 (cloud.google.com/build/docs/api/reference/rest), and what a build says. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mawasu.google.call import Call, path

HOST = "cloudbuild.googleapis.com"

ONGOING = frozenset({"PENDING", "QUEUED", "WORKING"})


def create(project: str, region: str, build: Mapping[str, Any]) -> Call:
    """Start a build; the answer is an operation whose metadata holds it (see `created`).

    The API takes no request id: after a lost answer, look for the build by its tag before sending this again.
    """
    return Call("POST", HOST, _builds(project, region), body=dict(build))


def get(project: str, region: str, build: str) -> Call:
    return Call("GET", HOST, _builds(project, region, build))


def tagged(project: str, region: str, tag: str) -> Call:
    """All builds with this tag, newest first; `client.pages(…, "builds")`."""
    return Call("GET", HOST, _builds(project, region), {"filter": f'tags="{tag}"', "pageSize": "100"})


def cancel(project: str, region: str, build: str) -> Call:
    """A build that has ended answers 400, FAILED_PRECONDITION."""
    # the path's name says it all, but the fields of the older method are required still
    body = {"projectId": project, "id": build}
    return Call("POST", HOST, _builds(project, region, build) + ":cancel", body=body, again=True)


def retry(project: str, region: str, build: str) -> Call:
    """Start a build that has ended once more, from the same source."""
    return Call("POST", HOST, _builds(project, region, build) + ":retry", body={})


def created(operation: Mapping[str, Any]) -> dict[str, Any]:
    """The build that `create` started, as it is in the operation's metadata (BuildOperationMetadata)."""
    build = operation["metadata"]["build"]
    assert isinstance(build, dict)
    return build


def order(build: Mapping[str, Any]) -> tuple[str, str]:
    """By when builds were created: everybody who sorts by this sees the same one first."""
    return str(build.get("createTime", "")), str(build["id"])


def printed(build: str) -> dict[str, str]:
    """The fields of the log entries that a build prints (`google.logging.listing`)."""
    return {"resource.type": "build", "resource.labels.build_id": build}


def _builds(project: str, region: str, *more: str) -> str:
    return path("v1", "projects", project, "locations", region, "builds", *more)
