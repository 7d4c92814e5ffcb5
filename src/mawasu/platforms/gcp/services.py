"""Services on Google Cloud: one Cloud Run service for each environment of a feature, one revision for each release.

A revision is never changed. Its name comes from all that it is made of, so a release that comes back (a revert, a build
that was cut off) finds its revision there, and only traffic moves. A new one gets none: it has a tag, with which it has
a URL of its own, where examples are asked. An old one stays, scaled to zero, which costs nothing.

A preview is a service too, not a tag of a stable one: what belongs to it (its callers, traffic, logs) is its own, and
deleting the service removes it whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec

from mawasu.errors import PlatformError
from mawasu.google import run
from mawasu.google.client import Client
from mawasu.google.run import Json, Share
from mawasu.google.run_limits import traffic_faults
from mawasu.google.storage import Bucket
from mawasu.platforms.gcp import names
from mawasu.platforms.gcp.cloudrun import CloudRun
from mawasu.platforms.gcp.containers import LEAST, SERVER, files_in, files_of, template
from mawasu.platforms.gcp.names import Cloud
from mawasu.platforms.gcp.readiness import wait_until_it_answers, wait_until_started
from mawasu.platforms.gcp.revision_files import CopyingStore, lay_out, remove_files, worker_file
from mawasu.ports import Cancel, Log
from mawasu.spec.feature import GcpApi
from mawasu.words import Digest, Endpoint, Health, RevisionStatus, ServiceSpec, digest_of, digest_of_value

PROMOTED = "mawasu-promoted"
"""Annotation of a service: the revision that the last switch gave the traffic to; none before the first switch."""

ATTEMPTS = 20  # revisions of one release that failed
SETTLING = 120.0  # seconds for a new service to get its address, and for traffic to move
PATIENCE = 20.0  # seconds within which Cloud Logging shows what was printed
LAST_LINES = 40


class GcpServices:
    """`ports.Services`. Everything it knows is Google's to remember. Raises GoogleError, PlatformError, StepError.

    `redis` is the URL of the cache ("" for none). `look` is how many seconds pass between two looks.
    """

    def __init__(
        self,
        cloud: Cloud,
        settings: GcpApi,
        client: Client,
        bucket: Callable[[str], Bucket],
        store: CopyingStore,
        redis: str = "",
        look: float = 1.0,
    ) -> None:
        self._cloud = cloud
        self._settings = settings
        self._client = client
        self._bucket = bucket
        self._store = store
        self._redis = redis
        self._run = CloudRun(cloud, client, look)

    # ------------------------------------------------------------------------------------------------ deploying

    def name(self, spec: ServiceSpec, build: int) -> str:
        """From all that the revision is made of. One that failed is not tried again: its successor has another name,
        since what was missing (a secret, a permission) may be there by now.
        """
        service = names.service(spec.feature, spec.environment)
        made_of = self._made_of(spec)
        for attempt in range(ATTEMPTS):
            name = names.revision(service, digest_of_value([made_of, attempt]), self._cloud.runner)
            found = self._run.revision(name)
            if found is None or run.ready(found).state != "FAILED":
                return name
        what = f"{service}: {ATTEMPTS} revisions of this release have failed"
        raise PlatformError(what, f"`gcloud run revisions list --service {service}` says why")

    def start(self, spec: ServiceSpec, log: Log) -> Endpoint:
        """The revision, without traffic, and where it answers. Waits for its address, not until it is ready.

        The first revision of a service has the traffic at once, for it must go somewhere; but the service is private,
        and no gateway leads to it before the switch.
        """
        service = names.service(spec.feature, spec.environment)
        made = template(spec, self._cloud, self._settings, self._redis)
        there = self._run.revision(spec.revision) is not None
        if not there:
            lay_out(
                spec,
                self._bucket(files_in(self._cloud, preview=spec.preview)),
                self._store,
                files_of(service, spec.revision),
            )
        log.write(f"{spec.revision} is there already" if there else f"creating {spec.revision}")

        def add(found: Json) -> Json:
            new = {} if self._run.revision(spec.revision) else {"template": run.template_body(made)}
            return {**new, **_trying(found, spec.revision)}

        alone = _checked((Share(spec.revision, 100, names.tag(spec.revision)),))
        first = run.service(names.labels(spec.feature, spec.environment), made, alone)
        self._run.change(service, add, first)
        self._run.allow(service, lambda now: {*now, self._member("build")})
        return self._endpoint(service, spec.revision)

    def wait_ready(self, revision: str, timeout: float, cancel: Cancel) -> None:
        """Cloud Run says that it started; then it says itself that it is ready, asked by mawasu-build at its URL."""

        def printed() -> list[str]:
            return self._printed(revision, LAST_LINES, "", wait=True)

        wait_until_started(self._run, revision, timeout, printed, cancel)
        wait_until_it_answers(self._run, self._endpoint(names.service_of(revision), revision), printed, cancel)

    def grant(self, revision: str) -> None:
        """mawasu-gateway calls it for everybody; mawasu-build asks new revisions their examples. Nobody else.

        mawasu-build makes these services, so that it may call them too gives it nothing it could not take; to lend it
        the gateway's identity would open every service of the project to it.
        """
        self._run.allow(names.service_of(revision), lambda _: {self._member("gateway"), self._member("build")})

    def warm(self, revision: str, previous: str) -> int:
        """Instances come and go here, each with a memory of its own; what they share is in Redis."""
        return 0

    def promote(self, revision: str) -> None:
        """Returns when callers of the service reach it. Traffic that is there already stays."""
        service, tag = names.service_of(revision), names.tag(revision)
        least = int((self._run.revision(revision) or {}).get("annotations", {}).get(LEAST, "0"))

        def move(found: Json) -> Json:
            shares = run.shares_of(found)
            wanted = {
                "traffic": run.traffic(_checked(run.promoted(shares, revision, tag))),
                "annotations": {**found.get("annotations", {}), PROMOTED: revision},
                # Of the service, not of the revision: so that only who has the traffic is kept warm.
                "scaling": {**found.get("scaling", {}), "minInstanceCount": least},
            }
            present = {**found, "traffic": run.traffic(shares)}
            return {} if all(present.get(key) == value for key, value in wanted.items()) else wanted

        self._run.change(service, move)
        self._wait_until_moved(service, revision)

    def stop(self, revision: str, drain: float) -> None:
        """It answers what it was asked, and ends when nobody asks any more: Cloud Run's own way."""

        def untag(found: Json) -> Json:
            shares = run.shares_of(found)
            left = run.untagged(shares, revision)
            return {} if left == shares else {"traffic": run.traffic(_checked(left))}

        service = names.service_of(revision)
        if self._run.find(service) is not None:
            self._run.change(service, untag)

    def remove(self, feature: str, environment: str, drain: float) -> None:
        service = names.service(feature, environment)
        self._run.delete(service)
        for preview in (False, True):
            remove_files(self._bucket(files_in(self._cloud, preview=preview)), files_of(service) + "/")

    # ------------------------------------------------------------------------------------------------ looking

    def running(self) -> Sequence[RevisionStatus]:
        """What a switch gave traffic to. `replicas` are those that are always there: others come and go."""
        return [
            self._status(service, share.revision)
            for service in self._run.ours()
            if PROMOTED in service.get("annotations", {})
            for share in run.shares_of(service)
            if share.percent
        ]

    def printed(self, revision: str, lines: int, holding: str = "") -> list[str]:
        """From Cloud Logging, which shows an entry some seconds after it was printed."""
        return self._printed(revision, lines, holding, wait=bool(holding))

    def _printed(self, revision: str, lines: int, holding: str, *, wait: bool) -> list[str]:
        cloud = self._cloud
        call = run.printed(cloud.project, cloud.region, names.service_of(revision), revision, lines)
        give_up = time.monotonic() + PATIENCE
        while True:
            found = run.lines_of(self._client.send(call).get("entries", []), without=SERVER)[-lines:]
            if not wait or any(holding in line for line in found) or time.monotonic() > give_up:
                return found
            time.sleep(self._run.look)  # not less: Cloud Logging answers 60 questions a minute

    def _status(self, service: Json, revision: str) -> RevisionStatus:
        found = self._run.revision(revision)
        least = int(service.get("scaling", {}).get("minInstanceCount", 0))
        if found is None:
            return RevisionStatus(revision, Health.GONE, least, 0, 0, "Cloud Run does not know it")
        condition = run.ready(found)
        health = {"SUCCEEDED": Health.READY, "FAILED": Health.FAILING}.get(condition.state, Health.STARTING)
        return RevisionStatus(revision, health, least, least if health is Health.READY else 0, 0, condition.message)

    # ------------------------------------------------------------------------------------------------ waiting

    def _wait_until_moved(self, service: str, revision: str) -> None:
        give_up = time.monotonic() + SETTLING
        while True:
            found = self._run.get(service)
            reached = [one.get("revision") for one in found.get("trafficStatuses", []) if one.get("percent")]
            if reached == [revision] and not found.get("reconciling"):
                return
            if time.monotonic() > give_up:
                said = run.ready(found).message or "Cloud Run does not say why"
                raise PlatformError(f"{service}: traffic did not move to {revision}: {said}", "run it again")
            time.sleep(self._run.look)

    def _endpoint(self, service: str, revision: str) -> Endpoint:
        """Where it answers. Without a URL if it failed before it got one: `wait_ready` says why."""
        give_up = time.monotonic() + SETTLING
        while True:
            found = self._run.get(service)
            if url := run.url_of(found, names.tag(revision)):
                return Endpoint(revision, url=url, audience=found["uri"])
            if run.ready(self._run.revision(revision) or {}).state == "FAILED":
                return Endpoint(revision)
            if time.monotonic() > give_up:
                raise PlatformError(f"{service} has no address after {SETTLING:.0f} seconds", "run it again")
            time.sleep(self._run.look)

    # ------------------------------------------------------------------------------------------------ small things

    def _made_of(self, spec: ServiceSpec) -> Digest:
        """All that decides how a revision behaves, but its name."""
        nameless = msgspec.structs.replace(spec, revision="r-0")
        body = run.template_body(template(nameless, self._cloud, self._settings, self._redis))
        return digest_of_value([body, spec.source.tree.digest(), spec.model, digest_of(worker_file())])

    def _member(self, what: str) -> str:
        return f"serviceAccount:{names.account(self._cloud, what)}"


def _trying(found: Json, revision: str) -> Json:
    shares = run.shares_of(found)
    wanted = run.tried(shares, revision, names.tag(revision), found.get("annotations", {}).get(PROMOTED, ""))
    return {} if wanted == shares else {"traffic": run.traffic(_checked(wanted))}


def _checked(shares: tuple[Share, ...]) -> tuple[Share, ...]:
    if faults := traffic_faults(shares):
        raise PlatformError(f"this traffic cannot be: {'; '.join(faults)}", "was it changed by hand? See Cloud Run")
    return shares
