"""Requests to Vertex AI's custom jobs (aiplatform.v1, projects.locations.customJobs) as values, answers read. Pure."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal
from urllib.parse import quote

from mawasu.google.call import Call, path
from mawasu.words import Value

Strategy = Literal["STANDARD", "SPOT", "FLEX_START"]

DAY: Final = 86400.0
LONGEST: Final = 7 * DAY  # a flex-start job may run
SMALLEST_DISK: Final = 100  # GB; Vertex AI gives no smaller boot disk
_FLEX: Final = re.compile(r"NVIDIA_(L4|TESLA_A100|A100_80GB|H100.*|H200.*|B200)")
_LABEL: Final = re.compile(r"[\w-]{0,63}")


class Pool(Value, frozen=True):
    """One worker pool: so many replicas of one machine. `accelerator` as Vertex AI's AcceleratorType, "" for none."""

    machine: str
    replicas: int = 1
    accelerator: str = ""
    accelerators: int = 0
    topology: str = ""


class Job(Value, frozen=True):
    """A custom job, before it is asked for. `timeout` and `wait` in seconds, `disk` in GB."""

    name: str
    image: str  # registry/package@sha256:…
    command: tuple[str, ...]  # no variables: Vertex AI takes 100, and expands them
    account: str
    output: str  # gs://…/
    pools: tuple[Pool | None, ...]  # the position tells what a pool is for; None leaves one out
    labels: Mapping[str, str] = {}
    disk: int = SMALLEST_DISK
    timeout: float = 3600.0
    strategy: Strategy = "STANDARD"
    wait: float = 0.0  # for machines, flex-start only
    network: str = ""  # projects/{number}/global/networks/{name}


class State(enum.StrEnum):
    """What mawasu tells apart of Vertex AI's JobState."""

    WAITING = "waiting"
    RUNNING = "running"
    ENDING = "ending"  # cancelled, and not gone yet
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


LIVE: Final = frozenset({State.WAITING, State.RUNNING})
ENDED: Final = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.EXPIRED})

_STATES: Final[Mapping[str, State]] = {
    "JOB_STATE_RUNNING": State.RUNNING,
    "JOB_STATE_UPDATING": State.RUNNING,
    "JOB_STATE_CANCELLING": State.ENDING,
    "JOB_STATE_SUCCEEDED": State.SUCCEEDED,
    "JOB_STATE_PARTIALLY_SUCCEEDED": State.FAILED,
    "JOB_STATE_FAILED": State.FAILED,
    "JOB_STATE_CANCELLED": State.CANCELLED,
    "JOB_STATE_EXPIRED": State.EXPIRED,
}


class Seen(Value, frozen=True):
    """A custom job as Google last told of it. Times in seconds since the epoch; None: not yet."""

    name: str  # projects/{number}/locations/{region}/customJobs/{id}
    state: State
    created: float
    labels: Mapping[str, str] = {}
    started: float | None = None
    ended: float | None = None
    code: int = 0  # google.rpc.Code of its error
    error: str = ""

    @property
    def id(self) -> str:
        return self.name.rpartition("/")[2]


# ---------------------------------------------------------------------------------------------------- calls


def create(parent: str, job: Job) -> Call:
    """The API takes no request id: never sent again by itself. `parent` is projects/…/locations/{region}."""
    return Call("POST", _host(parent), f"/v1/{parent}/customJobs", body=body(job))


def get(name: str) -> Call:
    return Call("GET", _host(name), f"/v1/{name}")


def cancel(name: str) -> Call:
    return Call("POST", _host(name), f"/v1/{name}:cancel", body={}, again=True)


def labelled(parent: str, key: str, value: str) -> Call:
    """The jobs with a label, a page of them (items: `customJobs`)."""
    return Call("GET", _host(parent), f"/v1/{parent}/customJobs", {"filter": f'labels.{key}="{value}"'})


def seen(answer: Mapping[str, Any]) -> Seen:
    error = answer.get("error") or {}
    return Seen(
        name=answer["name"],
        state=_STATES.get(answer.get("state", ""), State.WAITING),
        created=_seconds(answer["createTime"]) or 0.0,
        labels=answer.get("labels", {}),
        started=_seconds(answer.get("startTime", "")),
        ended=_seconds(answer.get("endTime", "")),
        code=int(error.get("code", 0)),
        error=" ".join(str(error.get("message", "")).split()),
    )


def console(project: str, name: str) -> str:
    """Where people look at a job."""
    region, job = _region(name), name.rpartition("/")[2]
    base = "https://console.cloud.google.com/vertex-ai"
    return f"{base}/locations/{quote(region)}/training/{quote(job)}?project={quote(project)}"


def network(number: str, name: str) -> str:
    """The full name of a VPC network, with the project's number as CustomJobSpec.network wants it."""
    return name if "/" in name else path("projects", number, "global", "networks", name)[1:]


# ---------------------------------------------------------------------------------------------------- the body


def body(job: Job) -> dict[str, Any]:
    """The CustomJob to create. Says nothing of what `faults` would find."""
    spec: dict[str, Any] = {
        "workerPoolSpecs": [{} if pool is None else _pool(job, pool) for pool in _trimmed(job.pools)],
        "scheduling": _scheduling(job),
        "serviceAccount": job.account,
        "baseOutputDirectory": {"outputUriPrefix": job.output},
        "enableWebAccess": False,
    }
    if job.network:
        spec["network"] = job.network
    return {"displayName": job.name[:128], "labels": dict(job.labels), "jobSpec": spec}


def faults(job: Job) -> list[str]:
    """All that Vertex AI would refuse, or worse: take for something else.

    Sources: cloud.google.com/vertex-ai/docs/training/distributed-training and …/schedule-jobs-dws, and the fields'
    descriptions in the discovery document.
    """
    found: list[str] = []
    first = job.pools[0] if job.pools else None
    if first is None or first.replicas != 1:
        found.append("worker pool 0 has exactly one replica: the chief")
    if len(job.pools) > 4:
        found.append(f"there are four worker pools, not {len(job.pools)}")
    there = [pool for pool in job.pools if pool is not None]
    for pool in there:
        if pool.replicas < 1:
            found.append(f"a worker pool of {pool.machine} has no replica")
        if bool(pool.accelerator) != (pool.accelerators > 0):
            found.append(f"{pool.accelerators} accelerators of the type {pool.accelerator!r} is no number of anything")
    if job.strategy == "FLEX_START":
        found += _flex_faults(job, there)
    elif job.wait:
        found.append("how long to wait for machines can be said of flex-start only")
    if job.strategy == "SPOT" and any(pool.accelerator.startswith("TPU_V2") for pool in there):
        found.append("there are no spot machines with TPU_V2")
    if len(job.labels) > 64:
        found.append(f"a job has at most 64 labels, not {len(job.labels)}")
    for key, value in job.labels.items():
        if not (_is_label(key) and key and _is_label(value)):
            found.append(f"the label {key}={value} is not made of at most 63 of a-z, 0-9, _ and -")
    if "@sha256:" not in job.image:
        found.append(f"the image {job.image} is not named by its digest")
    if job.disk < SMALLEST_DISK:
        found.append(f"the disk has at least {SMALLEST_DISK} GB, not {job.disk}")
    return found


def _flex_faults(job: Job, pools: Sequence[Pool]) -> list[str]:
    found = []
    if not all(_FLEX.fullmatch(pool.accelerator) for pool in pools):
        found.append("flex-start is for L4, A100, H100, H200 and B200 only, in every worker pool")
    if len({(pool.machine, pool.accelerators) for pool in pools}) > 1:
        found.append("flex-start wants the same machine in every worker pool")
    if job.timeout > LONGEST:
        found.append("a flex-start job runs for at most 7 days")
    return found


def _is_label(text: str) -> bool:
    return _LABEL.fullmatch(text) is not None and text == text.lower()


def _trimmed(pools: Sequence[Pool | None]) -> Sequence[Pool | None]:
    """Without the empty ones at the end: those in between keep the others' positions."""
    last = max((index for index, pool in enumerate(pools) if pool is not None), default=-1)
    return pools[: last + 1]


def _pool(job: Job, pool: Pool) -> dict[str, Any]:
    machine: dict[str, Any] = {"machineType": pool.machine}
    if pool.accelerator:
        machine |= {"acceleratorType": pool.accelerator, "acceleratorCount": pool.accelerators}
    if pool.topology:
        machine["tpuTopology"] = pool.topology
    return {
        "machineSpec": machine,
        "replicaCount": str(pool.replicas),
        "containerSpec": {"imageUri": job.image, "command": [_plain(word) for word in job.command]},
        "diskSpec": {"bootDiskType": _disk(pool.machine), "bootDiskSizeGb": job.disk},
    }


def _disk(machine: str) -> str:
    """The newest accelerator machines boot from Hyperdisk only."""
    newest = machine.startswith(("a3-ultragpu", "a4"))
    return "hyperdisk-balanced" if newest else "pd-ssd"


def _plain(word: str) -> str:
    """A word that nothing is expanded in (`$(NAME)` is, `$$(NAME)` is not: as in Kubernetes, which runs it)."""
    return word.replace("$", "$$")


def _scheduling(job: Job) -> dict[str, Any]:
    found = {
        "strategy": job.strategy,
        "timeout": _duration(job.timeout),
        "restartJobOnWorkerRestart": False,
    }
    return {**found, "maxWaitDuration": _duration(job.wait)} if job.wait else found


def _duration(seconds: float) -> str:
    return f"{max(1, round(seconds))}s"


def _seconds(text: str) -> float | None:
    return datetime.fromisoformat(text).timestamp() if text else None


def _region(name: str) -> str:
    return name.split("/locations/")[1].split("/")[0]


def _host(name: str) -> str:
    return f"{_region(name)}-aiplatform.googleapis.com"
