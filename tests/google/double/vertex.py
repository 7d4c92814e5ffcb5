"""Vertex AI's custom jobs, which really run: the container's command as a process, the bucket at `/gcs/<bucket>`.

A job takes its way by polls (each `get` is a step: queued, pending, running), and then as long as its command takes.
What it changes in the mounted bucket is synced back when it ends; its lines go to Cloud Logging as they come.
"""

from __future__ import annotations

import json
import re
import signal
import tempfile
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.google.double.container import Container, Mounted, default_environment
from tests.google.double.core import Double, Request, refuse
from tests.google.double.logging import logs_of

API = "aiplatform.googleapis.com"
JOBS = "aiplatform.projects.locations.customJobs"
_OF: weakref.WeakKeyDictionary[Double, Vertex] = weakref.WeakKeyDictionary()

_ERRORS = {
    "internal": (13, "Internal error occurred for the current attempt."),
    "memory": (
        3,
        "The replica workerpool0-0 ran out-of-memory and exited with a non-zero status of 137(SIGKILL). To find out "
        "more about why your job exited please check the logs",
    ),
    "no machines": (14, "Resources are insufficient in region: europe-west1. Please try a different region."),
    "no quota": (
        8,
        "The following quota metrics exceed quota limits: aiplatform.googleapis.com/custom_model_training_cpus",
    ),
}


class _Job:
    """A job and, once it runs, its containers."""

    def __init__(self, resource: dict[str, Any], fate: str) -> None:
        self.resource = resource
        self.fate = fate
        self.told = False  # to end
        self.thread: threading.Thread | None = None
        self.containers: list[Container] = []

    @property
    def state(self) -> str:
        return str(self.resource["state"]).removeprefix("JOB_STATE_")

    @property
    def ended(self) -> bool:
        return self.state in ("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED")


class Vertex:
    """`environment_of` tells the directory of an image's Python environment. `fates` are for the jobs to come, in their
    order: "" runs, "never" has no machine, "idle" ends well without having run anything, "expired" and the keys of
    `_ERRORS` fail so once they run.
    """

    def __init__(self, double: Double) -> None:
        self.environment_of: Callable[[str], Path] = default_environment
        self.fates: list[str] = []
        self.jobs: dict[str, _Job] = {}
        self._double = double

    @property
    def ran(self) -> int:
        """How many jobs got as far as running."""
        return sum("startTime" in job.resource for job in self.jobs.values())

    def close(self) -> None:
        """End what runs; no process is there when it returns."""
        for job in list(self.jobs.values()):
            job.told = True
            for container in job.containers:
                container.kill()
        for job in list(self.jobs.values()):
            if job.thread is not None:
                job.thread.join()

    # ------------------------------------------------------------------------------------------------ methods

    def create(self, request: Request) -> dict[str, Any]:
        """What the API checks at once."""
        parent, now = request.params["parent"], self._double.now()
        pools = request.body["jobSpec"]["workerPoolSpecs"]
        if not pools or int(pools[0].get("replicaCount", "0")) != 1:
            raise refuse(400, "The first worker pool must have exactly one replica.")
        for key, value in request.body.get("labels", {}).items():
            if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key) or not re.fullmatch(r"[a-z0-9_-]{0,63}", value):
                raise refuse(400, f"Invalid label {key!r}: {value!r}.")
        number = 7_000_000_000 + self._double.number_of()
        name = f"projects/{self._double.number}/locations/{parent.rpartition('/')[2]}/customJobs/{number}"
        resource = {**request.body, "name": name, "state": "JOB_STATE_QUEUED", "createTime": now, "updateTime": now}
        job = self.jobs[name] = _Job(resource, self.fates.pop(0) if self.fates else "")
        return dict(job.resource)

    def get(self, request: Request) -> dict[str, Any]:
        job = self._job(request)
        self._step(job)
        return dict(job.resource)

    def list(self, request: Request) -> dict[str, Any]:
        """Newest first, as Google lists; filtered by one label."""
        match = re.fullmatch(r'labels\.([a-z0-9_-]+)="([^"]*)"', request.query.get("filter", ""))
        if match is None:
            raise refuse(400, "the double filters by one label only")
        found = [dict(one.resource) for one in self.jobs.values() if one.resource["labels"].get(match[1]) == match[2]]
        return {"customJobs": found[::-1]}

    def cancel(self, request: Request) -> dict[str, Any]:
        job = self._job(request)
        if job.ended:
            raise refuse(400, "The job is not in a state that can be cancelled.", code="FAILED_PRECONDITION")
        job.told = True
        self._set(job, "CANCELLING")
        for container in job.containers:
            container.signal(signal.SIGTERM)
        return {}

    # ------------------------------------------------------------------------------------------------ states

    def _job(self, request: Request) -> _Job:
        name = request.params["name"].replace(f"projects/{self._double.project}/", f"projects/{self._double.number}/")
        if name not in self.jobs:
            raise refuse(404, f"The CustomJob does not exist: {name}")
        return self.jobs[name]

    def _step(self, job: _Job) -> None:
        """What is next, from one poll to the other; a running job goes its own way."""
        match job.state:
            case "QUEUED":
                self._set(job, "PENDING")
            case "CANCELLING" if job.thread is None:
                self._end(job, "CANCELLED", 1, "CustomJob was cancelled.")
            case "PENDING" if job.fate != "never":
                self._set(job, "RUNNING")
                job.resource["startTime"] = job.resource["updateTime"]
                self._say(job, "service", {"textPayload": "Job is running."})
                if job.fate in ("expired", "idle"):
                    self._end(job, "EXPIRED" if job.fate == "expired" else "SUCCEEDED")
                elif job.fate:
                    self._end(job, "FAILED", *_ERRORS[job.fate])
                else:
                    job.thread = threading.Thread(target=self._run, args=(job,))
                    job.thread.start()

    def _set(self, job: _Job, state: str) -> None:
        job.resource |= {"state": f"JOB_STATE_{state}", "updateTime": self._double.now()}

    def _end(self, job: _Job, state: str, code: int = 0, message: str = "") -> None:
        self._set(job, state)
        job.resource["endTime"] = job.resource["updateTime"]
        if message:
            job.resource["error"] = {"code": code, "message": message}

    def _say(self, job: _Job, task: str, payload: dict[str, Any]) -> None:
        labels = {"job_id": job.resource["name"].rpartition("/")[2], "task_name": task}
        logs_of(self._double).write("ml_job", labels, payload, task)

    # ------------------------------------------------------------------------------------------------ running

    def _run(self, job: _Job) -> None:
        """All replicas of all pools; the chief's end is the job's."""
        spec = job.resource["jobSpec"]
        bucket = spec["baseOutputDirectory"]["outputUriPrefix"].removeprefix("gs://").partition("/")[0]
        with tempfile.TemporaryDirectory(prefix="vertex-") as directory:
            mounted = Mounted(self._double, bucket, Path(directory) / "bucket", "", spec["serviceAccount"])
            mounted.fill()
            for task, index, pool in _replicas(spec):
                container = Container(
                    pool["containerSpec"], self.environment_of, mounted, Path(directory) / f"{task}{index}"
                )
                container.start(self._environ(job, task, index), self._line(job, f"{task}-{index}"))
                job.containers.append(container)
            if job.told:  # while they were started
                job.containers[0].signal(signal.SIGTERM)
            status = job.containers[0].wait()
            for container in job.containers:
                container.kill()
            mounted.bring_back()
        with self._double.lock:
            if job.told:
                self._end(job, "CANCELLED", 1, "CustomJob was cancelled.")
            elif status == 0:
                self._end(job, "SUCCEEDED")
            else:
                text = f"The replica workerpool0-0 exited with a non-zero status of {status}. "
                self._end(job, "FAILED", 3, text + "To find out more about why your job exited please check the logs")

    def _line(self, job: _Job, task: str) -> Callable[[str], None]:
        return lambda line: self._say(job, task, {"jsonPayload": {"message": line, "attrs": {"tag": task}}})

    def _environ(self, job: _Job, task: str, index: int) -> dict[str, str]:
        """What Vertex AI tells a container (…/docs/training/code-requirements#environment-variables)."""
        spec = job.resource["jobSpec"]
        cluster: dict[str, list[str]] = {}
        for name, number, _ in _replicas(spec):
            cluster.setdefault(name, []).append(f"cmle-training-{name}-{number}:2222")
        about = {"cluster": cluster, "environment": "cloud", "task": {"type": task, "index": index}}
        base = spec["baseOutputDirectory"]["outputUriPrefix"]
        return {
            "CLUSTER_SPEC": json.dumps(about),
            "CLOUD_ML_PROJECT_ID": self._double.number,
            "AIP_MODEL_DIR": f"{base}model/",
            "AIP_CHECKPOINT_DIR": f"{base}checkpoints/",
            "MAWASU_GOOGLE_ENDPOINT": self._double.url,
            "GCE_METADATA_HOST": self._double.url.removeprefix("http://"),
        }


def _replicas(spec: dict[str, Any]) -> list[tuple[str, int, dict[str, Any]]]:
    return [
        (f"workerpool{position}", index, pool)
        for position, pool in enumerate(spec["workerPoolSpecs"])
        if pool
        for index in range(int(pool["replicaCount"]))
    ]


def vertex_of(double: Double) -> Vertex:
    return _OF[double]


def install(double: Double) -> None:
    vertex = _OF[double] = Vertex(double)
    for verb in ("create", "get", "list", "cancel"):
        double.route(API, f"{JOBS}.{verb}")(getattr(vertex, verb))
