"""What the tests of jobs on Google Cloud share: Google's double with jobs that really run, and one job to vary."""

from __future__ import annotations

import base64
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mawasu.google.call import Call
from mawasu.google.client import Client
from mawasu.google.storage import Bucket
from mawasu.platforms.gcp.jobclaim import Grace
from mawasu.platforms.gcp.jobs import GcpJobs, Pace
from mawasu.platforms.gcp.names import Cloud, beside
from mawasu.ports import Cancel
from mawasu.spec.feature import GcpTraining
from mawasu.store.cloud import CloudStore
from mawasu.words import (
    Digest,
    File,
    Image,
    JobSpec,
    Outcome,
    Output,
    Resources,
    Source,
    Tree,
    digest_of,
)
from tests.google.conftest import surround
from tests.google.double import logging, vertex
from tests.google.double.core import Double, Request, refuse
from tests.google.double.logging import Logs, logs_of
from tests.google.double.storage import Storage
from tests.google.double.vertex import Vertex, vertex_of

CLOUD = Cloud(project="acme", number="123456789012", region="europe-west1", bucket="acme-mawasu")
AIPLATFORM = "*aiplatform.googleapis.com"
MODEL = Output("MAWASU_MODEL", also=("AIP_MODEL_DIR",))
KEY = digest_of(b"the step")
IMAGE = Image(digest_of(b"image"), "europe-west1-docker.pkg.dev/acme/mawasu/callback@" + digest_of(b"layers"))
GIB = 2**30

QUICK = Pace(
    poll=0.02, log=0.05, settle=0.3, start=30, ending=20, trouble=5, grace=Grace(look=0.02, abandoned=2, lost=0.5)
)


class Lines:
    """A log in memory."""

    path: Path | None = None

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: str) -> None:
        self.lines.append(line)

    @property
    def printed(self) -> list[str]:
        """Without what Vertex AI says itself."""
        return [line for line in self.lines if not line.startswith("[vertex]")]


class Bench:
    """Runs one command as a job on the double. `files` are committed to a repository of their own."""

    def __init__(self, double: Double, client: Client, directory: Path) -> None:
        self.double = double
        self.client = client
        self.vertex: Vertex = vertex_of(double)
        self.logs: Logs = logs_of(double)
        self.bucket = Bucket(client, CLOUD.bucket, chunk=256 * 2**10)
        self.store = CloudStore(self.bucket)
        self.directory = directory
        self.files: dict[str, str] = {}
        self.executable: set[str] = set()
        self.links: set[str] = set()  # files whose text is where they lead
        self.secrets: dict[str, bytes] = {}
        self.training = GcpTraining()
        self.pace = QUICK
        self.log = Lines()
        self.cancel = Cancel()

    @property
    def given(self) -> Bucket:
        """Where jobs of stable environments find and leave their files."""
        return self._of(beside(CLOUD.bucket, "jobs"))

    def _of(self, name: str) -> Bucket:
        return Bucket(self.client, name, chunk=256 * 2**10)

    def jobs(self, client: Client | None = None) -> GcpJobs:
        used = client or self.client
        bucket = Bucket(used, CLOUD.bucket, chunk=256 * 2**10)
        scratch = self.directory / "scratch"
        made = lambda name: Bucket(used, name, chunk=256 * 2**10)  # noqa: E731
        return GcpJobs(CLOUD, self.training, used, made, CloudStore(bucket), scratch, self.pace)

    def spec(
        self,
        command: str,
        *,
        timeout: float = 60,
        root: str = "",
        resources: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> JobSpec:
        given = {
            "name": "callback/main/1a2b3c4d5e/train",
            "image": IMAGE,
            "outputs": (MODEL,),
            "key": KEY,
            "resources": Resources(**{"cpu": 1, "memory": GIB, "timeout": timeout, **(resources or {})}),
        }
        return JobSpec(command=command, source=self.source(root), **{**given, **more})

    def run(self, command: str, **more: Any) -> Outcome:
        return self.jobs().run(self.spec(command, **more), self.log, self.cancel)

    def python(self, code: str, **more: Any) -> Outcome:
        self.files["code.py"] = code
        return self.run("python code.py", **more)

    def start(self, command: str, **more: Any) -> Running:
        return Running(self.jobs(), self.spec(command, **more))

    def source(self, root: str = "") -> Source:
        """The files as a commit holds them: git's objects, and which path is which."""
        repo = self.directory / "repo.git"
        if not repo.exists():
            subprocess.run(["git", "init", "-q", "--bare", str(repo)], check=True)
        found = {}
        for path, text in self.files.items():
            wrote = subprocess.run(
                ["git", "-C", str(repo), "hash-object", "-w", "--stdin"],
                input=text.encode(),
                capture_output=True,
                check=True,
            )
            link = path in self.links
            mode = "120000" if link else "100755" if path in self.executable else "100644"
            found[path] = File(mode, wrote.stdout.decode().strip())
        return Source(str(repo), root, Tree(found))

    def tree(self, files: Mapping[str, str], executable: str = "", empty: str = "") -> Digest:
        """A stored directory."""
        root = self.directory / f"tree-{digest_of(repr(files).encode())[7:15]}"
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        if executable:
            (root / executable).chmod(0o755)
        if empty:
            (root / empty).mkdir(parents=True)
        return self.store.put_tree(root)

    def laid(self, digest: Digest) -> Path:
        """A stored directory as files again."""
        path = self.directory / f"laid-{digest[7:15]}"
        self.store.write_tree(digest, path)
        return path

    def creations(self) -> int:
        return len(self.double.seen("customJobs.create"))

    def labels(self) -> dict[str, str]:
        """Of the job that was asked for last."""
        return dict(self.double.seen("customJobs.create")[-1].body["labels"])

    def access(self, request: Request) -> dict[str, Any]:
        """Secret Manager's one method that jobs need."""
        if not request.caller.startswith("mawasu-"):
            raise refuse(403, "no")
        name = request.params["name"]
        if name not in self.secrets:
            raise refuse(404, f"Secret [{name}] not found or has no versions.")
        return {"name": name, "payload": {"data": base64.b64encode(self.secrets[name]).decode()}}


class Running:
    """A job that somebody follows in a thread of its own."""

    def __init__(self, jobs: GcpJobs, spec: JobSpec) -> None:
        self.log = Lines()
        self.cancel = Cancel()
        self._outcome: Outcome | BaseException | None = None
        self._jobs = jobs
        self._spec = spec
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def outcome(self) -> Outcome:
        self._thread.join(60)
        assert not self._thread.is_alive()
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        assert self._outcome is not None
        return self._outcome

    def _run(self) -> None:
        try:
            self._outcome = self._jobs.run(self._spec, self.log, self.cancel)
        except BaseException as error:  # noqa: BLE001 - it is raised where the outcome is asked for
            self._outcome = error


def eventually(condition: Callable[[], bool], timeout: float = 20.0) -> None:
    """Poll until the condition holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.01)


@contextmanager
def a_bench(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """With a Google of its own. At the end every request was right, and no process is left."""
    with Double() as double:
        logging.install(double)
        vertex.install(double)
        storage = Storage(double).start()
        surround(monkeypatch, double, directory)
        client = Client(first_wait=0.005)
        try:
            for name in (CLOUD.bucket, beside(CLOUD.bucket, "jobs"), beside(CLOUD.bucket, "jobs-preview")):
                made = {"name": name}
                client.send(Call("POST", "storage.googleapis.com", "/storage/v1/b", {"project": "acme"}, made))
            bench = Bench(double, client, directory)
            double.route("secretmanager.googleapis.com", "secretmanager.projects.secrets.versions.access")(bench.access)
            yield bench
        finally:
            vertex_of(double).close()
            client.http.close()
            storage.stop()
    assert double.violations == []
    assert double.unchecked == []
