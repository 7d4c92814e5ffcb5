"""Requests to Cloud Run (run.googleapis.com, v2) as values, and its answers read. Pure.

Sources: cloud.google.com/run/docs/reference/rest/v2/projects.locations.services and the pages named below.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from mawasu.google.call import Call, path
from mawasu.words import Value

HOST: Final = "run.googleapis.com"
INVOKER: Final = "roles/run.invoker"
LOGGING: Final = "logging.googleapis.com"

Json = dict[str, Any]
T = TypeVar("T")


class Probe(Value, frozen=True):
    """`GET path` on the ingress container's port; times in seconds."""

    path: str
    period: int
    failures: int
    timeout: int = 1


class Container(Value, frozen=True):
    """One container of a revision. The one with a `port` takes the requests."""

    name: str
    image: str
    command: tuple[str, ...]
    cpu: str  # cores: "1"
    memory: str  # "512Mi"
    environ: Mapping[str, str] = {}
    secrets: Mapping[str, str] = {}  # variable → projects/P/secrets/S/versions/V
    mounts: Mapping[str, str] = {}  # volume → directory
    working: str = ""
    port: int = 0
    startup: Probe | None = None
    alive: Probe | None = None


class Files(Value, frozen=True):
    """A volume: a directory of a bucket, read-only."""

    bucket: str
    directory: str


class Template(Value, frozen=True):
    """What a revision is made of. `timeout` in seconds; `scratch` are volumes in memory by name, with their sizes."""

    revision: str
    account: str
    containers: tuple[Container, ...]
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    files: Mapping[str, Files] = {}
    scratch: Mapping[str, str] = {}
    most: int = 1  # instances
    concurrency: int = 80
    timeout: int = 300
    network: str = ""
    subnet: str = ""


class Share(Value, frozen=True):
    """A revision's part of the traffic, in percent, and the tag under which it has a URL of its own."""

    revision: str
    percent: int = 0
    tag: str = ""


# ------------------------------------------------------------------------------------------------ bodies


def service(labels: Mapping[str, str], template: Template, shares: Sequence[Share]) -> Json:
    """The body of a new service. Reachable from everywhere, but nobody may call it before IAM says so."""
    return {
        "labels": dict(labels),
        "ingress": "INGRESS_TRAFFIC_ALL",
        "template": template_body(template),
        "traffic": traffic(shares),
    }


def template_body(template: Template) -> Json:
    found: Json = {
        "revision": template.revision,
        "labels": dict(template.labels),
        "annotations": dict(template.annotations),
        "serviceAccount": template.account,
        "executionEnvironment": "EXECUTION_ENVIRONMENT_GEN2",
        "maxInstanceRequestConcurrency": template.concurrency,
        "timeout": f"{template.timeout}s",
        "scaling": {"maxInstanceCount": template.most},
        "containers": [_container(one) for one in template.containers],
        "volumes": [
            *({"name": name, "emptyDir": _memory(size)} for name, size in _in_order(template.scratch)),
            *({"name": name, "gcs": _files(files)} for name, files in _in_order(template.files)),
        ],
    }
    if template.network:
        interface = {"network": template.network} | ({"subnetwork": template.subnet} if template.subnet else {})
        found["vpcAccess"] = {"networkInterfaces": [interface], "egress": "PRIVATE_RANGES_ONLY"}
    return found


def _container(one: Container) -> Json:
    found: Json = {
        "name": one.name,
        "image": one.image,
        "command": list(one.command[:1]),
        "args": list(one.command[1:]),
        "env": [
            *({"name": name, "value": value} for name, value in _in_order(one.environ)),
            *({"name": name, "valueSource": {"secretKeyRef": _secret(ref)}} for name, ref in _in_order(one.secrets)),
        ],
        "resources": {
            "limits": {"cpu": one.cpu, "memory": one.memory},
            "cpuIdle": True,  # what is not said here is false, once `resources` are given
            "startupCpuBoost": True,
        },
        "volumeMounts": [{"name": name, "mountPath": place} for name, place in _in_order(one.mounts)],
    }
    if one.working:
        found["workingDir"] = one.working
    if one.port:
        found["ports"] = [{"name": "http1", "containerPort": one.port}]
    if one.startup:
        found["startupProbe"] = _probe(one.startup)
    if one.alive:
        found["livenessProbe"] = _probe(one.alive)
    return found


def _memory(size: str) -> Json:
    return {"medium": "MEMORY", "sizeLimit": size}


def _files(files: Files) -> Json:
    """Objects say nothing of directories or modes: Cloud Storage FUSE has to be told (its mount options)."""
    options = ["implicit-dirs", f"only-dir={files.directory}", "file-mode=555", "dir-mode=555"]
    return {"bucket": files.bucket, "readOnly": True, "mountOptions": options}


def _probe(probe: Probe) -> Json:
    return {
        "httpGet": {"path": probe.path},
        "periodSeconds": probe.period,
        "failureThreshold": probe.failures,
        "timeoutSeconds": probe.timeout,
    }


def _secret(reference: str) -> Json:
    secret, _, version = reference.rpartition("/versions/")
    if not secret or not version:
        raise ValueError(f"{reference!r} is no version of a secret")
    return {"secret": secret, "version": version}


def _in_order(mapping: Mapping[str, T]) -> list[tuple[str, T]]:
    return sorted(mapping.items())


# ------------------------------------------------------------------------------------------------ calls


def name_of(parent: str, service_id: str, revision: str = "") -> str:
    """`parent` is `projects/P/locations/R`."""
    return f"{parent}/services/{service_id}" + (f"/revisions/{revision}" if revision else "")


def get(name: str) -> Call:
    """A service, revision or operation."""
    return Call("GET", HOST, _path(name))


def services(parent: str) -> Call:
    return Call("GET", HOST, _path(f"{parent}/services"))


def create(parent: str, service_id: str, body: Json) -> Call:
    return Call("POST", HOST, _path(f"{parent}/services"), {"serviceId": service_id}, body, again=True)


def patch(name: str, etag: str, body: Json) -> Call:
    """Change these fields and no others. The etag makes it safe to send twice: the second is a conflict."""
    mask = ",".join(sorted(body))
    return Call("PATCH", HOST, _path(name), {"updateMask": mask}, {"name": name, "etag": etag, **body}, again=True)


def delete(name: str) -> Call:
    return Call("DELETE", HOST, _path(name))


def get_policy(name: str) -> Call:
    """Version 3, or conditions would be left out of the answer, and lost when it is set again."""
    return Call("GET", HOST, _path(name) + ":getIamPolicy", {"options.requestedPolicyVersion": "3"})


def set_policy(name: str, policy: Json) -> Call:
    return Call("POST", HOST, _path(name) + ":setIamPolicy", body={"policy": policy}, again=True)


def printed(project: str, region: str, service_id: str, revision: str, lines: int) -> Call:
    """The newest entries that a revision's containers printed (cloud.google.com/run/docs/logging)."""
    terms = (
        'resource.type="cloud_run_revision"',
        f'resource.labels.location="{region}"',
        f'resource.labels.service_name="{service_id}"',
        f'resource.labels.revision_name="{revision}"',
        'logName=~"/run.googleapis.com%2Fstd(out|err)$"',
    )
    body = {
        "resourceNames": [f"projects/{project}"],
        "filter": " AND ".join(terms),
        "orderBy": "timestamp desc",
        "pageSize": lines,
    }
    return Call("POST", LOGGING, "/v2/entries:list", body=body, again=True)


def _path(name: str) -> str:
    return path("v2", *name.split("/"))


# ------------------------------------------------------------------------------------------------ traffic


def traffic(shares: Sequence[Share]) -> list[Json]:
    """Always to revisions by name: `LATEST` would send callers to whatever is deployed next."""
    return [
        {
            "type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION",
            "revision": one.revision,
            "percent": one.percent,
            **({"tag": one.tag} if one.tag else {}),
        }
        for one in shares
    ]


def shares_of(answer: Json) -> tuple[Share, ...]:
    """Of a service as Google has it. Shares of `LATEST`, which a hand may have set, become the revision's it means."""
    latest = answer.get("latestReadyRevision", "").rpartition("/")[2]
    named = (
        Share(one.get("revision", "") or latest, one.get("percent", 0), one.get("tag", ""))
        for one in answer.get("traffic", [])
    )
    return tuple(one for one in named if one.revision)


def tried(shares: Sequence[Share], revision: str, tag: str, promoted: str) -> tuple[Share, ...]:
    """With a URL for `revision`, whose share stays what it is.

    Traffic must go somewhere: while no revision was ever promoted it goes to the newest, and nobody may call it.
    """
    if not promoted or not any(one.percent for one in shares):
        return (Share(revision, 100, tag), *_idle(shares, revision, tag))
    kept = [one for one in _without(shares, revision, tag) if one.percent or one.tag]
    mine = [one for one in kept if one.revision == revision]
    if mine:
        return tuple(msgspec.structs.replace(one, tag=tag) if one is mine[0] else one for one in kept)
    return (*kept, Share(revision, 0, tag))


def promoted(shares: Sequence[Share], revision: str, tag: str) -> tuple[Share, ...]:
    """All traffic to `revision`; whoever had a tag keeps it."""
    return (Share(revision, 100, tag), *_idle(shares, revision, tag))


def untagged(shares: Sequence[Share], revision: str) -> tuple[Share, ...]:
    """Without a URL for a revision that has no traffic."""
    return tuple(one for one in shares if one.revision != revision or one.percent)


def _idle(shares: Sequence[Share], revision: str, tag: str) -> tuple[Share, ...]:
    others = (one for one in shares if one.revision != revision and one.tag and one.tag != tag)
    return tuple(msgspec.structs.replace(one, percent=0) for one in others)


def _without(shares: Sequence[Share], revision: str, tag: str) -> list[Share]:
    """No tag twice, and no second tag for the revision."""
    return [
        msgspec.structs.replace(one, tag="") if one.tag == tag or (one.revision == revision and one.tag) else one
        for one in shares
    ]


# ------------------------------------------------------------------------------------------------ answers


class Condition(Value, frozen=True):
    """`state` is SUCCEEDED, FAILED, or something on the way there (PENDING, RECONCILING)."""

    state: str
    message: str = ""
    reason: str = ""


def ready(answer: Json) -> Condition:
    """Of a revision (its condition `Ready`) or a service (its terminal condition)."""
    of_type: Iterator[Json] = (one for one in answer.get("conditions", []) if one.get("type") == "Ready")
    one: Json = answer.get("terminalCondition") or next(of_type, {})
    reason = one.get("reason") or one.get("revisionReason") or ""
    return Condition(one.get("state", "").removeprefix("CONDITION_"), one.get("message", ""), reason)


def url_of(answer: Json, tag: str) -> str:
    """Where a tagged revision answers; "" while Google does not say."""
    statuses = answer.get("trafficStatuses", [])
    if found := next((one["uri"] for one in statuses if one.get("tag") == tag and one.get("uri")), ""):
        return str(found)
    scheme, found, host = answer.get("uri", "").partition("https://")
    return f"https://{tag}---{host}" if found and not scheme else ""


def lines_of(entries: Sequence[Json], without: str) -> list[str]:
    """What log entries say, oldest first, if they came newest first; not those of the container `without`."""
    said = []
    for one in reversed(entries):
        if one.get("labels", {}).get("container_name") == without:
            continue
        payload = one.get("jsonPayload")
        text = payload.get("message", "") if isinstance(payload, dict) else one.get("textPayload", "")
        said += str(text).splitlines()
    return said


# ------------------------------------------------------------------------------------------------ who may call


def callable_by(policy: Json, members: set[str]) -> Json | None:
    """The policy in which these, and nobody else, may call; whatever else it says stays. None if it says so."""
    bindings = policy.get("bindings", [])
    others = [one for one in bindings if one.get("role") != INVOKER]
    if callers(policy) == members and len(bindings) - len(others) == 1:
        return None
    return {**policy, "version": 3, "bindings": [*others, {"role": INVOKER, "members": sorted(members)}]}


def callers(policy: Json) -> set[str]:
    """Who may call, whenever they like."""
    bindings = [one for one in policy.get("bindings", []) if one.get("role") == INVOKER and "condition" not in one]
    return {member for one in bindings for member in one.get("members", [])}
