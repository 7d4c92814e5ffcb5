"""One job for one key, whoever asks, however often, whatever answers are lost.

customJobs.create takes no request id, so three things stand in for it: an intention, an object that only one can
create, is durable before the call; the job carries the step's key as a label, and is looked up by it; and of two jobs
that live for one key all the same, the older one stands and the other is cancelled.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final

import msgspec

from mawasu.errors import CancelledError, PlatformError
from mawasu.google import vertex
from mawasu.google.client import Client, LostError
from mawasu.google.faults import GoogleError
from mawasu.google.storage import Bucket
from mawasu.google.vertex import LIVE, Job, Seen, State
from mawasu.platforms.gcp.names import Cloud
from mawasu.ports import Cancel

KEY: Final = "mawasu-key"
ATTEMPT: Final = "mawasu-attempt"


class NoQuotaError(PlatformError):
    """The project may not have so many machines, says Vertex AI before it takes the job."""

    code = "quota"


class Grace(msgspec.Struct, frozen=True):
    """Seconds: between looks, until an intention without a job is taken for abandoned, and until a job whose
    creation got no answer is taken for not created.
    """

    look: float = 3.0
    abandoned: float = 180.0
    lost: float = 30.0


class Claimed(msgspec.Struct, frozen=True):
    """A job of the key: `attempt` says which of `jobs/<job>/<attempt>/` is its; `found`: it was there already."""

    seen: Seen
    attempt: int
    found: bool


class Claims:
    """Finds or creates the job of one key. `below` is `jobs/<job>`, `mark` the value of the label `mawasu-key`."""

    def __init__(
        self, cloud: Cloud, client: Client, bucket: Bucket, below: str, mark: str, grace: Grace, cancel: Cancel
    ) -> None:
        self._cloud = cloud
        self._client = client
        self._bucket = bucket
        self._below = below
        self._mark = mark
        self._grace = grace
        self._cancel = cancel

    def claim(self, stage: Callable[[], Callable[[int], Job]]) -> Claimed:
        """The job that lives or has succeeded, or else a new one; `stage` puts its files in place and says what it is.

        Raises NoQuotaError or GoogleError when Vertex AI refuses it, CancelledError when given up before there is one.
        """
        job: Callable[[int], Job] | None = None
        while True:
            if self._cancel.is_set():
                raise CancelledError("given up before there was a job")
            there = self._jobs()
            if (usable := self._usable(there)) is not None:
                return Claimed(usable, attempt_of(usable), found=True)
            attempt = self._free(there)
            if attempt is None:
                self._cancel.wait(self._grace.look)  # somebody else is at it
            elif job is None:
                job = stage()  # long, so before the intention; then look again
            elif self._bucket.create(self._intention(attempt), b"{}"):
                made = self._create(job(attempt), attempt)
                others = {one.name: one for one in self._jobs()}
                stands = self._usable([*others.values(), *([] if made.name in others else [made])])
                return Claimed(stands or made, attempt_of(stands or made), found=False)

    def out(self, attempt: int) -> str:
        return f"{self._below}/{attempt}/out"

    def stop(self, job: Seen) -> None:
        """Cancel it, and leave word that it was mawasu: another build that waits for it then looks for one anew."""
        self._bucket.create(self._given_up(job), b"{}")
        try:
            self._client.send(vertex.cancel(job.name))
        except GoogleError as error:
            if error.status != 400:  # FAILED_PRECONDITION: it has ended
                raise

    def was_stopped(self, job: Seen) -> bool:
        """Whether a build of mawasu cancelled it, rather than a person."""
        return self._bucket.stat(self._given_up(job)) is not None

    def _jobs(self) -> list[Seen]:
        call = vertex.labelled(self._cloud.parent, KEY, self._mark)
        found = [vertex.seen(answer) for answer in self._client.pages(call, "customJobs")]
        return [
            one for one in found if one.labels.get(KEY) == self._mark
        ]  # to take another's model is the worst of all

    def _usable(self, there: list[Seen]) -> Seen | None:
        """The oldest that has succeeded and left its outcome, or that lives; younger ones that live are cancelled."""
        inorder = sorted(there, key=lambda one: (one.created, one.name))
        for one in inorder:
            if one.state is State.SUCCEEDED and self._bucket.stat(f"{self.out(attempt_of(one))}/outcome.json"):
                return one
        live = [one for one in inorder if one.state in LIVE]
        for one in live[1:]:
            self.stop(one)
        return live[0] if live else None

    def _free(self, there: list[Seen]) -> int | None:
        """The next attempt's number; None while another process may be about to create the last one's job."""
        made = {attempt_of(one) for one in there}
        folders = [int(name) for name in self._bucket.folders(f"{self._below}/") if re.fullmatch(r"[1-9]\d{0,8}", name)]
        latest = max([*made, *folders], default=0)
        if latest in made or latest == 0:
            return latest + 1
        intention = self._bucket.stat(self._intention(latest))
        if intention is None:  # its owner was refused, and took it back
            return latest
        return latest + 1 if time.time() - intention.updated > self._grace.abandoned else None

    def _create(self, job: Job, attempt: int) -> Seen:
        """Once; and once more if the answer was lost and no job appears."""
        call = vertex.create(self._cloud.parent, job)
        for last in (False, True):
            try:
                return vertex.seen(self._client.send(call))
            except (LostError, GoogleError) as error:
                if isinstance(error, GoogleError) and error.status < 500:
                    self._bucket.delete(self._intention(attempt))
                    if error.status == 429:
                        raise NoQuotaError(error.message, error.hint) from error
                    raise
                if (found := self._appeared(attempt)) is not None:
                    return found
                if last:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _appeared(self, attempt: int) -> Seen | None:
        deadline = time.monotonic() + self._grace.lost
        while True:
            found = next((one for one in self._jobs() if attempt_of(one) == attempt), None)
            if found is not None or time.monotonic() > deadline:
                return found
            time.sleep(self._grace.look)

    def _intention(self, attempt: int) -> str:
        return f"{self._below}/{attempt}/intention.json"

    def _given_up(self, job: Seen) -> str:
        return f"{self._below}/{attempt_of(job)}/given-up.json"


def attempt_of(job: Seen) -> int:
    text = job.labels.get(ATTEMPT, "")
    return int(text) if text.isdigit() else 0
