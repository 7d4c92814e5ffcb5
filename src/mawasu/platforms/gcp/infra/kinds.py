"""How each kind of resource is made, changed and deleted: pure builders of calls, in one table.

`apis` and `policy` are not in it: an API is only ever turned on, and a policy is changed where it stands (apply.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mawasu.google import (
    artifactregistry,
    buckets,
    iam,
    redis,
    runjobs,
    scheduler,
    secretmanager,
    servicemanagement,
    triggers,
)
from mawasu.google.call import Call, path
from mawasu.google.iam import Target
from mawasu.platforms.gcp import names
from mawasu.platforms.gcp.infra.words import Found, Resource, Scope
from mawasu.platforms.gcp.names import Cloud

LEVELS: tuple[frozenset[str], ...] = (
    frozenset({"apis"}),
    frozenset({"account"}),
    frozenset({"bucket", "repository", "redis", "link"}),
    frozenset({"policy"}),
    frozenset({"secret", "trigger", "job"}),
    frozenset({"policy of features", "schedule"}),
)
"""What must be there before what. Within a level nothing depends on anything else."""


@dataclass(frozen=True)
class Place:
    """Where calls go."""

    cloud: Cloud
    scope: Scope

    @property
    def at(self) -> tuple[str, str]:
        return self.cloud.project, self.cloud.region


@dataclass(frozen=True)
class Kind:
    """`create` is None for what builds make, `update` for what cannot be changed.

    `operations`: the API's version, where an answer is a long-running operation.
    """

    delete: Callable[[Place, Found], Call]
    create: Callable[[Place, Resource], Call] | None = None
    update: Callable[[Place, Resource, Found, Sequence[str]], Call] | None = None
    operations: str = ""


def level_of(kind: str, stage: str) -> int:
    name = "policy of features" if kind == "policy" and stage == "features" else kind
    return next(index for index, level in enumerate(LEVELS) if name in level)


def target(place: Place, name: str) -> Target:
    """What the policy of this name stands on: `project/…`, `account/…`, `bucket/…`, …"""
    what, _, which = name.partition("/")
    project, region = place.at
    if what == "project":
        return iam.of_project(which)
    if what == "account":
        return iam.of_account(project, f"{which}@{project}.iam.gserviceaccount.com")
    if what == "bucket":
        return iam.of_bucket(which)
    host, version, below = _POLICIES[what]
    parts = ("projects", project, "locations", region, below, which) if what != "secret" else _secret(project, which)
    return iam.of_resource(host, path(version, *parts))


_POLICIES = {
    "repository": (artifactregistry.HOST, "v1", "repositories"),
    "connection": (triggers.HOST, "v2", "connections"),
    "job": (runjobs.HOST, "v2", "jobs"),
    "secret": (secretmanager.HOST, "v1", "secrets"),
}


def _secret(project: str, name: str) -> tuple[str, ...]:
    return ("projects", project, "secrets", name)


def _email(place: Place, name: str) -> str:
    return f"{name}@{place.cloud.project}.iam.gserviceaccount.com"


def _some(resource: Resource, chosen: Sequence[str]) -> dict[str, Any]:
    return {key: resource.body[key] for key in chosen if key in resource.body}


def _link(place: Place, one: Resource) -> Call:
    connection = place.scope.connection
    return triggers.create_repository(*place.at, connection, names.link(one.name), one.body["remoteUri"])


KINDS: dict[str, Kind] = {
    "account": Kind(
        create=lambda place, one: iam.create_account(place.cloud.project, one.name, one.body["description"]),
        update=lambda place, one, _, __: iam.patch_account(
            place.cloud.project, one.body["email"], one.body["description"]
        ),
        delete=lambda place, one: iam.delete_account(place.cloud.project, _email(place, one.name)),
    ),
    "bucket": Kind(
        create=lambda place, one: buckets.insert_bucket(place.cloud.project, one.name, one.body),
        update=lambda _, one, __, chosen: buckets.patch_bucket(one.name, _some(one, chosen)),
        delete=lambda _, one: buckets.delete_bucket(one.name),
    ),
    "repository": Kind(
        create=lambda place, one: artifactregistry.create_repository(*place.at, one.name, one.body),
        update=lambda place, one, _, chosen: artifactregistry.patch_repository(*place.at, one.name, one.body, chosen),
        delete=lambda place, one: artifactregistry.delete_repository(*place.at, one.name),
        operations="v1",
    ),
    "redis": Kind(
        create=lambda place, one: redis.create_instance(*place.at, one.name, one.body),
        update=lambda place, one, _, chosen: redis.patch_instance(*place.at, one.name, one.body, chosen),
        delete=lambda place, one: redis.delete_instance(*place.at, one.name),
        operations="v1",
    ),
    "link": Kind(
        create=_link,
        delete=lambda place, one: triggers.delete_repository(
            *place.at, place.scope.connection, one.handle.rpartition("/")[2]
        ),
        operations="v2",
    ),
    "secret": Kind(
        create=lambda place, one: secretmanager.create_secret(place.cloud.project, one.name, one.body),
        update=lambda place, one, _, chosen: secretmanager.patch_secret(
            place.cloud.project, one.name, one.body, chosen
        ),
        delete=lambda place, one: secretmanager.delete_secret(place.cloud.project, one.name),
    ),
    "trigger": Kind(
        create=lambda place, one: triggers.create_trigger(*place.at, one.body),
        update=lambda place, one, found, _: triggers.patch_trigger(*place.at, found.handle, one.body),
        delete=lambda place, one: triggers.delete_trigger(*place.at, one.handle),
    ),
    "job": Kind(
        create=lambda place, one: runjobs.create_job(*place.at, one.name, one.body),
        update=lambda place, one, _, __: runjobs.patch_job(*place.at, one.name, one.body),
        delete=lambda place, one: runjobs.delete_job(*place.at, one.name),
        operations="v2",
    ),
    "schedule": Kind(
        create=lambda place, one: scheduler.create_schedule(*place.at, one.name, one.body),
        update=lambda place, one, _, chosen: scheduler.patch_schedule(*place.at, one.name, one.body, chosen),
        delete=lambda place, one: scheduler.delete_schedule(*place.at, one.name),
    ),
    "endpoints": Kind(
        delete=lambda _, one: servicemanagement.delete(one.name),
        operations="v1",
    ),
    "service": Kind(
        delete=lambda place, one: runjobs.delete_service(*place.at, one.name),
        operations="v2",
    ),
}
