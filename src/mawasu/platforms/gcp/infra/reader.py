"""Asking Google what is there, kind by kind. An API that is not on yet holds nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import msgspec

from mawasu.errors import PlatformError
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
from mawasu.google.storage import Bucket
from mawasu.platforms.gcp import names
from mawasu.platforms.gcp.infra.desired import RECONCILE, REPOSITORY_LABEL, mark, repository_of, uri_of
from mawasu.platforms.gcp.infra.triggers import TAG
from mawasu.platforms.gcp.infra.words import Found, Manual, Scope
from mawasu.platforms.gcp.names import MANAGED, Cloud
from mawasu.words import Value

APPLIED = "infra/applied.json"
"""In the bucket: the mark of each resource when it was last applied."""


class Connection(Value, frozen=True):
    """Cloud Build's connection to GitHub: is it complete, what the repository is called there, and by what link."""

    connected: bool = False
    repository: str = ""
    links: tuple[Found, ...] = ()
    manual: tuple[Manual, ...] = ()


@dataclass
class Reader:
    """One method for each kind of thing; each is one call, or a few that follow from each other."""

    client: Client
    scope: Scope

    @property
    def _cloud(self) -> Cloud:
        return Cloud(self.scope.project, "", self.scope.region, self.scope.bucket)

    def _find(self, call: Call) -> Any | None:
        return quiet(lambda: self.client.find(call))

    def _list(self, call: Call, items: str) -> list[Any]:
        return quiet(lambda: list(self.client.pages(call, items))) or []

    @property
    def _at(self) -> tuple[str, str]:
        return self.scope.project, self.scope.region

    def project(self) -> str:
        """The project's number; "" where Resource Manager is not on yet."""
        try:
            answer = self.client.send(projects.get_project(self.scope.project))
        except GoogleError as error:
            if is_off(error):
                return ""  # a new project; `apis` tells the number too
            if error.status not in (403, 404):
                raise
            # Google answers 403 for a project that does not exist, too.
            message = f"there is no project {self.scope.project}, or you may not see it"
            raise PlatformError(
                message, "is gcp.project in mawasu.yaml right? `gcloud projects list` shows yours"
            ) from error
        if answer.get("state", "ACTIVE") != "ACTIVE":
            raise PlatformError(f"project {self.scope.project} is being deleted", "choose another one in gcp.project")
        return last(answer["name"])

    def apis(self) -> dict[str, str]:
        """What is on, each with the project's number, which stands in its name."""
        found = self.client.pages(serviceusage.list_enabled(self.scope.project), "services")
        return {last(one["name"]): one["name"].split("/")[1] for one in found}

    def accounts(self) -> list[Found]:
        wanted = {names.account(self._cloud, what): f"mawasu-{what}" for what in names.ACCOUNTS}
        return [
            Found("account", wanted[one["email"]], one, mark() in one.get("description", ""))
            for one in self._list(iam.list_accounts(self.scope.project), "accounts")
            if one["email"] in wanted
        ]

    def bucket(self) -> list[Found]:
        """The one of records, and those beside it."""
        wanted = [self.scope.bucket, *(names.beside(self.scope.bucket, what) for what in names.BUCKETS)]
        with ThreadPoolExecutor(len(wanted)) as pool:
            return [one for found in pool.map(self._bucket, wanted) for one in found]

    def _bucket(self, name: str) -> list[Found]:
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
        if (answer := self._find(redis.get_instance(*self._at, names.REDIS))) is None:
            return []
        labels = answer.get("labels", {})
        return [Found("redis", names.REDIS, answer, marked(labels), owner=labels.get(REPOSITORY_LABEL, ""))]

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
                Found("secret", last(one["name"]), one, marked(labels), owner=labels.get(REPOSITORY_LABEL, ""))
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
            data = Bucket(self.client, self.scope.bucket).read(APPLIED)
        except GoogleError as error:
            if error.status in (403, 404):
                return {}  # no bucket, or not ours: `bucket` tells that
            raise
        return msgspec.json.decode(data, type=dict[str, str]) if data is not None else {}

    def connection(self) -> Connection:
        if not self.scope.github:
            line = "gcp: {github: OWNER/REPOSITORY}"
            return Connection(manual=(Manual("no pushes are built: gcp.github is not set", f"add `{line}`"),))
        found = self._find(triggers.get_connection(*self._at, self.scope.connection))
        if found is None:
            return Connection(manual=(Manual("GitHub is not connected yet", self._connect()),))
        state = found.get("installationState", {})
        if state.get("stage") != "COMPLETE":
            how = state.get("actionUri") or state.get("message") or self._connect()
            return Connection(manual=(Manual("the connection to GitHub waits for your consent", f"open {how}"),))
        links = list(self._links())
        repository = links[0].handle if links else repository_of(self.scope)
        return Connection(True, repository, tuple(links))

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


def quiet(ask: Callable[[], Any]) -> Any | None:
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


def last(name: str) -> str:
    return name.rpartition("/")[2]
