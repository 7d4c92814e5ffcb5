"""Service Management: managed services, configurations made of OpenAPI documents, rollouts.

And what Service Usage says of managed services: whether the project may use its own.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from tests.gateway import swagger2
from tests.google.double.core import Double, Request, refuse

HOST, USAGE = "servicemanagement.googleapis.com", "serviceusage.googleapis.com"
Dict = dict[str, Any]


@dataclass
class Managed:
    """One managed service, and all that was ever made of it, the newest last."""

    name: str
    project: str
    deleted: bool = False
    enabled: bool = False
    configs: list[Dict] = field(default_factory=list)
    documents: dict[str, Dict] = field(default_factory=dict)  # by the id of the configuration made of it
    rollouts: list[Dict] = field(default_factory=list)


_STATE: WeakKeyDictionary[Double, dict[str, Managed]] = WeakKeyDictionary()


def managed(double: Double) -> dict[str, Managed]:
    """The managed services of a double by name, for tests to look at and to delete."""
    return _STATE.setdefault(double, {})


def diagnostics(name: str, document: Any) -> list[Dict]:
    """What Endpoints finds in a document: every fault of Swagger 2.0, and a host that is another service's."""
    found = [
        {"kind": "ERROR", "location": f"openapi.json: {where}", "message": message}
        for where, message in swagger2.faults(document)
    ]
    hosts = {document.get("host"), *(one.get("name") for one in document.get("x-google-endpoints", []))}
    if hosts != {name}:
        message = f"the host must be {name}, found {sorted(map(str, hosts))}"
        found.append({"kind": "ERROR", "location": "openapi.json: host", "message": message})
    for path, method, operation in swagger2.operations(document) if not found else ():
        if not operation["security"] and method != "options":
            location = f"openapi.json: Operation '{method}' in path '{path}'"
            message = "Operation does not require an API key; callers may invoke the method without one."
            found.append({"kind": "WARNING", "location": location, "message": message})
    return found


def install(double: Double) -> None:
    state = managed(double)

    def find(request: Request) -> Managed:
        name = request.params["serviceName"]
        if name not in state or state[name].deleted:
            text = f"Service '{name}' not found or permission denied."  # one answer for both, as Google gives
            raise refuse(403, text)
        return state[name]

    _services(double, state, find)
    _configs(double, find)
    _rollouts(double, find)
    _usage(double, state)


def _services(double: Double, state: dict[str, Managed], find: Any) -> None:
    def said(one: Managed) -> Dict:
        return {"serviceName": one.name, "producerProjectId": one.project}

    @double.route(HOST, "servicemanagement.services.create")
    def create(request: Request) -> Dict:
        name, project = request.body["serviceName"], request.body["producerProjectId"]
        if name in state:
            deleted = "; it was deleted and can be undeleted" if state[name].deleted else ""
            raise refuse(409, f"Service {name} already exists{deleted}.")

        def do() -> Dict:
            return said(state.setdefault(name, Managed(name, project)))

        return double.operation(HOST, "v1", "", do)

    @double.route(HOST, "servicemanagement.services.get")
    def get(request: Request) -> Dict:
        return said(find(request))

    @double.route(HOST, "servicemanagement.services.list")
    def list_(request: Request) -> Dict:
        project = request.query["producerProjectId"]
        return {"services": [said(one) for one in state.values() if one.project == project and not one.deleted]}

    @double.route(HOST, "servicemanagement.services.delete")
    def delete(request: Request) -> Dict:
        one = find(request)

        def do() -> Dict:
            one.deleted = True
            return {}

        return double.operation(HOST, "v1", "", do)

    @double.route(HOST, "servicemanagement.services.undelete")
    def undelete(request: Request) -> Dict:
        one = state.get(request.params["serviceName"])
        if one is None or not one.deleted:
            raise refuse(404, f"Service {request.params['serviceName']} is not deleted.")

        def do() -> Dict:
            one.deleted = False
            return {"service": said(one)}

        return double.operation(HOST, "v1", "", do)


def _configs(double: Double, find: Any) -> None:
    @double.route(HOST, "servicemanagement.services.configs.list")
    def configs(request: Request) -> Dict:
        return {"serviceConfigs": find(request).configs[::-1][: int(request.query.get("pageSize", "50"))]}

    @double.route(HOST, "servicemanagement.services.configs.submit")
    def submit(request: Request) -> Dict:
        one = find(request)
        (file,) = request.body["configSource"]["files"]
        document = json.loads(base64.b64decode(file["fileContents"]))

        def do() -> Dict:
            found = diagnostics(one.name, document)
            if any(item["kind"] == "ERROR" for item in found):
                return {"diagnostics": found}
            config = {
                "name": one.name,
                "id": f"2026-11-23r{len(one.configs)}",
                "title": document["info"]["title"],
                "documentation": {"summary": document["info"]["description"]},
            }
            one.configs.append(config)
            one.documents[config["id"]] = document
            return {"serviceConfig": config, "diagnostics": found}

        return double.operation(HOST, "v1", "", do)


def _rollouts(double: Double, find: Any) -> None:
    @double.route(HOST, "servicemanagement.services.rollouts.list")
    def rollouts(request: Request) -> Dict:
        status = request.query["filter"].removeprefix("status=")
        found = [item for item in find(request).rollouts[::-1] if item["status"] == status]
        return {"rollouts": found[: int(request.query.get("pageSize", "50"))]}

    @double.route(HOST, "servicemanagement.services.rollouts.create")
    def create(request: Request) -> Dict:
        one, percentages = find(request), request.body["trafficPercentStrategy"]["percentages"]
        if sum(percentages.values()) != 100 or percentages.keys() - one.documents.keys():
            raise refuse(400, f"The rollout {percentages} does not sum to 100 over known configurations.")
        rollout = {**request.body, "rolloutId": f"2026-11-23r{len(one.rollouts)}", "status": "IN_PROGRESS"}
        one.rollouts.append(rollout)

        def do() -> Dict:
            rollout["status"] = "SUCCESS"
            return rollout

        return double.operation(HOST, "v1", "", do)


def _usage(double: Double, state: dict[str, Managed]) -> None:
    def find(request: Request) -> Managed:
        host = request.params["name"].rpartition("/")[2]
        if host not in state or not state[host].rollouts:
            raise refuse(404, f"Service '{host}' not found or permission denied.")
        return state[host]

    def said(one: Managed) -> Dict:
        enabled = "ENABLED" if one.enabled else "DISABLED"
        return {"name": f"projects/{double.number}/services/{one.name}", "state": enabled}

    @double.route(USAGE, "serviceusage.services.get")
    def get(request: Request) -> Dict:
        return said(find(request))

    @double.route(USAGE, "serviceusage.services.enable")
    def enable(request: Request) -> Dict:
        one = find(request)

        def do() -> Dict:
            one.enabled = True
            return {"service": said(one)}

        return double.operation(USAGE, "v1", "", do)
