"""Makes an image by a Cloud Build of its own: found if it is there or on its way, else built, once, and followed."""

from __future__ import annotations

import threading
from typing import Any

from mawasu.errors import CancelledError, PlatformError
from mawasu.google import cloudbuild, registry
from mawasu.google.client import Client, LostError
from mawasu.google.faults import GoogleError
from mawasu.google.storage import Bucket
from mawasu.platforms.gcp.builders import Wanted, image_build, key_tag
from mawasu.platforms.gcp.buildlog import BuildLog
from mawasu.platforms.gcp.dockerfile import Context, pack
from mawasu.platforms.gcp.names import REPOSITORY, Cloud
from mawasu.platforms.gcp.refusals import refusal
from mawasu.ports import Cancel, Log
from mawasu.spec import feature
from mawasu.words import Digest, short

POLL = 5.0
"""Seconds between looks: with the logs read each time, 12 of the 60 reads a minute that a project has of its logs."""

_TRIES = 3  # builds that somebody else cancelled, or that Google's side lost


class NestedBuilds:
    """Safe for many threads: of several that want one key, one builds it."""

    def __init__(
        self, cloud: Cloud, settings: feature.GcpImages, client: Client, bucket: Bucket, *, poll: float = POLL
    ) -> None:
        self._cloud = cloud
        self._settings = settings
        self._client = client
        self._bucket = bucket
        self._poll = poll
        self._locks: dict[Digest, threading.Lock] = {}
        self._guard = threading.Lock()

    def find(self, package: str, key: Digest) -> Digest | None:
        """The digest of the image of a key; None where none was made, or a clean-up took it and left its tag."""
        cloud = self._cloud
        tag = self._client.find(registry.tag(cloud.project, cloud.region, REPOSITORY, package, key_tag(key)))
        if tag is None:
            return None
        digest = registry.digest_of(tag)
        there = self._client.find(registry.version(cloud.project, cloud.region, REPOSITORY, package, digest))
        return digest if there is not None else None

    def ensure(self, wanted: Wanted, context: Context, log: Log, cancel: Cancel) -> Digest:
        """The digest of the image, made from the context if need be.

        Raises StepError with what the build said, CancelledError, PlatformError.
        """
        with self._guard:
            lock = self._locks.setdefault(wanted.key, threading.Lock())
        while not lock.acquire(timeout=0.2):
            if cancel.is_set():
                raise CancelledError(f"{wanted.title}: waiting for another build of the image was given up")
        try:
            return self._ensure(wanted, context, log, cancel)
        finally:
            lock.release()

    def _ensure(self, wanted: Wanted, context: Context, log: Log, cancel: Cancel) -> Digest:
        for _ in range(_TRIES):
            if found := self.find(wanted.package, wanted.key):
                return found
            build, mine = self._ongoing(wanted.key), False
            if build is None:
                # one may have ended between the two looks
                if found := self.find(wanted.package, wanted.key):
                    return found
                build, mine = self._start(wanted, context, log, cancel)
            if build is None:
                continue
            said = self._follow(build, mine, log, cancel)
            status = said.build["status"]
            if status == "SUCCESS":
                return self._pushed(wanted)
            if status not in ("CANCELLED", "INTERNAL_ERROR"):
                raise refusal(wanted.title, said.build, said.lines, rendered=context.rendered)
            log.write(f"build {said.build['id']} ended as {status.lower()}: once more")
        raise PlatformError(
            f"{wanted.title}: a build of the image was begun {_TRIES} times, and never done", "run it again later"
        )

    # ------------------------------------------------------------------------------------------------ one build

    def _start(self, wanted: Wanted, context: Context, log: Log, cancel: Cancel) -> tuple[dict[str, Any] | None, bool]:
        """The build to follow, and whether it is ours to cancel; None when it is not known whether there is one."""
        digest, data = pack(context)
        source = f"sources/{digest.removeprefix('sha256:')}.tar.gz"
        self._bucket.put(source, data)  # anew even if it is there: it may be about to be deleted for its age
        body = image_build(self._cloud, self._settings, wanted, source, context.dockerfile)
        try:
            answer = self._client.send(cloudbuild.create(self._cloud.project, self._cloud.region, body), cancel)
        except (LostError, GoogleError) as error:
            if isinstance(error, GoogleError) and error.status < 500:
                raise
            log.write(f"{error.message}: looking whether it was begun")
            return self._appeared(wanted.key, cancel), True
        mine = cloudbuild.created(answer)
        log.write(f"build {mine['id']} makes the image {short(wanted.key)}: {mine.get('logUrl', '')}")
        first = self._ongoing(wanted.key, mine)
        assert first is not None
        if first["id"] == mine["id"]:
            return mine, True
        # Two machines began at once. Both see the same one as the first: it goes on, the other one stops.
        self._cancel(mine)
        log.write(f"build {first['id']}, begun elsewhere, makes it already")
        return first, False

    def _ongoing(self, key: Digest, *more: dict[str, Any]) -> dict[str, Any] | None:
        """The build of a key that is under way, the first of several."""
        call = cloudbuild.tagged(self._cloud.project, self._cloud.region, key_tag(key))
        found = {one["id"]: one for one in (*self._client.pages(call, "builds"), *more)}
        ongoing = [one for one in found.values() if one.get("status", "QUEUED") in cloudbuild.ONGOING]
        return min(ongoing, key=cloudbuild.order, default=None)

    def _appeared(self, key: Digest, cancel: Cancel) -> dict[str, Any] | None:
        """What a call whose answer was lost began; lists lag behind, so it is looked for more than once."""
        for _ in range(3):
            if build := self._ongoing(key):
                return build
            if cancel.wait(min(self._poll, 2.0)):
                raise CancelledError("making the image was given up")
        return None

    def _follow(self, build: dict[str, Any], mine: bool, log: Log, cancel: Cancel) -> BuildLog:
        said = BuildLog(self._client, self._cloud.project, build, log)
        call = cloudbuild.get(self._cloud.project, self._cloud.region, build["id"])
        try:
            while said.build.get("status", "QUEUED") in cloudbuild.ONGOING:
                if cancel.wait(self._poll):
                    raise CancelledError("making the image was given up")
                said.build = self._client.send(call, cancel)
                said.read()
        except CancelledError:
            if mine:  # one that was found goes on: another push may wait for it, and its image stays
                self._cancel(build)
            raise
        if said.build["status"] == "FAILURE":
            said.settle(min(self._poll, 1.0), cancel)
        return said

    def _cancel(self, build: dict[str, Any]) -> None:
        try:
            self._client.send(cloudbuild.cancel(self._cloud.project, self._cloud.region, build["id"]))
        except GoogleError as error:
            if error.reason != "FAILED_PRECONDITION":  # it has ended
                raise

    def _pushed(self, wanted: Wanted) -> Digest:
        digest = self.find(wanted.package, wanted.key)
        if digest is None:
            missing = f"{self._cloud.registry}/{wanted.package}:{key_tag(wanted.key)}"
            raise PlatformError(
                f"{wanted.title}: its build succeeded, but {missing} is not there", "run it again: was it deleted?"
            )
        return digest
