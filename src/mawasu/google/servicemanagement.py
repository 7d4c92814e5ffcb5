"""Requests to Service Management (servicemanagement.v1) and Service Usage (serviceusage.v1) as values. Pure.

A managed service has configurations, made from an OpenAPI document, and rollouts, which say which one is in effect.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, NamedTuple

from mawasu.google.call import Call, path

HOST = "servicemanagement.googleapis.com"
USAGE = "serviceusage.googleapis.com"
LOOK_BACK = 20
"""Configurations, the newest ones, among which an unchanged document is looked for."""


class Diagnostic(NamedTuple):
    """What Service Management says of a document; `location` in its words."""

    error: bool
    location: str
    message: str


def get(service: str) -> Call:
    return Call("GET", HOST, path("v1", "services", service))


def create(service: str, project: str) -> Call:
    body = {"serviceName": service, "producerProjectId": project}
    return Call("POST", HOST, "/v1/services", body=body, again=True)


def list_services(project: str) -> Call:
    """Those of a project that are not deleted: of one that is, `get` says the same 403 as of one it must not see."""
    return Call("GET", HOST, "/v1/services", {"producerProjectId": project, "pageSize": "500"})


def delete(service: str) -> Call:
    """Google keeps its name, and all that it was, for 30 days."""
    return Call("DELETE", HOST, path("v1", "services", service))


def undelete(service: str) -> Call:
    """Within 30 days after its deletion a service comes back by this only."""
    return Call("POST", HOST, path("v1", "services", f"{service}:undelete"), again=True)


def configs(service: str) -> Call:
    """The newest configurations."""
    return Call("GET", HOST, path("v1", "services", service, "configs"), {"pageSize": str(LOOK_BACK)})


def submit(service: str, text: str, file: str) -> Call:
    """Make a configuration of an OpenAPI document. Twice makes two."""
    contents = base64.b64encode(text.encode()).decode()
    source = {"files": [{"filePath": file, "fileContents": contents, "fileType": "OPEN_API_JSON"}]}
    body = {"configSource": source, "validateOnly": False}
    return Call("POST", HOST, path("v1", "services", service, "configs:submit"), body=body)


def rollouts(service: str) -> Call:
    """The newest rollout that succeeded."""
    query = {"filter": "status=SUCCESS", "pageSize": "1"}
    return Call("GET", HOST, path("v1", "services", service, "rollouts"), query)


def roll_out(service: str, config: str) -> Call:
    body = {"serviceName": service, "trafficPercentStrategy": {"percentages": {config: 100.0}}}
    return Call("POST", HOST, path("v1", "services", service, "rollouts"), body=body)


def usage(number: str, service: str) -> Call:
    return Call("GET", USAGE, path("v1", "projects", number, "services", service))


def enable(number: str, service: str) -> Call:
    """Let a project use the service: ESPv2 reports to it, and API keys are checked against it."""
    return Call("POST", USAGE, path("v1", "projects", number, "services", f"{service}:enable"), body={}, again=True)


def config_of(answer: Mapping[str, Any], summary: str) -> str:
    """The id of the configuration made from a document that describes itself so (`info.description`); "" for none."""
    for config in answer.get("serviceConfigs", []):
        if config.get("documentation", {}).get("summary") == summary:
            return str(config["id"])
    return ""


def rolled_out(answer: Mapping[str, Any]) -> str:
    """The id of the configuration that has all traffic; "" for none."""
    for rollout in answer.get("rollouts", []):
        percentages = rollout.get("trafficPercentStrategy", {}).get("percentages", {})
        return next((str(config) for config, percent in percentages.items() if percent == 100), "")
    return ""


def diagnostics(response: Mapping[str, Any]) -> list[Diagnostic]:
    """Of a finished submission."""
    return [
        Diagnostic(one.get("kind") == "ERROR", str(one.get("location", "")), str(one.get("message", "")))
        for one in response.get("diagnostics", [])
    ]
