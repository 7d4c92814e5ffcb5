"""Jobs as custom jobs of Vertex AI (design §6): found or made, followed to their end, their outputs into the store."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from mawasu.errors import CancelledError, PlatformError, StepError
from mawasu.google import vertex
from mawasu.google.client import Client
from mawasu.google.faults import GoogleError
from mawasu.google.storage import Bucket
from mawasu.google.vertex import DAY, ENDED, Job, Pool, Seen, State
from mawasu.platforms.gcp import joboutcome, machines
from mawasu.platforms.gcp.jobclaim import ATTEMPT, KEY, Claimed, Claims, Grace, NoQuotaError
from mawasu.platforms.gcp.jobfiles import Given, Told, ingest, stage, step_of, told
from mawasu.platforms.gcp.joblogs import JobLog
from mawasu.platforms.gcp.machines import Chosen
from mawasu.platforms.gcp.names import MANAGED, Cloud, account, beside, label, of_class
from mawasu.ports import Cancel, Log
from mawasu.spec.feature import GcpTraining
from mawasu.store.cloud import CloudStore
from mawasu.words import JobSpec, Outcome, Result, digest_of_value

# The container's command: `enter.py` from the mounted bucket, but only if it is the one that was put there.
BOOT: Final = """\
import hashlib, sys
path, sha256 = sys.argv[1:3]
with open(path, "rb") as file:
    code = file.read()
if hashlib.sha256(code).hexdigest() != sha256:
    sys.exit(path + " is not what mawasu wrote")
sys.argv = [path, *sys.argv[3:]]
exec(compile(code, path, "exec"), {"__name__": "__main__"})
"""

SLACK: Final = 1800.0
"""Seconds that Vertex AI gives beyond the command's time-out, which `enter.py` keeps: for files to come and go."""

_STRATEGIES: Final[dict[str, vertex.Strategy]] = {"standard": "STANDARD", "spot": "SPOT", "flex-start": "FLEX_START"}
_NAME: Final = re.compile(r"([^/]+)/(.+)/([0-9a-f]{7,64}|dirty)/(.+)")


class Pace(msgspec.Struct, frozen=True):
    """Seconds. Cloud Logging answers 60 reads a minute for a whole project, so the log is read less often."""

    poll: float = 5.0
    log: float = 10.0
    settle: float = 30.0  # after the end: how long to wait for the last lines
    start: float = 1800.0  # until a job that has no machine is given up; a flex-start one may wait a day
    ending: float = 900.0  # a cancelled job may take to be gone
    trouble: float = 600.0  # Vertex AI may be out of reach
    grace: Grace = Grace()


class GcpJobs:
    """Implements `ports.Jobs`. The same key is one job, whoever asks for it, and from whatever process.

    `scratch` is a directory for files on their way. Unlike on one machine the command has a network always, and the
    memory of its whole machine.
    """

    def __init__(
        self,
        cloud: Cloud,
        training: GcpTraining,
        client: Client,
        bucket: Callable[[str], Bucket],
        store: CloudStore,
        scratch: Path,
        pace: Pace = Pace(),  # noqa: B008 - a frozen value
    ) -> None:
        self._cloud = cloud
        self._training = training
        self._client = client
        self._bucket = bucket
        self._store = store
        self._scratch = scratch
        self._pace = pace

    def run(self, job: JobSpec, log: Log, cancel: Cancel) -> Outcome:
        """Run to its end, or to the end of the run that is under way. Raises only for what is not the user's code's
        fault: StepError for files or machines that cannot be had as asked for, PlatformError.
        """
        chosen = machines.choose(job.resources, self._training.machine, self._training.tpu_topology)
        mark = (job.key or digest_of_value(msgspec.to_builtins(job))).removeprefix("sha256:")[:40]
        if job.preview:  # of another bucket and account: where both classes want one key at once, each runs it
            mark = f"{mark[:38]}-p"
        below = f"jobs/{_slug(step_of(job))}-{mark[:32]}"
        claims = Claims(self._cloud, self._client, self._of(job), below, mark, self._pace.grace, cancel)

        def stage_all() -> Callable[[int], Job]:
            with self._room() as scratch:
                given = stage(job, self._of(job), self._store, below, scratch)
            return lambda attempt: self.asked(job, chosen, given, below, mark, attempt)

        while True:
            try:
                claimed = claims.claim(stage_all)
            except CancelledError:
                return Outcome(Result.CANCELLED, message=f"{step_of(job)} was given up")
            except NoQuotaError as error:
                fault = joboutcome.no_machine(job, self._cloud, chosen, error.message)
                return joboutcome.outcome(fault, 0.0, {"machine": joboutcome.shown(chosen)})
            follower = _Follower(self._cloud, self._client, claims, claimed, self._pace, log, cancel)
            outcome = self._follow(job, chosen, claims, claimed, follower)
            if outcome is not None:
                return outcome
            log.write("another build that waited for this job gave it up: it is started again")

    def _of(self, job: JobSpec) -> Bucket:
        """The bucket that the job's account reaches, and no other account of users' code."""
        return self._bucket(beside(self._cloud.bucket, of_class("jobs", job.preview)))

    def asked(self, job: JobSpec, chosen: Chosen, given: Given, below: str, mark: str, attempt: int) -> Job:
        """The custom job of an attempt. Raises StepError for what Vertex AI would refuse."""
        bucket = self._of(job).name
        mounted = f"/gcs/{bucket}"
        files = (f"{mounted}/{given.enter}", given.enter_sha256)
        arguments = (f"{mounted}/{given.specification}", given.specification_sha256, f"{mounted}/{below}/{attempt}/out")
        flexible = self._training.scheduling == "flex-start"
        network = self._training.network
        asked = Job(
            name=job.name,
            image=job.image.ref,
            command=("python3", "-c", BOOT, *files, *arguments),
            account=account(self._cloud, of_class("training", job.preview)),
            output=f"gs://{bucket}/{below}/{attempt}/",
            pools=pools(job, self._training, chosen),
            labels={**labels(job.name), KEY: mark, ATTEMPT: str(attempt)},
            disk=max(vertex.SMALLEST_DISK, -(-self._training.disk // 10**9)),
            timeout=min(job.resources.timeout + SLACK, vertex.LONGEST if flexible else float("inf")),
            strategy=_STRATEGIES[self._training.scheduling],
            wait=DAY if flexible else 0.0,
            network=vertex.network(self._cloud.number, network) if network else "",
        )
        if faults := vertex.faults(asked):
            raise StepError(f"{step_of(job)}: {'; '.join(faults)}", "change gcp.training in mawasu.yaml")
        return asked

    def _follow(
        self, job: JobSpec, chosen: Chosen, claims: Claims, claimed: Claimed, follower: _Follower
    ) -> Outcome | None:
        """The outcome of a job that is there; None if another build cancelled it, so that there is to be a new one."""
        limit = DAY + self._pace.start if self._training.scheduling == "flex-start" else self._pace.start
        follower.log.write(follower.told_at_first(joboutcome.shown(chosen)))
        seen, stopped = follower.follow(limit)
        out = claims.out(claimed.attempt)
        said = told(self._of(job), out) if seen.started else None
        facts = joboutcome.facts_of(job, self._cloud, chosen, seen, said, claimed.found)
        seconds = said.seconds if said else facts["seconds_running"]
        match stopped:
            case "cancelled":
                return Outcome(Result.CANCELLED, {}, seconds, f"{step_of(job)} was given up", facts=facts)
            case "never started":
                why = joboutcome.never_started(round(limit / 60, 1))
                return joboutcome.outcome(joboutcome.no_machine(job, self._cloud, chosen, why), seconds, facts)
        if seen.state is State.CANCELLED and claims.was_stopped(seen):
            return None
        if fault := joboutcome.fault_of(job, self._cloud, chosen, seen, said, follower.last):
            return joboutcome.outcome(fault, seconds, facts)
        assert said is not None, "a job without an outcome did not go well"
        return self._collected(job, said, out, seconds, facts)

    def _collected(self, job: JobSpec, said: Told, out: str, seconds: float, facts: dict[str, object]) -> Outcome:
        try:
            with self._room() as scratch:
                outputs = ingest(job, said, self._of(job), self._store, out, scratch)
        except StepError as fault:
            return Outcome(Result.FAILED, {}, seconds, fault.message, fault.hint, facts)
        return Outcome(Result.OK, outputs, seconds, facts=facts)

    def _room(self) -> _Room:
        self._scratch.mkdir(parents=True, exist_ok=True)
        return _Room(self._scratch)


class _Room:
    """A directory that goes when it is left."""

    def __init__(self, parent: Path) -> None:
        self._made = tempfile.TemporaryDirectory(prefix="job-", dir=parent, ignore_cleanup_errors=True)

    def __enter__(self) -> Path:
        return Path(self._made.name)

    def __exit__(self, *_: object) -> None:
        self._made.cleanup()


class _Follower:
    """Looks at one job until it is over, writes what it prints, and ends it when it is given up."""

    def __init__(
        self, cloud: Cloud, client: Client, claims: Claims, claimed: Claimed, pace: Pace, log: Log, cancel: Cancel
    ) -> None:
        self.log = log
        self._cloud = cloud
        self._client = client
        self._claims = claims
        self._claimed = claimed
        self._pace = pace
        self._cancel = cancel
        self._lines = JobLog(client, cloud.project, claimed.seen.id, log)

    @property
    def last(self) -> str:
        """The last line that the command printed."""
        return self._lines.last

    def told_at_first(self, machine: str) -> str:
        seen = self._claimed.seen
        how = "found the job again" if self._claimed.found else f"asked for {machine} in {self._cloud.region}"
        return f"[vertex] {how}: {vertex.console(self._cloud.project, seen.name)}"

    def follow(self, limit: float) -> tuple[Seen, str]:
        """The job at its end, and why it was stopped: "cancelled", "never started", or "" if it was not."""
        began = read = time.monotonic()
        seen, stopped, stopped_at = self._claimed.seen, "", 0.0
        while seen.state not in ENDED:
            now = time.monotonic()
            if not stopped and seen.state is not State.ENDING:
                late = seen.state is State.WAITING and now - began > limit
                stopped = "cancelled" if self._cancel.is_set() else "never started" if late else ""
                if stopped:
                    stopped_at = now
                    self._claims.stop(seen)
            if stopped and now - stopped_at > self._pace.ending:
                where = vertex.console(self._cloud.project, seen.name)
                raise PlatformError(f"{seen.name} was cancelled and does not end", f"look at {where}")
            if seen.started and now - read >= self._pace.log:
                self._lines.read()
                read = now
            if stopped:
                time.sleep(self._pace.poll)
            else:
                self._cancel.wait(self._pace.poll)
            seen = self._look(seen)
        self._drain(seen)
        if stopped == "never started" and seen.state is State.SUCCEEDED:
            stopped = ""  # it did, at the last moment
        return seen, stopped

    def _look(self, last: Seen) -> Seen:
        """The job as it is now. A job of hours is not given up because Google cannot be reached for some minutes."""
        since = time.monotonic()
        while True:
            try:
                return vertex.seen(self._client.send(vertex.get(last.name)))
            except PlatformError as error:
                passing = not isinstance(error, GoogleError) or error.status == 429 or error.status >= 500
                if not passing or time.monotonic() - since > self._pace.trouble:
                    raise
                time.sleep(self._pace.poll)

    def _drain(self, seen: Seen) -> None:
        """The rest of the log: lines come some seconds after they were printed."""
        quiet = time.monotonic()
        while True:
            if self._lines.read():
                quiet = time.monotonic()
            elif self._lines.ended or seen.started is None or time.monotonic() - quiet > self._pace.settle:
                return
            time.sleep(self._pace.poll)


# ---------------------------------------------------------------------------------------------------- pure


def pools(job: JobSpec, training: GcpTraining, chosen: Chosen) -> tuple[Pool | None, ...]:
    """The worker pools by position: chief, workers, parameter servers, evaluators."""

    def pool(replicas: int, what: Chosen = chosen) -> Pool | None:
        if replicas <= 0:
            return None
        return Pool(what.machine, replicas, what.accelerator, what.accelerators, what.topology)

    plain = machines.without_accelerator(job.resources) if chosen.accelerator or chosen.topology else chosen
    return (
        pool(1),
        pool(job.resources.workers - 1),
        pool(training.parameter_servers, plain),
        pool(training.evaluators),
    )


def labels(name: str) -> dict[str, str]:
    """Whose job it is, from its name `feature/branch/commit/step` (only the branch and the step may hold slashes)."""
    match = _NAME.fullmatch(name)
    if match is None:
        return dict(MANAGED)
    words = dict(zip(("feature", "branch", "commit", "step"), match.groups(), strict=True))
    return {**MANAGED, **{f"mawasu-{key}": label(value) for key, value in words.items()}}


def _slug(step: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", step.lower()).strip("-") or "job"
