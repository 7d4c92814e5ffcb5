"""A whole project on Google's double: pushes to GitHub fire its triggers, which run `mawasu build`."""

from __future__ import annotations

import fnmatch
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from mawasu.cli.build import infrastructure
from mawasu.cli.cloud import runner
from mawasu.executor.commit import read_feature
from mawasu.executor.records import CloudRecords
from mawasu.git.packs import borrow
from mawasu.git.repository import features_in, read_tree
from mawasu.google.client import Client
from mawasu.home import Home
from mawasu.ledger.fold import BuildState, State
from mawasu.plan import Plan
from mawasu.platforms.gcp.infra.converge import Given
from mawasu.platforms.gcp.infra.converge import converge as apply
from mawasu.platforms.gcp.infra.words import Wanted
from mawasu.platforms.gcp.jobclaim import Grace
from mawasu.platforms.gcp.jobs import Pace
from mawasu.platforms.gcp.keys import KeyRing, KeySets
from mawasu.platforms.gcp.names import published
from mawasu.platforms.gcp.platform import Tempo
from mawasu.runner import push, reconcile
from mawasu.runner.push import Done
from mawasu.words import Commit, Push, digest_of
from tests.google.conftest import surround
from tests.google.double import cloudbuild, infra, logging, run, servicemanagement, vertex
from tests.google.double.cloudbuild import cloudbuild_of
from tests.google.double.core import Double
from tests.google.double.run import run_of
from tests.google.double.storage import Storage
from tests.google.double.vertex import vertex_of

PROJECT, BUCKET, GITHUB = "acme-ml", "acme-ml-mawasu", "acme/resumes"
RUNNER = f"europe-west1-docker.pkg.dev/{PROJECT}/mawasu/mawasu@{digest_of(b'runner')}"
GCP = f"gcp: {{project: {PROJECT}, region: europe-west1, github: {GITHUB}}}\n"
QUICK = Tempo(
    jobs=Pace(
        poll=0.05, log=0.1, settle=0.3, start=30, ending=20, trouble=5, grace=Grace(look=0.02, abandoned=2, lost=0.5)
    ),
    images=0.05,
    services=0.05,
    gateway=0.02,
)


class Google:
    """An empty project, a repository on GitHub that is connected to it, and what people do with both."""

    def __init__(self, double: Double, client: Client, directory: Path, patch: pytest.MonkeyPatch) -> None:
        self.double, self.client, self.directory, self._patch = double, client, directory, patch
        self.repo = directory / "resumes"
        self.repo.mkdir()
        self.git("init", "-q", "-b", "main")
        self.records = CloudRecords(client, BUCKET, directory / "cache")
        self.heads: dict[str, str] = {}
        self.said: list[str] = []
        self._runs = self._looks = 0
        infra.infra(double).connect()

    # ------------------------------------------------------------------------------------------ people

    def git(self, *arguments: str) -> str:
        people = {f"GIT_{who}_{what}": "t@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.directory), "GIT_CONFIG_NOSYSTEM": "1", **people}
        done = subprocess.run(["git", *arguments], cwd=self.repo, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, files: Mapping[str, str], message: str = "change") -> str:
        for name, text in files.items():
            path = self.repo / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def apply(self) -> None:
        """`mawasu gcp apply` of the working tree's commit, with a runner that is there."""
        report = apply(self.client, self.features(), Given(RUNNER), pause=0.01)
        assert report.error is None, report.error

    def features(self) -> list[Wanted]:
        tree = read_tree(self.repo / ".git", self.git("rev-parse", "HEAD"))
        git_dir = str(self.repo / ".git")
        return [Wanted(file, read_feature(git_dir, tree, file).feature) for file in features_in(tree)]

    def key(self, *grants: str) -> str:
        """`mawasu keys create`."""
        sets = KeySets(self.client, published(BUCKET), self.records.bucket)
        return KeyRing(self.records.bucket, sets).create("website", grants)[1]

    def call(
        self, feature: str, environment: str, key: str = "", path: str = "/predict", x: float = 0.5
    ) -> httpx.Response:
        """Through the gateway, as any caller from anywhere."""
        door = run_of(self.double).doors[f"{self.parent}/services/{feature}--0gateway", ""]
        headers = {"x-api-key": key} if key else {}
        return httpx.post(f"{door.url}/{feature}/{environment}/predict", json={"x": 0.5}, headers=headers, timeout=30)

    # ------------------------------------------------------------------------------------------ GitHub, Cloud Build

    def push(self, branch: str = "main") -> list[Done]:
        """Push a branch's head: every trigger that it fires runs its step."""
        commit = self.git("rev-parse", branch)
        before, self.heads[branch] = self.heads.get(branch, ""), commit
        self.link()
        done: list[Done] = []
        for trigger in self.fired(branch, before, commit):
            done += self.run_trigger(trigger, branch, commit)
        return done

    def delete(self, branch: str) -> None:
        del self.heads[branch]
        self.link()

    def link(self) -> None:
        """What Cloud Build's connection sees of the repository."""
        infra.infra(self.double).branches = sorted(self.heads)

    def fired(self, branch: str, before: str, commit: str) -> list[dict[str, Any]]:
        """The triggers whose branches and files a push meets (cloud.google.com/build/docs/automating-builds)."""
        listing = ["diff", "--name-only", before, commit] if before else ["ls-tree", "-r", "--name-only", commit]
        changed = self.git(*listing)
        found = []
        for trigger in self.triggers():
            taken = trigger["repositoryEventConfig"]["push"]
            matches = re.search(taken["branch"], branch) is not None
            if matches == bool(taken.get("invertRegex")):
                continue
            patterns = [re.compile(fnmatch.translate(glob.replace("**", "*"))) for glob in trigger["includedFiles"]]
            if any(pattern.match(path) for pattern in patterns for path in changed.splitlines()):
                found.append(trigger)
        return found

    def run_trigger(self, trigger: dict[str, Any], branch: str, commit: str, id: str = "") -> list[Done]:
        """Its one step, in a shallow checkout, with the environment that the trigger gives it."""
        id = id or cloudbuild_of(self.double).begin(trigger, {"COMMIT_SHA": commit, "BRANCH_NAME": branch})
        (step,) = trigger["build"]["steps"]
        values = {"COMMIT_SHA": commit, "BRANCH_NAME": branch, "BUILD_ID": id}
        told = dict(_filled(one, values).partition("=")[::2] for one in step["env"])
        verb, *arguments = [_filled(one, values) for one in step["args"]]
        options = dict(zip(arguments[::2], arguments[1::2], strict=True))
        assert verb == "build"
        self._runs += 1
        checkout = self.directory / f"workspace-{self._runs}"
        self.git("clone", "-q", "--depth=1", "--branch", branch, f"file://{self.repo}", str(checkout))
        for name, value in told.items():
            self._patch.setenv(name, value)
        home = Home(self.directory / f"home-{self._runs}").create()
        repository = told["MAWASU_REPOSITORY"]
        borrow(home.repos / f"{repository}.git", checkout)
        infrastructure(self.client, home.repos / f"{repository}.git", options["--commit"], options["--branch"])
        made = runner(self.client, home, repository, QUICK)
        made.say = self.said.append
        pushed = Push(repository, options["--branch"], None, Commit(options["--commit"]), by=made.runs.me)
        done = push.build(made, pushed, options["--feature"])
        cloudbuild_of(self.double).end(id, "FAILURE" if push.worst(done) else "SUCCESS")
        return done

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command itself, in a checkout, with the environment that the newest trigger run had.

        Nothing can be written to its `$HOME`: that of a build's step is another user's.
        """
        checkout = self.directory / f"workspace-{self._runs}"
        home = {"HOME": "/dev/null/home", "BUILD_ID": ""}
        if arguments[0] not in ("build", "reconcile"):  # those make one of their own
            home["MAWASU_HOME"] = str(self.directory / "command-home")
        return subprocess.run(
            [sys.executable, "-c", "from mawasu.cli import main; main()", *arguments],
            cwd=checkout,
            env={**os.environ, **home},
            capture_output=True,
            text=True,
            timeout=120,
        )

    def reconcile(self, now: float | None = None) -> list[str]:
        """What Cloud Scheduler starts."""
        from mawasu.cli.cloud import cloud, origin
        from mawasu.git.repository import init_bare
        from mawasu.platforms.gcp.runs import Branches, CloudBuildRuns

        self._looks += 1
        home = Home(self.directory / f"reconcile-{self._looks}").create()
        init_bare(home.repos / f"{reconcile.REPOSITORY}.git")
        made = runner(self.client, home, reconcile.REPOSITORY, QUICK)
        at = cloud()
        retry = CloudBuildRuns(self.client, at, "").retry
        return list(reconcile.reconcile(made, Branches(self.client, at), retry, origin(self.client, home), now))

    # ------------------------------------------------------------------------------------------ what is recorded

    def state(self, feature: str) -> State:
        return self.records.ledger(feature).state()

    def build(self, feature: str) -> BuildState:
        """The newest."""
        state = self.state(feature)
        return state.builds[max(state.builds)]

    def plan(self, feature: str) -> Plan:
        digest = self.build(feature).plan
        assert digest is not None
        return msgspec.json.decode(self.records.store.read(digest), type=Plan)

    def triggers(self) -> list[dict[str, Any]]:
        return list(infra.infra(self.double).triggers.values())

    @property
    def parent(self) -> str:
        return f"projects/{PROJECT}/locations/europe-west1"


def _filled(text: str, values: Mapping[str, str]) -> str:
    """Substitutions of Cloud Build: `$NAME`; `$$` is a dollar."""
    return re.sub(r"\$(\$|[A-Z_]+)", lambda match: "$" if match[1] == "$" else values[match[1]], text)


@contextmanager
def google(directory: Path, patch: pytest.MonkeyPatch) -> Iterator[Google]:
    """At the end every request was one that Google takes, and no process is left."""
    with Double(PROJECT) as double:
        for service in (logging, infra, cloudbuild, vertex, run, servicemanagement):
            service.install(double)
        storage = Storage(double).start()
        surround(patch, double, directory)
        patch.setenv("TMPDIR", str(directory))
        builds = cloudbuild_of(double)
        builds.polls = 0
        vertex_of(double).environment_of = builds.environment_of
        run_of(double).environment_of = builds.environment_of
        try:
            with Client(first_wait=0.005) as client:
                yield Google(double, client, directory, patch)
        finally:
            vertex_of(double).close()
            run_of(double).close()
            storage.stop()
    assert double.violations == []
    assert double.unchecked == []


def eventually(condition: Any, timeout: float = 30.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it never became true"
        threading.Event().wait(0.02)
