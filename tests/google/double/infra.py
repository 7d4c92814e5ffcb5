"""What holds a project together: APIs, accounts, policies, registries, secrets, Redis, triggers, jobs, schedules.

The traps of the real ones are here: an API that is off refuses, a member that IAM has not heard of is refused (for a
while also when it is there), names that are taken are refused, and what takes time is an operation.
"""

from __future__ import annotations

import json
import secrets
import weakref
from dataclasses import dataclass, field
from typing import Any

from tests.google.double import policies
from tests.google.double.core import Double, Request, refuse
from tests.google.double.faults import Answer
from tests.google.double.kit import Collection, collection

CLOUD = "cloudresourcemanager.googleapis.com"
IAM = "iam.googleapis.com"
USAGE = "serviceusage.googleapis.com"
STORAGE = "storage.googleapis.com"
SECRETS = "secretmanager.googleapis.com"
BUILD = "cloudbuild.googleapis.com"
REGISTRY = "artifactregistry.googleapis.com"
REDIS = "redis.googleapis.com"
SCHEDULER = "cloudscheduler.googleapis.com"
RUN = "run.googleapis.com"

_NAMES = """
aiplatform apikeys artifactregistry cloudbuild cloudresourcemanager cloudscheduler compute endpoints iam iamcredentials
logging redis run secretmanager servicecontrol servicemanagement serviceusage storage
"""
APIS = frozenset(f"{name}.googleapis.com" for name in _NAMES.split())

Json = dict[str, Any]


@dataclass
class Infra:
    """The project's state. `off`: APIs that are not enabled. `fresh`: how often IAM says that it does not know a new
    account. `foreign`: buckets that other projects have."""

    double: Double
    accounts: dict[str, Json] = field(default_factory=dict)  # by resource name, as all of these
    triggers: dict[str, Json] = field(default_factory=dict)
    collections: dict[str, Collection] = field(default_factory=dict)  # by host and last part of the name
    values: set[str] = field(default_factory=set)  # secrets that have one
    off: set[str] = field(default_factory=set)
    fresh: int = 0
    foreign: set[str] = field(default_factory=set)
    unknown: dict[str, int] = field(default_factory=dict)
    branches: list[str] = field(default_factory=list)  # of every repository that is linked
    tokens: list[str] = field(default_factory=list)  # that write to a repository; the last one is good

    def of(self, host: str, kind: str) -> Collection:
        """All things of a collection, in `.items`."""
        return self.collections[f"{host} {kind}"]

    def new_project(self) -> None:
        """Only what Google turns on by itself is on."""
        self.turn_off(*(APIS - {USAGE, CLOUD, STORAGE}))

    def turn_off(self, *hosts: str) -> None:
        for host in set(hosts) - self.off:
            self.off.add(host)
            self.double.faults.disable(host)

    def turn_on(self, *hosts: str) -> None:
        for host in set(hosts) & self.off:
            self.off.discard(host)
            self.double.faults.clear(host)

    def connect(self, repository: str = "", connection: str = "github", stage: str = "COMPLETE") -> None:
        """What a person does: consent to GitHub, and perhaps link a repository by hand."""
        place = f"projects/{self.double.project}/locations/{self.double.region}"
        state = {"stage": stage} | ({} if stage == "COMPLETE" else {"actionUri": "https://github.com/consent"})
        at = f"{place}/connections/{connection}"
        self.of(BUILD, "connections").put(at, {"githubConfig": {}, "installationState": state})
        if repository:
            uri = f"https://github.com/{repository}.git"
            self.of(BUILD, "repositories").put(f"{at}/repositories/by-hand", {"remoteUri": uri})

    def reset(self) -> None:
        for one in (self.accounts, self.triggers, self.values, self.unknown, self.foreign, self.double.policies):
            one.clear()
        for kept in self.collections.values():
            kept.items.clear()
        self.turn_on(*self.off.copy())

    def snapshot(self) -> Json:
        """Everything that is there, without times and numbers that differ from run to run."""
        kept = {key: one.items for key, one in self.collections.items()}
        triggers = {one["name"]: one for one in self.triggers.values()}
        text = json.dumps({"kept": kept, "triggers": triggers, "accounts": self.accounts}, sort_keys=True)
        shown: Json = json.loads(text, object_hook=_lasting)
        return {**shown, "policies": _sorted(self.double.policies)}


_CHANGING = (
    "createTime",
    "updateTime",
    "etag",
    "uid",
    "id",
    "resourceName",
    "uniqueId",
    "userUpdateTime",
    "generation",
)


def _lasting(value: Json) -> Json:
    return {key: one for key, one in value.items() if key not in _CHANGING}


def _sorted(found: dict[str, Json]) -> Json:
    return {name: sorted(map(json.dumps, one.get("bindings", []))) for name, one in found.items()}


_STATES: weakref.WeakKeyDictionary[Double, Infra] = weakref.WeakKeyDictionary()


def infra(double: Double) -> Infra:
    return _STATES.setdefault(double, Infra(double))


def install(double: Double) -> None:
    state = infra(double)
    _projects(state)
    _accounts(state)
    _policies(state)
    _buckets(state)
    _collections(state)
    _triggers(state)
    _branches(state)
    _values(state)


def _collections(state: Infra) -> None:
    at = "projects.locations"
    for host, prefix in (
        (REGISTRY, f"artifactregistry.{at}.repositories"),
        (SECRETS, "secretmanager.projects.secrets"),
        (BUILD, f"cloudbuild.{at}.connections"),
        (BUILD, f"cloudbuild.{at}.connections.repositories"),
    ):
        state.collections[f"{host} {prefix.rpartition('.')[2]}"] = collection(state.double, host, prefix)
    state.collections[f"{RUN} jobs"] = collection(state.double, RUN, f"run.{at}.jobs", whole=True)
    state.collections[f"{REDIS} instances"] = collection(state.double, REDIS, f"redis.{at}.instances", fill=_redis)
    state.collections[f"{SCHEDULER} jobs"] = collection(
        state.double, SCHEDULER, f"cloudscheduler.{at}.jobs", fill=_schedule
    )


def _redis(name: str, thing: Json, before: Json | None) -> Json:
    return {**thing, "host": "10.0.0.3", "port": 6379, "state": "READY"}


def _schedule(name: str, thing: Json, before: Json | None) -> Json:
    target = {**thing["httpTarget"], "headers": {"User-Agent": "Google-Cloud-Scheduler"}}
    return {**thing, "httpTarget": target, "state": "ENABLED", "retryConfig": {"maxDoublings": 5}}


# ---------------------------------------------------------------------------------------------- project and accounts


def _projects(state: Infra) -> None:
    double = state.double

    @double.route(CLOUD, "cloudresourcemanager.projects.get")
    def get(request: Request) -> Json:
        if request.params["name"] != f"projects/{double.project}":
            raise refuse(403, f"The caller does not have permission on project {request.params['name']}")
        return {"name": f"projects/{double.number}", "projectId": double.project, "state": "ACTIVE"}

    @double.route(USAGE, "serviceusage.services.list")
    def enabled(request: Request) -> Json:
        parent = f"projects/{double.number}"
        on = [{"name": f"{parent}/services/{host}", "state": "ENABLED"} for host in sorted(APIS - state.off)]
        return {"services": on}

    @double.route(USAGE, "serviceusage.services.batchEnable")
    def enable(request: Request) -> Json:
        if len(request.body["serviceIds"]) > 20:
            raise refuse(400, "At most 20 services may be enabled at once.")

        def do() -> Json:
            state.turn_on(*request.body["serviceIds"])
            return {}

        return double.operation(USAGE, "v1", "", do)


def _accounts(state: Infra) -> None:
    double = state.double

    @double.route(IAM, "iam.projects.serviceAccounts.list")
    def list_(request: Request) -> Json:
        return {"accounts": list(state.accounts.values())}

    @double.route(IAM, "iam.projects.serviceAccounts.create")
    def create(request: Request) -> Json:
        email = f"{request.body['accountId']}@{double.project}.iam.gserviceaccount.com"
        name = f"projects/{double.project}/serviceAccounts/{email}"
        if name in state.accounts:
            raise refuse(409, f"Service account {request.body['accountId']} already exists within project.")
        state.unknown[email] = state.fresh
        number = {"email": email, "uniqueId": str(double.number_of())}
        state.accounts[name] = {"name": name, **number, **request.body["serviceAccount"]}
        return state.accounts[name]

    @double.route(IAM, "iam.projects.serviceAccounts.patch")
    def patch(request: Request) -> Json:
        found = _there(state.accounts, request.params["name"])
        found["description"] = request.body["serviceAccount"]["description"]
        return found

    @double.route(IAM, "iam.projects.serviceAccounts.delete")
    def delete(request: Request) -> Json:
        _there(state.accounts, request.params["name"])
        del state.accounts[request.params["name"]]
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
        if host == IAM:
            _there(state.accounts, _resource(request))
        elif host not in (CLOUD, STORAGE):
            _there(state.of(host, prefix.rpartition(".")[2]).items, _resource(request))

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
    there = f"projects/{state.double.project}/serviceAccounts/{email}" in state.accounts
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
        return _there(state.triggers, _resource(request))

    @double.route(BUILD, f"{prefix}.create")
    def create(request: Request) -> Json:
        if any(one["name"] == request.body["name"] for one in state.triggers.values()):
            raise refuse(409, f"trigger with name {request.body['name']} already exists")
        return write(f"{request.params['parent']}/triggers/t-{double.number_of()}", request.body)

    def write(name: str, body: Json) -> Json:
        connected = body["repositoryEventConfig"]["repository"]
        _there(state.of(BUILD, "repositories").items, connected)
        kept = {key: one for key, one in body.items() if one not in ([], {}, "", False)}  # as Google answers
        event = {**body["repositoryEventConfig"], "repositoryType": "GITHUB"}
        state.triggers[name] = {
            **kept,
            "repositoryEventConfig": event,
            "id": name.rpartition("/")[2],
            "resourceName": name,
        }
        return state.triggers[name]

    @double.route(BUILD, f"{prefix}.get")
    def get(request: Request) -> Json:
        return found(request)

    @double.route(BUILD, f"{prefix}.list")
    def list_(request: Request) -> Json:
        return {"triggers": list(state.triggers.values())}

    @double.route(BUILD, f"{prefix}.patch")
    def patch(request: Request) -> Json:
        there = found(request)
        if not request.query.get("updateMask"):
            return write(there["resourceName"], request.body)
        there |= request.body
        return there

    @double.route(BUILD, f"{prefix}.delete")
    def delete(request: Request) -> Json:
        del state.triggers[found(request)["resourceName"]]
        return {}


def _branches(state: Infra) -> None:
    """What a connection sees of a repository."""

    @state.double.route(BUILD, "cloudbuild.projects.locations.connections.repositories.fetchGitRefs")
    def fetch(request: Request) -> Json:
        _there(state.of(BUILD, "repositories").items, request.params["repository"])
        return {"refNames": list(state.branches)} if state.branches else {}

    @state.double.route(BUILD, "cloudbuild.projects.locations.connections.repositories.accessReadWriteToken")
    def token(request: Request) -> Json:
        _there(state.of(BUILD, "repositories").items, request.params["repository"])
        state.tokens.append(f"ghs_{secrets.token_hex(18)}")
        return {"token": state.tokens[-1], "expirationTime": "2040-01-01T00:00:00Z"}


def _values(state: Infra) -> None:
    """Whether a secret has a value (`infra.values`)."""

    @state.double.route(SECRETS, "secretmanager.projects.secrets.versions.list")
    def list_(request: Request) -> Json:
        name = request.params["parent"]
        _there(state.of(SECRETS, "secrets").items, name)
        return {"versions": [{"name": f"{name}/versions/1", "state": "ENABLED"}]} if name in state.values else {}


def _there(things: dict[str, Json], name: str) -> Json:
    if name not in things:
        raise refuse(404, f"Resource '{name}' was not found.")
    return things[name]


def _resource(request: Request) -> str:
    return next(iter(request.params.values()))
