"""Reading what is there, many calls at once. An API that is not on yet holds nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from mawasu.errors import MawasuError, PlatformError
from mawasu.google import (
    artifactregistry,
    buckets,
    iam,
    projects,
    redis,
    runjobs,
    scheduler,
    secretmanager,
    serviceusage,
    triggers,
)
from mawasu.google.call import Call
from mawasu.google.client import Client
from mawasu.google.faults import GoogleError
from mawasu.platforms.gcp import names
from mawasu.platforms.gcp.infra import grants
from mawasu.platforms.gcp.infra.desired import RECONCILE, REDIS, REPOSITORY_LABEL, mark, repository_of, uri_of
from mawasu.platforms.gcp.infra.kinds import Place, target
from mawasu.platforms.gcp.infra.triggers import TAG
from mawasu.platforms.gcp.infra.words import Facts, Found, Manual, Resource, Scope
from mawasu.platforms.gcp.names import MANAGED, Cloud

AT_ONCE = 24
"""Calls under way at one time; Google's quotas for reading are far above that."""

APPLIED = "infra/applied.json"
"""In the bucket: the mark of each resource when it was last applied."""

Read = Callable[[], list[Found]]


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
    cloud = Cloud(scope.project, "", scope.region, scope.bucket)
    here = _Reader(client, scope, cloud)
    reads: list[Callable[[], Any]] = [here.project, here.connection, here.applied, here.secrets]
    parts: list[Read] = [here.triggers, here.job]
    if foundation:
        reads[1:1] = [here.apis]
        parts += [here.accounts, here.bucket, here.repository, here.schedule]
        parts += [here.redis]
    answers = together([*reads, *parts])
    number, *rest = answers[: len(reads)]
    apis = rest.pop(0) if foundation else []
    (connected, repository, manual, links), applied, secrets = rest
    facts = Facts(
        number=number,
        apis=frozenset(apis),
        connected=connected,
        repository=repository,
        secrets=frozenset(one.name for one in secrets),
        manual=manual,
    )
    found = [one for part in answers[len(reads) :] for one in part]
    on = [Found("apis", scope.project, {"apis": dict.fromkeys(apis, True)}, True)] if foundation else []
    return Actual(facts, [*on, *links, *secrets, *found], applied)


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
    policy = _quiet(lambda: client.find(target(place, name).get))
    if policy is None:
        return None
    return Found("policy", name, grants.body_of(iam.grants_of(policy, mine(place.cloud))), True)


def mine(cloud: Cloud) -> Callable[[str], bool]:
    """Whether a member of a policy is one of mawasu's accounts in this project, a deleted one too."""
    accounts = "|".join(names.ACCOUNTS)
    ours = re.compile(
        rf"(deleted:)?serviceAccount:mawasu-({accounts})@{re.escape(cloud.project)}\.iam\.gserviceaccount\.com(\?uid=\d+)?"
    )
    return lambda member: ours.fullmatch(member) is not None


def services(client: Client, cloud: Cloud) -> list[Found]:
    """The APIs and gateways that builds made."""
    call = runjobs.list_services(cloud.project, cloud.region)
    found = _quiet(lambda: list(client.pages(call, "services"))) or []
    return [
        Found("service", _last(one["name"]), one, True, one["name"]) for one in found if marked(one.get("labels", {}))
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


def _quiet(ask: Callable[[], Any]) -> Any | None:
    """None where the API is not on: there can be nothing yet."""
    try:
        return ask()
    except GoogleError as error:
        if is_off(error):
            return None
        raise


def is_off(error: GoogleError) -> bool:
    return error.reason in ("SERVICE_DISABLED", "accessNotConfigured")


def marked(labels: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in MANAGED.items())


def _last(name: str) -> str:
    return name.rpartition("/")[2]


@dataclass
class _Reader:
    client: Client
    scope: Scope
    cloud: Cloud

    def _find(self, call: Call) -> Any | None:
        return _quiet(lambda: self.client.find(call))

    def _list(self, call: Call, items: str) -> list[Any]:
        return _quiet(lambda: list(self.client.pages(call, items))) or []

    @property
    def _at(self) -> tuple[str, str]:
        return self.scope.project, self.scope.region

    def project(self) -> str:
        try:
            answer = self.client.send(projects.get_project(self.scope.project))
        except GoogleError as error:
            if error.status not in (403, 404) or is_off(error):
                raise
            # Google answers 403 for a project that does not exist, too.
            message = f"there is no project {self.scope.project}, or you may not see it"
            raise PlatformError(
                message, "is gcp.project in mawasu.yaml right? `gcloud projects list` shows yours"
            ) from error
        if answer.get("state", "ACTIVE") != "ACTIVE":
            raise PlatformError(f"project {self.scope.project} is being deleted", "choose another one in gcp.project")
        return _last(answer["name"])

    def apis(self) -> list[str]:
        return [
            _last(one["name"]) for one in self.client.pages(serviceusage.list_enabled(self.scope.project), "services")
        ]

    def accounts(self) -> list[Found]:
        wanted = {names.account(self.cloud, what): f"mawasu-{what}" for what in names.ACCOUNTS}
        return [
            Found("account", wanted[one["email"]], one, mark() in one.get("description", ""))
            for one in self._list(iam.list_accounts(self.scope.project), "accounts")
            if one["email"] in wanted
        ]

    def bucket(self) -> list[Found]:
        name = self.scope.bucket
        try:
            answer = self._find(buckets.get_bucket(name))
        except GoogleError as error:
            if error.status != 403:
                raise
            message = f"bucket {name} is another project's, or you may not look at it"
            raise PlatformError(message, f"choose another gcp.bucket, or: {error.hint}") from error
        return [Found("bucket", name, answer, marked(answer.get("labels", {})))] if answer else []

    def repository(self) -> list[Found]:
        answer = self._find(artifactregistry.get_repository(*self._at, names.REPOSITORY))
        return [Found("repository", names.REPOSITORY, answer, marked(answer.get("labels", {})))] if answer else []

    def redis(self) -> list[Found]:
        if (answer := self._find(redis.get_instance(*self._at, REDIS))) is None:
            return []
        labels = answer.get("labels", {})
        return [Found("redis", REDIS, answer, marked(labels), owner=labels.get(REPOSITORY_LABEL, ""))]

    def job(self) -> list[Found]:
        answer = self._find(runjobs.get_job(*self._at, RECONCILE))
        return [Found("job", RECONCILE, answer, marked(answer.get("labels", {})))] if answer else []

    def schedule(self) -> list[Found]:
        answer = self._find(scheduler.get_schedule(*self._at, RECONCILE))
        return [Found("schedule", RECONCILE, answer, mark() in answer.get("description", ""))] if answer else []

    def secrets(self) -> list[Found]:
        found = []
        for one in self._list(secretmanager.list_secrets(self.scope.project), "secrets"):
            labels = one.get("labels", {})
            found.append(
                Found("secret", _last(one["name"]), one, marked(labels), owner=labels.get(REPOSITORY_LABEL, ""))
            )
        return found

    def triggers(self) -> list[Found]:
        found = []
        for one in self._list(triggers.list_triggers(*self._at), "triggers"):
            owner = one.get("repositoryEventConfig", {}).get("repository", "")
            found.append(Found("trigger", one["name"], one, TAG in one.get("tags", []), one["id"], owner))
        return found

    def applied(self) -> Mapping[str, str]:
        try:
            answer = self._find(buckets.read_json(self.scope.bucket, APPLIED))
        except GoogleError as error:
            if error.status == 403:
                return {}  # it only tells whose hand changed something; what may be read is told elsewhere
            raise
        return answer if isinstance(answer, dict) else {}

    def connection(self) -> tuple[bool, str, tuple[Manual, ...], list[Found]]:
        """Whether GitHub is connected, the repository's resource name there, what people must do, and the link."""
        if not self.scope.github:
            line = "gcp: {github: OWNER/REPOSITORY}"
            return False, "", (Manual("no pushes are built: gcp.github is not set", f"add it: `{line}`"),), []
        found = self._find(triggers.get_connection(*self._at, self.scope.connection))
        if found is None:
            return False, "", (Manual("GitHub is not connected yet", self._connect()),), []
        state = found.get("installationState", {})
        if state.get("stage") != "COMPLETE":
            how = state.get("actionUri") or state.get("message") or self._connect()
            return False, "", (Manual("the connection to GitHub waits for your consent", f"open {how}"),), []
        links = list(self._links())
        repository = links[0].handle if links else repository_of(self.scope)
        return True, repository, (), links

    def _connect(self) -> str:
        command = f"gcloud builds connections create github {self.scope.connection}"
        return (
            f"`{command} --region={self.scope.region} --project={self.scope.project}`, then open the address it shows"
        )

    def _links(self) -> Iterator[Found]:
        wanted = uri_of(self.scope.github).removesuffix(".git").lower()
        for one in self._list(triggers.list_repositories(*self._at, self.scope.connection), "repositories"):
            if one.get("remoteUri", "").removesuffix(".git").lower() == wanted:
                same = {**one, "remoteUri": uri_of(self.scope.github)}
                yield Found("link", self.scope.github, same, True, one["name"])
