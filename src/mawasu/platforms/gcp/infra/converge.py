"""The whole way: look, decide, do. `look` shows what `converge` would do; `destroy` takes everything down again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from mawasu.errors import PlatformError
from mawasu.google import servicemanagement
from mawasu.google.client import Client
from mawasu.google.operations import FIRST
from mawasu.platforms.gcp import names
from mawasu.platforms.gcp.infra.apply import PATIENCE, Converger, Report, Tell, record, untold
from mawasu.platforms.gcp.infra.costs import idle_costs
from mawasu.platforms.gcp.infra.desired import desired
from mawasu.platforms.gcp.infra.diff import diff
from mawasu.platforms.gcp.infra.kinds import Place, level_of
from mawasu.platforms.gcp.infra.read import Actual, read, read_details, read_policy, services, together
from mawasu.platforms.gcp.infra.settings import agree
from mawasu.platforms.gcp.infra.words import Change, Found, Manual, Resource, Scope, Wanted
from mawasu.platforms.gcp.names import Cloud

AFTER_RUNNER = 4
"""The first level (`kinds.LEVELS`) of what names the runner image: what makes the image must be there before."""


class Runner(Protocol):
    """The image that has mawasu inside."""

    def find(self, cloud: Cloud) -> str:
        """Its reference by digest; "" where it has not been made."""

    def ensure(self, cloud: Cloud) -> str:
        """Make it unless it is there."""


class Given:
    """A runner that is known: a build runs in it."""

    def __init__(self, ref: str) -> None:
        self.ref = ref

    def find(self, cloud: Cloud) -> str:
        return self.ref

    def ensure(self, cloud: Cloud) -> str:
        return self.ref


@dataclass(frozen=True)
class Plan:
    """What is wanted, what is there, and what lies between."""

    features: tuple[Wanted, ...]
    place: Place
    desired: tuple[Resource, ...]
    actual: Actual
    changes: tuple[Change, ...]

    @property
    def manual(self) -> tuple[Manual, ...]:
        return self.actual.facts.manual

    @property
    def idle(self) -> list[str]:
        return idle_costs(self.features, self.desired)


def look(client: Client, features: Sequence[Wanted], runner: Runner, *, person: bool = True) -> Plan:
    """Read the project and say what it needs. Without `person`, what a production build may converge alone."""
    scope = agree(features)
    actual = read(client, scope, foundation=person)
    cloud = Cloud(scope.project, actual.facts.number, scope.region, scope.bucket, connection=scope.connection)
    # Where Artifact Registry is not on there is no image yet, and asking for it would fail.
    has_registry = not person or any(one.kind == "repository" for one in actual.found)
    cloud = msgspec.structs.replace(cloud, runner=runner.find(cloud) if has_registry else "")
    place = Place(cloud, scope)
    wanted = _wanted(features, place, actual, person)
    read_details(client, place, actual, wanted)
    return _plan(features, place, wanted, actual)


def converge(
    client: Client,
    features: Sequence[Wanted],
    runner: Runner,
    *,
    person: bool = True,
    planned: Plan | None = None,
    tell: Tell = untold,
    pause: float = FIRST,
    patience: float = PATIENCE,
) -> Report:
    """Make the project what the features want, without asking; errors are in the report.

    A production build calls it with `person=False`: then only what follows from the features is converged, and what
    only a person may do (delete a secret, which holds a value that only people have) is in `Report.waiting`.
    """
    plan = planned or look(client, features, runner, person=person)
    waiting = [one for one in plan.changes if not person and one.stage == "foundation"]
    report = _run(client, plan, plan.changes, waiting, lambda level: level < AFTER_RUNNER, tell, pause, patience)
    if not report.failed:
        ref = runner.ensure(plan.place.cloud)
        place = Place(msgspec.structs.replace(plan.place.cloud, runner=ref), plan.place.scope)
        wanted = _wanted(features, place, plan.actual, person)
        plan = _plan(features, place, wanted, plan.actual)
        rest = _run(client, plan, plan.changes, waiting, lambda level: level >= AFTER_RUNNER, tell, pause, patience)
        report = Report(report.done + rest.done, rest.failed, report.refused + rest.refused)
    report.waiting = waiting
    _remember(client, plan, report)
    return report


def _run(
    client: Client,
    plan: Plan,
    changes: Sequence[Change],
    waiting: Sequence[Change],
    chosen: Callable[[int], bool],
    tell: Tell,
    pause: float,
    patience: float,
) -> Report:
    converger = Converger(client, plan.place, plan.desired, plan.actual.found, tell, pause, patience)
    return converger.apply([one for one in changes if one not in waiting and chosen(level_of(one.kind, one.stage))])


def _wanted(features: Sequence[Wanted], place: Place, actual: Actual, person: bool) -> list[Resource]:
    found = desired(features, place.scope, place.cloud, actual.facts)
    return [one for one in found if person or one.stage == "features"]


def _plan(features: Sequence[Wanted], place: Place, wanted: Sequence[Resource], actual: Actual) -> Plan:
    owners = frozenset({names.label(place.scope.github) if place.scope.github else "", actual.facts.repository} - {""})
    changes = diff(wanted, actual.found, actual.applied, owners)
    return Plan(tuple(features), place, tuple(wanted), actual, tuple(changes))


def _remember(client: Client, plan: Plan, report: Report) -> None:
    """The marks of all that is now as wanted. Nothing is written when nothing is new, or when there is no bucket."""
    done = {change.id for change in report.done}
    undone = {change.id for change in plan.changes} - done
    gone = {change.id for change in report.done if change.verb == "delete"}
    marks = {id: mark for id, mark in plan.actual.applied.items() if id not in gone}
    marks |= {one.id: one.mark for one in plan.desired if one.id not in undone}
    bucket = f"bucket {plan.place.scope.bucket}"
    if marks != dict(plan.actual.applied) and (bucket in marks) and bucket not in undone:
        record(client, plan.place.scope.bucket, marks)


# ---------------------------------------------------------------------------------------------- taking it down


@dataclass(frozen=True)
class Everything:
    """All that is mawasu's in a project, as deletions, and what is left alone with the reason."""

    place: Place
    found: tuple[Found, ...]
    changes: tuple[Change, ...]
    kept: tuple[str, ...]


def everything(client: Client, scope: Scope, *, records: bool) -> Everything:
    """What `destroy` would delete: all that carries mawasu's mark, and what its accounts may do elsewhere."""
    actual = read(client, scope)
    place = Place(
        Cloud(scope.project, actual.facts.number, scope.region, scope.bucket, connection=scope.connection), scope
    )
    ran = services(client, place.cloud)
    policies = [f"project/{scope.project}"]
    if any(one.kind == "bucket" for one in actual.found):
        policies.append(f"bucket/{scope.bucket}")
    if actual.facts.connected:
        policies.append(f"connection/{scope.connection}")
    read_policies = together([partial(read_policy, client, place, name) for name in policies])
    granted = [one for one in read_policies if one is not None and one.body["grants"]]
    found = [
        *(one for one in actual.found if one.kind != "apis"),
        *ran,
        *_endpoints(client, scope.project, ran),
        *granted,
    ]
    ours = [one for one in found if one.ours and (records or one.id != f"bucket {scope.bucket}")]
    kept = [f"{one.id}: it does not carry mawasu's mark" for one in found if not one.ours and one.kind not in _OTHERS]
    if not records and any(one.id == f"bucket {scope.bucket}" and one.ours for one in found):
        kept.append(f"bucket {scope.bucket}: the records; --records deletes it, too")
    kept.append("APIs stay on: others may use them")
    changes = [Change("delete", one.kind, one.name, "it is mawasu's", "foundation") for one in ours]
    return Everything(place, tuple(found), tuple(changes), tuple(kept))


_OTHERS = frozenset({"secret", "trigger"})
"""Kinds that a project holds many of: those of others are not worth a line."""


def destroy(client: Client, all_: Everything, *, tell: Tell = untold, pause: float = FIRST) -> Report:
    """Delete it, last things first. What failed is in the report; running it again goes on from there."""
    converger = Converger(client, all_.place, (), all_.found, tell, pause)
    report = converger.remove(all_.changes)
    bucket = f"bucket {all_.place.scope.bucket}"
    kept = any(one.id == bucket and one.ours for one in all_.found) and bucket not in {one.id for one in all_.changes}
    if kept and not report.failed:
        record(client, all_.place.scope.bucket, {})
    return report


def _endpoints(client: Client, project: str, ran: Sequence[Found]) -> list[Found]:
    """The Endpoints services of the gateways that are left: each is called as its gateway's host."""
    hosts = {urlsplit(str(one.body.get("uri", ""))).netloc for one in ran if one.name.endswith("--0gateway")}
    if not hosts:
        return []
    there = client.pages(servicemanagement.list_services(project), "services")
    return [Found("endpoints", one["serviceName"], {}, True) for one in there if one["serviceName"] in hosts]


def refused(report: Report) -> PlatformError | None:
    """An error that says what was in the way; None when nothing was."""
    if not report.refused:
        return None
    lines = [f"{one.id}: {one.why}" for one in report.refused]
    return PlatformError("\n".join(lines), "hand it over (label managed-by=mawasu), or rename or delete it yourself")
