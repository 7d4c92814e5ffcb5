"""Reading what is there, many calls at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from mawasu.errors import MawasuError, PlatformError
from mawasu.google import iam, runjobs, secretmanager
from mawasu.google.client import Client
from mawasu.platforms.gcp import names
from mawasu.platforms.gcp.infra import grants
from mawasu.platforms.gcp.infra.kinds import Place, target
from mawasu.platforms.gcp.infra.reader import Reader, last, marked, quiet
from mawasu.platforms.gcp.infra.words import Facts, Found, Resource, Scope
from mawasu.platforms.gcp.names import Cloud

AT_ONCE = 24
"""Calls under way at one time; Google's quotas for reading are far above that."""


@dataclass
class Actual:
    """What is there. `empty`: secrets without a value."""

    facts: Facts
    found: list[Found] = field(default_factory=list)
    applied: Mapping[str, str] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)


def together(calls: Sequence[Callable[[], Any]], at_once: int = AT_ONCE) -> list[Any]:
    """Results in order. All are waited for, and all that failed are told at once."""
    with ThreadPoolExecutor(max_workers=max(1, min(at_once, len(calls)))) as pool:
        futures = [pool.submit(call) for call in calls]
    errors = [error for future in futures if isinstance(error := future.exception(), MawasuError)]
    if errors:
        raise all_of(errors)
    return [future.result() for future in futures]


def all_of(errors: Sequence[MawasuError]) -> MawasuError:
    """One error that says what all of them say, each thing once."""
    if len({str(error) for error in errors}) == 1:
        return errors[0]
    hints = dict.fromkeys(error.hint for error in errors if error.hint)
    return PlatformError("\n".join(dict.fromkeys(error.message for error in errors)), "; ".join(hints))


def read(client: Client, scope: Scope, *, foundation: bool = True) -> Actual:
    """Everything but policies. Without `foundation` only what a production build converges."""
    here = Reader(client, scope)
    calls: dict[str, Callable[[], Any]] = {name: getattr(here, name) for name in _ALWAYS}
    if foundation:
        calls |= {name: getattr(here, name) for name in _FOUNDATION}
    answers = dict(zip(calls, together(list(calls.values())), strict=True))
    apis, connection = answers.get("apis", {}), answers["connection"]
    number = answers["project"] or next(iter(apis.values()), "")
    _check_bucket(answers.get("bucket", []), number)
    facts = Facts(
        number=number,
        apis=frozenset(apis),
        connected=connection.connected,
        repository=connection.repository,
        secrets=frozenset(one.name for one in answers["secrets"]),
        manual=connection.manual,
    )
    found = [one for name in _THINGS for one in answers.get(name, [])]
    on = [Found("apis", scope.project, {"apis": dict.fromkeys(apis, True)}, True)] if foundation else []
    return Actual(facts, [*on, *connection.links, *found], answers["applied"])


_ALWAYS = ("project", "connection", "applied", "secrets", "triggers", "job")
_FOUNDATION = ("apis", "accounts", "bucket", "repository", "redis", "schedule")
_THINGS = ("accounts", "bucket", "repository", "redis", "secrets", "triggers", "job", "schedule")


def _check_bucket(found: Sequence[Found], number: str) -> None:
    for one in found:
        if one.body.get("projectNumber", number) != number:
            message = f"bucket {one.name} belongs to project {one.body['projectNumber']}, not to this one ({number})"
            raise PlatformError(message, "choose another gcp.bucket")


def read_details(client: Client, place: Place, actual: Actual, desired: Iterable[Resource]) -> None:
    """Adds the policies that are wanted, and says which of the wanted secrets have no value."""
    there = {one.id for one in actual.found}
    wanted = list(desired)
    policies = [one.name for one in wanted if one.kind == "policy" and _stands(one.name, there, actual.facts)]
    secrets = [one.name for one in wanted if one.kind == "secret" and one.id in there]
    answers = together(
        [
            *(partial(read_policy, client, place, name) for name in policies),
            *(partial(_has_value, client, place.cloud.project, name) for name in secrets),
        ]
    )
    actual.found += [one for one in answers[: len(policies)] if one is not None]
    valued = dict(zip(secrets, answers[len(policies) :], strict=True))
    actual.empty = [one.name for one in wanted if one.kind == "secret" and not valued.get(one.name, False)]


def read_policy(client: Client, place: Place, name: str) -> Found | None:
    policy = quiet(lambda: client.find(target(place, name).get))
    if policy is None:
        return None
    return Found("policy", name, grants.body_of(iam.grants_of(policy, mine(place.cloud, name))), True)


def mine(cloud: Cloud, policy: str) -> Callable[[str], bool]:
    """Whether a member of a policy is one of mawasu's accounts in this project, a deleted one too; of mawasu's own
    buckets everybody counts as well, since who may read them is mawasu's to say.
    """
    accounts = "|".join(names.ACCOUNTS)
    ours = re.compile(
        rf"(deleted:)?serviceAccount:mawasu-({accounts})@{re.escape(cloud.project)}\.iam\.gserviceaccount\.com(\?uid=\d+)?"
    )
    own = policy.startswith(f"bucket/{cloud.bucket}")
    return lambda member: ours.fullmatch(member) is not None or (own and member == grants.EVERYBODY)


def services(client: Client, cloud: Cloud) -> list[Found]:
    """The APIs and gateways that builds made."""
    call = runjobs.list_services(cloud.project, cloud.region)
    found = quiet(lambda: list(client.pages(call, "services"))) or []
    return [
        Found("service", last(one["name"]), one, True, one["name"]) for one in found if marked(one.get("labels", {}))
    ]


def _stands(policy: str, there: set[str], facts: Facts) -> bool:
    """Whether what a policy stands on is there already."""
    what, _, which = policy.partition("/")
    if what in ("project", "connection"):
        return True
    if what == "secret" and which in facts.secrets:
        return True
    return f"{what} {which}" in there


def _has_value(client: Client, project: str, name: str) -> bool:
    answer = client.send(secretmanager.list_values(project, name))
    return bool(answer.get("versions"))
