"""What holds a project together: APIs, accounts, policies, buckets' settings, repositories, secrets, Redis, triggers, jobs.

The traps of the real ones are here: an API that is off refuses, a member that IAM has not heard of is refused (for a
while also when it is there), names that are taken are refused, and what takes time is an operation.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.google.double import policies
from tests.google.double.core import Double, Request, refuse
from tests.google.double.documents import HOSTS
from tests.google.double.faults import Answer, api_disabled

CLOUD = "cloudresourcemanager.googleapis.com"
IAM = "iam.googleapis.com"
USAGE = "serviceusage.googleapis.com"
STORAGE = "storage.googleapis.com"
SECRETS = "secretmanager.googleapis.com"
BUILD = "cloudbuild.googleapis.com"
RUN = "run.googleapis.com"

Json = dict[str, Any]


@dataclass
class Infra:
    """The project's state. `off`: APIs that are not enabled. `fresh`: how often IAM says that it does not know a new
    account. `foreign`: buckets that other projects have."""

    double: Double
    things: dict[str, Json] = field(default_factory=dict)  # by resource name
    off: set[str] = field(default_factory=set)
    fresh: int = 0
    foreign: set[str] = field(default_factory=set)
    unknown: dict[str, int] = field(default_factory=dict)

    def of(self, kind: str) -> dict[str, Json]:
        """All things of a collection: `triggers`, `secrets`, …"""
        return {name: one for name, one in self.things.items() if name.split("/")[-2] == kind}

    def put(self, name: str, **body: Any) -> Json:
        self.things[name] = {"name": name, **body}
        return self.things[name]

    def new_project(self) -> None:
        """Only what Google turns on by itself."""
        self.off = {host for host in HOSTS if host not in (USAGE, CLOUD, STORAGE)}

    def reset(self) -> None:
        self.things.clear()
        self.off.clear()
        self.unknown.clear()
        self.double.policies.clear()

    def check(self, host: str) -> None:
        if host in self.off:
            raise api_disabled(host, self.double.project, self.double.number)


_STATES: weakref.WeakKeyDictionary[Double, Infra] = weakref.WeakKeyDictionary()


def infra(double: Double) -> Infra:
    return _STATES.setdefault(double, Infra(double))


def install(double: Double) -> None:
    state = infra(double)
    _projects(state)
    _accounts(state)
    _policies(state)
    _buckets(state)
    at = "projects.locations"
    _collection(state, "artifactregistry.googleapis.com", f"artifactregistry.{at}.repositories", "repositoryId", "v1")
    _collection(state, "redis.googleapis.com", f"redis.{at}.instances", "instanceId", "v1", _redis)
    _collection(state, "cloudscheduler.googleapis.com", f"cloudscheduler.{at}.jobs", "", "", _schedule)
    _collection(state, RUN, f"run.{at}.jobs", "jobId", "v2")
    _collection(state, SECRETS, "secretmanager.projects.secrets", "secretId", "")
    _collection(state, BUILD, f"cloudbuild.{at}.connections", "connectionId", "v2")
    _collection(state, BUILD, f"cloudbuild.{at}.connections.repositories", "repositoryId", "v2")
    _triggers(state)
    _values(state)


# ---------------------------------------------------------------------------------------------- collections


def _collection(
    state: Infra, host: str, prefix: str, id_query: str, version: str, fill: Callable[[Json], Json] = dict
) -> None:
    """create, get, list, patch, delete of a collection as google.aip.dev/131 to 135 have them.

    With `version` what writes is a long-running operation. `fill` adds what Google fills in.
    """
    double, items = state.double, prefix.rpartition(".")[2]

    def done(request: Request, do: Callable[[], Json]) -> Json:
        if not version:
            return do()
        parent = "/".join(_resource(request).split("/")[:4])
        return double.operation(host, version, parent, do)

    def create(request: Request) -> Json:
        state.check(host)
        given = request.query.get(id_query, "") if id_query else request.body["name"].rpartition("/")[2]
        name = f"{request.params['parent']}/{items}/{given}"
        if name in state.things:
            raise refuse(409, f"Resource '{name}' already exists.")
        state.put(name, **fill({**request.body, "createTime": double.now()}) | {"name": name})
        return done(request, lambda: state.things.get(name, {}))

    def get(request: Request) -> Json:
        state.check(host)
        return _there(state, request.params["name"])

    def all_(request: Request) -> Json:
        state.check(host)
        return _page(state, f"{request.params['parent']}/{items}/", items, request)

    def patch(request: Request) -> Json:
        state.check(host)
        found = _there(state, _resource(request))
        mask = request.query.get("updateMask", "")
        found |= {key: one for key, one in request.body.items() if not mask or key in mask.split(",")}
        return done(request, lambda: found)

    def delete(request: Request) -> Json:
        state.check(host)
        _there(state, request.params["name"])
        del state.things[request.params["name"]]
        return done(request, dict)

    for verb, handler in (("create", create), ("get", get), ("list", all_), ("patch", patch), ("delete", delete)):
        if not (verb == "patch" and prefix.endswith("connections.repositories")):
            double.route(host, f"{prefix}.{verb}")(handler)


def _there(state: Infra, name: str) -> Json:
    if name not in state.things:
        raise refuse(404, f"Resource '{name}' was not found.")
    return state.things[name]


def _page(state: Infra, prefix: str, items: str, request: Request) -> Json:
    found = [one for name, one in state.things.items() if name.startswith(prefix) and "/" not in name[len(prefix) :]]
    size, start = int(request.query.get("pageSize") or 50), int(request.query.get("pageToken") or 0)
    more = {"nextPageToken": str(start + size)} if len(found) > start + size else {}
    return {items: found[start : start + size], **more}


def _resource(request: Request) -> str:
    return next(iter(request.params.values()))


def _redis(body: Json) -> Json:
    return {**body, "host": "10.0.0.3", "port": 6379, "state": "READY"}


def _schedule(body: Json) -> Json:
    target = {**body["httpTarget"], "headers": {"User-Agent": "Google-Cloud-Scheduler"}}
    return {**body, "httpTarget": target, "state": "ENABLED", "retryConfig": {"maxDoublings": 5}}


# ---------------------------------------------------------------------------------------------- project and accounts


def _projects(state: Infra) -> None:
    double = state.double

    @double.route(CLOUD, "cloudresourcemanager.projects.get")
    def get(request: Request) -> Json:
        state.check(CLOUD)
        if request.params["name"] != f"projects/{double.project}":
            raise refuse(403, f"The caller does not have permission on project {request.params['name']}")
        return {"name": f"projects/{double.number}", "projectId": double.project, "state": "ACTIVE"}

    @double.route(USAGE, "serviceusage.services.list")
    def enabled(request: Request) -> Json:
        state.check(USAGE)
        parent = f"projects/{double.number}"
        on = [{"name": f"{parent}/services/{host}", "state": "ENABLED"} for host in sorted(set(HOSTS) - state.off)]
        return {"services": on}

    @double.route(USAGE, "serviceusage.services.batchEnable")
    def enable(request: Request) -> Json:
        state.check(USAGE)
        if len(request.body["serviceIds"]) > 20:
            raise refuse(400, "At most 20 services may be enabled at once.")

        def do() -> Json:
            state.off -= set(request.body["serviceIds"])
            return {}

        return double.operation(USAGE, "v1", "", do)


def _accounts(state: Infra) -> None:
    double = state.double

    @double.route(IAM, "iam.projects.serviceAccounts.list")
    def list_(request: Request) -> Json:
        state.check(IAM)
        return {"accounts": list(state.of("serviceAccounts").values())}

    @double.route(IAM, "iam.projects.serviceAccounts.create")
    def create(request: Request) -> Json:
        state.check(IAM)
        email = f"{request.body['accountId']}@{double.project}.iam.gserviceaccount.com"
        name = f"projects/{double.project}/serviceAccounts/{email}"
        if name in state.things:
            raise refuse(409, f"Service account {request.body['accountId']} already exists within project.")
        state.unknown[email] = state.fresh
        return state.put(name, email=email, uniqueId=str(double.number_of()), **request.body["serviceAccount"])

    @double.route(IAM, "iam.projects.serviceAccounts.patch")
    def patch(request: Request) -> Json:
        state.check(IAM)
        found = _there(state, request.params["name"])
        found["description"] = request.body["serviceAccount"]["description"]
        return found

    @double.route(IAM, "iam.projects.serviceAccounts.delete")
    def delete(request: Request) -> Json:
        state.check(IAM)
        _there(state, request.params["name"])
        del state.things[request.params["name"]]
        return {}


# ---------------------------------------------------------------------------------------------- policies

_HOLDERS = {
    CLOUD: "cloudresourcemanager.projects",
    IAM: "iam.projects.serviceAccounts",
    "artifactregistry.googleapis.com": "artifactregistry.projects.locations.repositories",
    SECRETS: "secretmanager.projects.secrets",
    BUILD: "cloudbuild.projects.locations.connections",
}


def _policies(state: Infra) -> None:
    for host, prefix in _HOLDERS.items():
        _holder(state, host, prefix)
    _holder(state, RUN, "run.projects.locations.jobs")
    _holder(state, STORAGE, "storage.buckets")


def _holder(state: Infra, host: str, prefix: str) -> None:
    """getIamPolicy and setIamPolicy of a thing that must be there, for members that must be there."""

    def check(request: Request) -> None:
        state.check(host)
        if host not in (CLOUD, STORAGE):
            _there(state, _resource(request))

    @state.double.route(host, f"{prefix}.getIamPolicy")
    def get(request: Request) -> Json:
        check(request)
        if host != STORAGE:
            return policies.answer(request, "getIamPolicy")
        version = int(request.query.get("optionsRequestedPolicyVersion", "1"))
        found = state.double.policies.get(_resource(request), {"bindings": []})
        shown = found if version >= 3 else {"bindings": [one for one in found["bindings"] if "condition" not in one]}
        return {"kind": "storage#policy", "version": version, "etag": policies.etag_of(found), **shown}

    @state.double.route(host, f"{prefix}.setIamPolicy")
    def set_(request: Request) -> Json:
        check(request)
        policy = request.body if host == STORAGE else request.body["policy"]
        for binding in policy.get("bindings", []):
            for member in binding["members"]:
                _known(state, member)
        if host != STORAGE:
            return policies.answer(request, "setIamPolicy")
        name = _resource(request)
        found = state.double.policies.get(name, {"bindings": []})
        if policy.get("etag") != policies.etag_of(found):
            raise refuse(412, "The policy was changed since it was read.")
        if any("condition" in one for one in policy["bindings"]) and policy.get("version") != 3:
            raise refuse(400, "Conditions need policy version 3.")
        state.double.policies[name] = {"bindings": policy["bindings"]}
        return {
            "kind": "storage#policy",
            "version": 3,
            "etag": policies.etag_of(policy),
            "bindings": policy["bindings"],
        }


def _known(state: Infra, member: str) -> None:
    """400 for a service account of this project that is not there, or not yet everywhere."""
    kind, _, email = member.partition(":")
    if kind != "serviceAccount" or not email.endswith(f"@{state.double.project}.iam.gserviceaccount.com"):
        return
    there = f"projects/{state.double.project}/serviceAccounts/{email}" in state.things
    if not there or state.unknown.get(email, 0) > 0:
        state.unknown[email] = state.unknown.get(email, 0) - there
        raise refuse(400, f"Service account {email} does not exist.")


# ---------------------------------------------------------------------------------------------- buckets


def _buckets(state: Infra) -> None:
    """Settings are fake-gcs-server's and storage.py's; here is only whose bucket it is."""
    double = state.double

    @double.route(STORAGE, "storage.buckets.get")
    def get(request: Request) -> Answer:
        if request.params["bucket"] in state.foreign:
            raise refuse(403, f"{request.caller} does not have storage.buckets.get access to the bucket.")
        return _own(request)

    @double.route(STORAGE, "storage.buckets.insert")
    def insert(request: Request) -> Answer:
        if request.body["name"] in state.foreign:
            raise refuse(
                409, "The requested bucket name is not available. The bucket namespace is shared by all users."
            )
        return _own(request)

    def _own(request: Request) -> Answer:
        answer = request.forward()
        assert isinstance(answer, Answer)
        body = json.loads(answer.body) if isinstance(answer.body, bytes) else answer.body
        if answer.status >= 300:
            return Answer(answer.status, body)
        return Answer(answer.status, {**body, "projectNumber": double.number})


# ---------------------------------------------------------------------------------------------- triggers and secrets


def _triggers(state: Infra) -> None:
    """Named by people, addressed by an id; a name is taken once (projects.locations.triggers)."""
    double, prefix = state.double, "cloudbuild.projects.locations.triggers"

    def found(request: Request) -> Json:
        state.check(BUILD)
        return _there(state, request.params["name"])

    @double.route(BUILD, f"{prefix}.create")
    def create(request: Request) -> Json:
        state.check(BUILD)
        if any(one["name"] == request.body["name"] for one in state.of("triggers").values()):
            raise refuse(409, f"trigger with name {request.body['name']} already exists")
        return write(f"{request.params['parent']}/triggers/t-{double.number_of()}", request.body)

    def write(name: str, body: Json) -> Json:
        connected = body["repositoryEventConfig"]["repository"]
        _there(state, connected)
        kept = {key: one for key, one in body.items() if one not in ([], {}, "", False)}  # as Google answers
        event = {**body["repositoryEventConfig"], "repositoryType": "GITHUB"}
        state.things[name] = {
            **kept,
            "repositoryEventConfig": event,
            "id": name.rpartition("/")[2],
            "resourceName": name,
        }
        return state.things[name]

    @double.route(BUILD, f"{prefix}.get")
    def get(request: Request) -> Json:
        return found(request)

    @double.route(BUILD, f"{prefix}.list")
    def list_(request: Request) -> Json:
        state.check(BUILD)
        return _page(state, f"{request.params['parent']}/triggers/", "triggers", request)

    @double.route(BUILD, f"{prefix}.patch")
    def patch(request: Request) -> Json:
        there = found(request)
        if not request.query.get("updateMask"):
            return write(there["resourceName"], request.body)
        there |= request.body
        return there

    @double.route(BUILD, f"{prefix}.delete")
    def delete(request: Request) -> Json:
        del state.things[found(request)["resourceName"]]
        return {}


def _values(state: Infra) -> None:
    """Versions of secrets: whether there is one (`infra.put(".../versions/1", state="ENABLED")`)."""

    @state.double.route(SECRETS, "secretmanager.projects.secrets.versions.list")
    def list_(request: Request) -> Json:
        state.check(SECRETS)
        _there(state, request.params["parent"])
        return _page(state, f"{request.params['parent']}/versions/", "versions", request)
