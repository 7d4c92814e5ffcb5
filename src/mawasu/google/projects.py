"""Resource Manager: the project itself (cloud.google.com/resource-manager/reference/rest/v3/projects)."""

from __future__ import annotations

from mawasu.google.call import Call, path

HOST = "cloudresourcemanager.googleapis.com"


def get_project(project: str) -> Call:
    return Call("GET", HOST, path("v3", "projects", project))
