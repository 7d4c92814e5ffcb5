"""Cloud Build's builds and the images that they push: contexts unpacked, Dockerfiles read, environments really made.

There is no container engine here. Of mawasu's own Dockerfiles every command that makes the environment is run as it
stands (uv, from the lock), below a directory in the place of `/`; of a user's, FROM and every COPY are checked. What is
pushed gets a digest in Artifact Registry, and `images` says which Python environment stands for it, so that whoever
runs containers (jobs, services) can run its commands.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import tarfile
import weakref
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from types import MethodType
from typing import Any, cast
from urllib.parse import quote

from tests.google.double.core import Double, Request, refuse
from tests.google.double.dockerfiles import FailedError, environment
from tests.google.double.logging import logs_of
from tests.google.double.storage import Storage

HOST = "cloudbuild.googleapis.com"
REGISTRY = "artifactregistry.googleapis.com"
ENDED = frozenset({"SUCCESS", "FAILURE", "INTERNAL_ERROR", "TIMEOUT", "CANCELLED", "EXPIRED"})

Json = dict[str, Any]

_NO_LOGS = (
    "if 'build.service_account' is specified, the build must either (a) specify 'build.logs_bucket', (b) use the"
    " REGIONAL_USER_OWNED_BUCKET build.options.default_logs_bucket_behavior option, or (c) use either"
    " CLOUD_LOGGING_ONLY / NONE logging options"
)


@dataclass
class Fate:
    """What happens to a build, whatever it would have given: `status` at its end with these last lines; or it hangs."""

    status: str = ""
    lines: tuple[str, ...] = ()
    failure: str = ""  # failureInfo.type
    hangs: bool = False


@dataclass
class _Running:
    build: Json
    polls: int
    fate: Fate
    data: bytes | None = None


@dataclass
class Images:
    """What Artifact Registry has: `tags` and `versions` by full resource name."""

    tags: dict[str, str] = field(default_factory=dict)
    versions: dict[str, Json] = field(default_factory=dict)


class CloudBuild:
    """The builds of a double. `images` holds the environment of every pushed `registry/package@sha256:…`; `fates` are
    for the builds to come, in their order; `polls` is how often a build is looked at before it may end.
    """

    def __init__(self, double: Double) -> None:
        self.images: dict[str, Path] = {}
        self.registry = Images()
        self.fates: deque[Fate] = deque()
        self.polls = 2
        self.retried: list[str] = []
        self.unlisted = 0  # listings that do not show a new build yet
        self._double = double
        self._running: dict[str, _Running] = {}
        self._hidden: dict[str, int] = {}

    @property
    def builds(self) -> list[Json]:
        """All builds, the oldest first."""
        return [one.build for one in self._running.values()]

    def collect(self, ref: str) -> None:
        """As a clean-up policy: the image goes, and the tag that is left names nothing."""
        self.images.pop(ref, None)
        digest = ref.rpartition("@")[2]
        self.registry.versions = {n: v for n, v in self.registry.versions.items() if not n.endswith(digest)}

    def end(self, id: str, status: str) -> None:
        """Somebody ends a build: a person in the console, or Google's side."""
        with self._double.lock:
            self._end(self._running[id], status)

    def environment_of(self, ref: str) -> Path:
        return self.images[ref]

    # ------------------------------------------------------------------------------------------------ methods

    def create(self, request: Request) -> Json:
        parent = request.params["parent"]
        id = f"{hashlib.sha256(str(self._double.number_of()).encode()).hexdigest()[:8]}-0000-4000-8000-000000000000"
        region = parent.rpartition("/")[2]
        url = f"https://console.cloud.google.com/cloud-build/builds;region={region}/{id}?project={self._double.number}"
        build = {
            "timeout": "3600s",
            **request.body,
            "id": id,
            "name": f"{parent}/builds/{id}",
            "projectId": self._double.project,
            "status": "QUEUED",
            "createTime": self._double.now(),
            "logUrl": url,
        }
        kept = build.get("logsBucket") or build.get("options", {}).get("logging") in ("CLOUD_LOGGING_ONLY", "NONE")
        if build.get("serviceAccount") and not kept:
            raise refuse(400, _NO_LOGS)
        fate = self.fates.popleft() if self.fates else Fate()
        self._running[id] = _Running(build, self.polls, fate, self._source(build))
        self._hidden[id] = self.unlisted
        kind = "type.googleapis.com/google.devtools.cloudbuild.v1.BuildOperationMetadata"
        name = base64.b64encode(id.encode()).decode()
        return {"name": f"{parent}/operations/{name}", "metadata": {"@type": kind, "build": dict(build)}}

    def begin(self, trigger: Json, substitutions: dict[str, str]) -> str:
        """A trigger was fired: its build, which goes on until `end`. Whoever calls this does its step."""
        parent = f"projects/{self._double.project}/locations/{self._double.region}"
        id = f"{hashlib.sha256(str(self._double.number_of()).encode()).hexdigest()[:8]}-0000-4000-8000-111111111111"
        build = {
            **trigger["build"],
            "id": id,
            "name": f"{parent}/builds/{id}",
            "projectId": self._double.project,
            "status": "WORKING",
            "createTime": self._double.now(),
            "substitutions": dict(substitutions),
        }
        self._running[id] = _Running(build, 0, Fate(hangs=True), None)
        self._hidden[id] = 0
        return id

    def retry(self, request: Request) -> Json:
        """Asked for; who does it is the test's to say."""
        running = self._found(request)
        if running.build["status"] not in ENDED or running.build["status"] == "SUCCESS":
            raise refuse(400, "the build cannot be retried", code="FAILED_PRECONDITION")
        self.retried.append(running.build["id"])
        return {"name": f"operations/{len(self.retried)}", "metadata": {"build": dict(running.build)}}

    def get(self, request: Request) -> Json:
        running = self._found(request)
        self._go_on(running)
        return dict(running.build)

    def listed(self, request: Request) -> Json:
        wanted = _tag_of(request.query.get("filter", ""))
        shown = [
            one.build
            for id, one in reversed(self._running.items())
            if self._hidden[id] <= 0 and (not wanted or wanted in one.build.get("tags", []))
        ]
        self._hidden = {id: left - 1 for id, left in self._hidden.items()}
        return {"builds": [dict(build) for build in shown if build["name"].startswith(request.params["parent"] + "/")]}

    def cancel(self, request: Request) -> Json:
        running = self._found(request)
        if running.build["status"] in ENDED:
            raise refuse(400, "cannot cancel a build that has ended", code="FAILED_PRECONDITION")
        self._end(running, "CANCELLED")
        return dict(running.build)

    def tag(self, request: Request) -> Json:
        name = request.params["name"]
        if name not in self.registry.tags:
            raise refuse(404, "Requested entity was not found.")
        return {"name": name, "version": self.registry.tags[name]}

    def version(self, request: Request) -> Json:
        name = request.params["name"]
        if name not in self.registry.versions:
            raise refuse(404, "Requested entity was not found.")
        return self.registry.versions[name]

    # ------------------------------------------------------------------------------------------------ going on

    def _found(self, request: Request) -> _Running:
        found = self._running.get(request.params["name"].rpartition("/")[2])
        if found is None or found.build["name"] != request.params["name"]:
            raise refuse(404, "Requested entity was not found.")
        return found

    def _go_on(self, running: _Running) -> None:
        """Builds go on while they are looked at, and end when their work is done."""
        if running.build["status"] in ENDED:
            return
        if running.build["status"] == "QUEUED":
            running.build |= {"status": "WORKING", "startTime": self._double.now()}
        elif running.polls > 0 or running.fate.hangs:
            running.polls -= 1
        else:
            status, more = self._work(running)
            running.build |= more
            self._end(running, status)

    def _end(self, running: _Running, status: str) -> None:
        running.build |= {"status": status, "finishTime": self._double.now()}

    def _source(self, build: Json) -> bytes | None:
        """The context, as it is when the build is created."""
        source = build.get("source", {}).get("storageSource")
        if source is None or self._double.storage is None:
            return None
        storage = cast(Storage, cast(MethodType, self._double.storage).__self__)
        connection = storage._connect()
        connection.request("GET", f"/storage/v1/b/{source['bucket']}/o/{quote(source['object'], safe='')}?alt=media")
        answer = connection.getresponse()
        data: bytes = answer.read()
        connection.close()
        return data if answer.status == 200 else None

    def _work(self, running: _Running) -> tuple[str, Json]:
        """Do it all: how it ended, and what is told of that."""
        build, fate = running.build, running.fate
        if fate.status:
            self._print(build, *fate.lines)
            failure = {"failureInfo": {"type": fate.failure, "detail": fate.failure.lower()}} if fate.failure else {}
            return fate.status, failure
        if build.get("source") and running.data is None:
            return "FAILURE", {"failureInfo": {"type": "FETCH_SOURCE_FAILED", "detail": "no such object"}}
        try:
            files = _unpacked(running.data) if running.data is not None else {}
            pushed = [self._step(build, index, files) for index in range(len(build["steps"]))]
        except FailedError as failed:
            number, image = len(build["steps"]) - 1, build["steps"][-1]["name"]
            self._print(build, *(f'Step #{number} - "image": {line}' for line in failed.lines), "ERROR")
            self._print(build, f'ERROR: build step {number} "{image}" failed: step exited with non-zero status: 1')
            return "FAILURE", {"failureInfo": {"type": "USER_BUILD_STEP", "detail": "a step failed"}}
        for tags, made in filter(None, pushed):
            self._push(build, tags, made)
        self._print(build, "PUSH", "DONE")
        return "SUCCESS", {"results": {"buildStepImages": ["" for _ in build["steps"]]}}

    def _step(self, build: Json, index: int, files: dict[str, bytes]) -> tuple[list[str], Path] | None:
        """The tags that a step pushes, and the environment of what it made; None for a step that makes no image."""
        options: dict[str, list[str]] = {}
        for argument in build["steps"][index].get("args", []):
            name, _, value = argument.replace("$$", "$").partition("=")
            options.setdefault(name, []).append(value)
        tags = options.get("--tag", []) + options.get("--destination", [])
        if not tags:
            return None
        dockerfile = (options.get("--file") or options["--dockerfile"])[0].removeprefix("/workspace/")
        self._print(build, f'Step #{index} - "image": #1 [internal] load build definition from {dockerfile}')
        return tags, environment(files, dockerfile, lambda line: self._print(build, f'Step #{index} - "image": {line}'))

    def _push(self, build: Json, tags: list[str], made: Path) -> None:
        """Another digest each time, as images that are built again have."""
        digest = f"sha256:{hashlib.sha256(build['id'].encode()).hexdigest()}"
        with self._double.lock:
            for ref in tags:
                place, _, tag = ref.rpartition(":")
                host, project, repository, package = place.split("/")
                region = host.removesuffix("-docker.pkg.dev")
                parent = f"projects/{project}/locations/{region}/repositories/{repository}/packages/{package}"
                version = f"{parent}/versions/{digest}"
                self.registry.versions[version] = {"name": version, "createTime": self._double.now()}
                self.registry.tags[f"{parent}/tags/{tag}"] = version
                self.images[f"{place}@{digest}"] = made

    def _print(self, build: Json, *lines: str) -> None:
        if build.get("options", {}).get("logging") == "NONE":
            return
        for line in lines:
            labels = {"build_id": build["id"], "build_trigger_id": ""}
            logs_of(self._double).write("build", labels, {"textPayload": line}, log="cloudbuild")


def _tag_of(filter: str) -> str:
    """The one kind of filter that mawasu asks for: by a tag."""
    if not filter:
        return ""
    if not (filter.startswith('tags="') and filter.endswith('"') and filter.count('"') == 2):
        raise refuse(400, f"invalid list filter syntax: {filter}")
    return filter[len('tags="') : -1]


def _unpacked(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data))) as tar:
        found = {one.name: tar.extractfile(one) for one in tar.getmembers() if one.isfile()}
        return {name: file.read() for name, file in found.items() if file is not None}


_OF: weakref.WeakKeyDictionary[Double, CloudBuild] = weakref.WeakKeyDictionary()


def cloudbuild_of(double: Double) -> CloudBuild:
    return _OF[double]


def install(double: Double) -> None:
    builds = _OF[double] = CloudBuild(double)
    at = "cloudbuild.projects.locations.builds"
    for name, handler in {
        "create": builds.create,
        "get": builds.get,
        "list": builds.listed,
        "cancel": builds.cancel,
        "retry": builds.retry,
    }.items():
        double.route(HOST, f"{at}.{name}")(handler)
    packages = "artifactregistry.projects.locations.repositories.packages"
    double.route(REGISTRY, f"{packages}.tags.get")(builds.tag)
    double.route(REGISTRY, f"{packages}.versions.get")(builds.version)
