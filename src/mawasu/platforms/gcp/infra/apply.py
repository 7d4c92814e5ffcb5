"""Doing what the diff says: at once what does not depend on each other, again what Google needs time for.

Whatever fails, or is cut off, the next run finds what was done and goes on from there: everything has a name that is
known before it is made, and every call sets a state and adds to none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import msgspec

from mawasu.errors import MawasuError, PlatformError
from mawasu.google import buckets, serviceusage
from mawasu.google.call import Call
from mawasu.google.client import Client
from mawasu.google.faults import ConflictError, GoogleError, NotFoundError
from mawasu.google.iam import changed, grants_of, set_policy
from mawasu.google.operations import FIRST, wait_for
from mawasu.google.storage import Bucket
from mawasu.platforms.gcp.infra import grants
from mawasu.platforms.gcp.infra.diff import fields
from mawasu.platforms.gcp.infra.kinds import KINDS, LEVELS, Place, level_of, target
from mawasu.platforms.gcp.infra.read import all_of, mine, together
from mawasu.platforms.gcp.infra.reader import APPLIED, is_off, marked
from mawasu.platforms.gcp.infra.words import Change, Found, Resource

PATIENCE = 120.0
"""Seconds that Google may take to know an account or an API that was made a moment ago
(cloud.google.com/iam/docs/access-change-propagation: mostly 2 minutes)."""

CREATION = 1200.0
"""Seconds that one thing may take to be there; Redis takes longest."""

SERVICES, ENDPOINTS = len(LEVELS), len(LEVELS) + 1
"""Levels of a removal, above those of what `apply` makes."""

Tell = Callable[[Change, MawasuError | None], None]
"""Called, by any thread, when a change is done or failed."""


def untold(change: Change, error: MawasuError | None) -> None:
    """Nobody listens."""


@dataclass
class Report:
    """What was done, what failed, and what was left to a person."""

    done: list[Change] = field(default_factory=list)
    failed: list[tuple[Change, MawasuError]] = field(default_factory=list)
    refused: list[Change] = field(default_factory=list)
    waiting: list[Change] = field(default_factory=list)

    @property
    def error(self) -> MawasuError | None:
        """All that failed, as one; None when nothing did."""
        if not self.failed:
            return None
        error = all_of([error for _, error in self.failed])
        hint = f"{error.hint}; then run it again: what is done stays done" if error.hint else "run it again"
        return PlatformError(error.message, hint)


@dataclass
class Converger:
    """Applies changes to a place. `pause`: seconds before the first look at something that takes time."""

    client: Client
    place: Place
    desired: Sequence[Resource]
    found: Sequence[Found]
    tell: Tell = untold
    pause: float = FIRST
    patience: float = PATIENCE

    def __post_init__(self) -> None:
        self._wanted = {one.id: one for one in self.desired}
        self._there = {one.id: one for one in self.found}

    def apply(self, changes: Sequence[Change]) -> Report:
        """Level by level. A level with a failure is finished, and no later one is begun."""
        report = Report(refused=[one for one in changes if one.verb == "refuse"])
        doable = [one for one in changes if one.verb != "refuse"]
        for number in range(len(LEVELS)):
            self._level([one for one in doable if level_of(one.kind, one.stage) == number], report)
            if report.failed:
                break
        return report

    def remove(self, changes: Sequence[Change]) -> Report:
        """As `apply`, from the last level to the first; a failure stops nothing but the services.

        What a gateway's Endpoints service is called is known from its service alone: while one stays, so do they.
        """
        report = Report()
        for number in reversed(range(ENDPOINTS + 1)):
            if number != SERVICES or not report.failed:
                self._level([one for one in changes if _removal_level(one) == number], report)
        return report

    def _level(self, changes: Sequence[Change], report: Report) -> None:
        def attempt(change: Change) -> tuple[Change, MawasuError | None]:
            error: MawasuError | None = None
            try:
                self._patiently(lambda: self._do(change))
            except MawasuError as fault:
                error = fault
            self.tell(change, error)
            return change, error

        for change, error in together([partial(attempt, one) for one in changes], 8) if changes else []:
            if error is None:
                report.done.append(change)
            else:
                report.failed.append((change, error))

    def _patiently(self, do: Callable[[], None]) -> None:
        """Do it, and again while Google has not heard yet of what was made a moment ago."""
        until, pause = time.monotonic() + self.patience, self.pause
        while True:
            try:
                return do()
            except GoogleError as error:
                if not _settles(error) or time.monotonic() + pause > until:
                    raise
            time.sleep(pause)
            pause = min(10.0, pause * 2)

    def _do(self, change: Change) -> None:
        if change.kind == "apis":
            self._enable(change)
        elif change.kind == "policy":
            self._policy(change)
        elif change.verb == "delete":
            self._delete(self._there[change.id])
        else:
            self._make(change)

    def _make(self, change: Change) -> None:
        resource, kind = self._wanted[change.id], KINDS[change.kind]
        if change.verb == "create":
            assert kind.create is not None, f"builds make {change.kind}"
            try:
                self._finish(kind.create(self.place, resource), kind.operations)
            except ConflictError:
                # An earlier attempt made it, and its answer was lost. Whatever is different in it, the next run sees.
                if change.kind == "bucket" and not self._own_bucket(change.name):
                    hint = "names of buckets are the world's: choose another one in gcp.bucket"
                    raise PlatformError(
                        f"the name {change.name} is taken by a bucket of another project", hint
                    ) from None
            return
        assert kind.update is not None, f"{change.kind} cannot be changed"
        call = kind.update(self.place, resource, self._there[change.id], fields(change.edits))
        self._finish(call, kind.operations)

    def _own_bucket(self, name: str) -> bool:
        try:
            answer = self.client.find(buckets.get_bucket(name)) or {}
        except GoogleError as error:
            if error.status == 403:
                return False
            raise
        return answer.get("projectNumber") == self.place.cloud.number and marked(answer.get("labels", {}))

    def _empty(self, bucket: str) -> None:
        """Delete every object, the overwritten ones too: a bucket that holds something cannot be deleted."""
        found = list(self.client.pages(buckets.list_versions(bucket), "items"))
        calls = [buckets.delete_version(bucket, one["name"], one["generation"]) for one in found]
        together([partial(self.client.find, call) for call in calls])

    def _delete(self, found: Found) -> None:
        kind = KINDS[found.kind]
        try:
            if found.kind == "bucket":
                self._empty(found.name)
            self._finish(kind.delete(self.place, found), kind.operations)
        except NotFoundError:
            return

    def _finish(self, call: Call, operations: str) -> None:
        answer = self.client.send(call)
        if operations:
            wait_for(self.client, call.host, operations, answer, timeout=CREATION, first=self.pause)

    def _enable(self, change: Change) -> None:
        apis = [edit.path.removeprefix("apis.") for edit in change.edits if edit.after]
        for start in range(0, len(apis), serviceusage.MOST):
            self._finish(serviceusage.enable(change.name, apis[start : start + serviceusage.MOST]), "v1")

    def _policy(self, change: Change) -> None:
        """Read, change, write with the etag; again when somebody else wrote in between."""
        at, cloud = target(self.place, change.name), self.place.cloud
        wanted = [] if change.verb == "delete" else grants.of(self._wanted[change.id], cloud)
        for last in (False, False, False, False, True):
            policy = self.client.send(at.get)
            if set(grants_of(policy, mine(cloud, change.name))) == set(wanted):
                return
            try:
                self.client.send(set_policy(at, changed(policy, wanted, mine(cloud, change.name))))
                return
            except ConflictError:
                if last:
                    raise


def _removal_level(change: Change) -> int:
    """What serves goes first, accounts last but for the bucket with the records."""
    first_and_last = {"endpoints": ENDPOINTS, "service": SERVICES, "policy": 2, "account": 1, "bucket": 0}
    if change.kind in first_and_last:
        return first_and_last[change.kind]
    return max(3, level_of(change.kind, change.stage))


def _settles(error: GoogleError) -> bool:
    """Whether this is about something that Google was told a moment ago and not everywhere knows yet."""
    text = error.message.lower()
    fresh = "service account" in text and ("does not exist" in text or "not found" in text)
    return (error.status in (400, 404) and fresh) or is_off(error)


def record(client: Client, bucket: str, marks: Mapping[str, str]) -> None:
    """Remember what was applied."""
    Bucket(client, bucket).put(APPLIED, msgspec.json.encode(dict(marks)))
