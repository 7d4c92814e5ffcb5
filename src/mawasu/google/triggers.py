"""Cloud Build: triggers (v1), and connections to GitHub with their repositories (v2).

cloud.google.com/build/docs/api/reference/rest/v1/projects.locations.triggers, …/rest/v2/projects.locations.connections.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mawasu.google.call import Call, path

HOST = "cloudbuild.googleapis.com"


def _triggers(project: str, region: str, *more: str) -> str:
    return path("v1", "projects", project, "locations", region, "triggers", *more)


def _connection(project: str, region: str, name: str, *more: str) -> str:
    return path("v2", "projects", project, "locations", region, "connections", name, *more)


def list_triggers(project: str, region: str) -> Call:
    return Call("GET", HOST, _triggers(project, region), {"pageSize": "500"})


def create_trigger(project: str, region: str, body: Mapping[str, Any]) -> Call:
    """Its name is in the body, and taken names are refused: so it may be sent again."""
    return Call("POST", HOST, _triggers(project, region), body=dict(body), again=True)


def patch_trigger(project: str, region: str, id: str, body: Mapping[str, Any]) -> Call:
    """Without a mask: the whole trigger becomes what `body` says."""
    return Call("PATCH", HOST, _triggers(project, region, id), body=dict(body), again=True)


def delete_trigger(project: str, region: str, id: str) -> Call:
    return Call("DELETE", HOST, _triggers(project, region, id))


def get_connection(project: str, region: str, name: str) -> Call:
    return Call("GET", HOST, _connection(project, region, name))


def list_repositories(project: str, region: str, connection: str) -> Call:
    return Call("GET", HOST, _connection(project, region, connection, "repositories"), {"pageSize": "1000"})


def create_repository(project: str, region: str, connection: str, name: str, uri: str) -> Call:
    at = _connection(project, region, connection, "repositories")
    return Call("POST", HOST, at, {"repositoryId": name}, {"remoteUri": uri}, again=True)


def delete_repository(project: str, region: str, connection: str, name: str) -> Call:
    return Call("DELETE", HOST, _connection(project, region, connection, "repositories", name))


def fetch_branches(project: str, region: str, connection: str, repository: str) -> Call:
    """Names of the repository's branches; `client.pages(…, "refNames")`."""
    at = _connection(project, region, connection, "repositories", repository) + ":fetchGitRefs"
    return Call("GET", HOST, at, {"refType": "BRANCH"})


def get_repository(project: str, region: str, connection: str, repository: str) -> Call:
    """Its `remoteUri` is where the connection reads it."""
    return Call("GET", HOST, _connection(project, region, connection, "repositories", repository))


def write_token(project: str, region: str, connection: str, repository: str) -> Call:
    """A password for git that reads and writes this repository, and is good for an hour at most."""
    at = _connection(project, region, connection, "repositories", repository) + ":accessReadWriteToken"
    return Call("POST", HOST, at, body={}, again=True)
