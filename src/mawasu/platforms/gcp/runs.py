"""The runs of Cloud Build that walk builds, and the branches of the repository that they come from."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from mawasu.google import cloudbuild, triggers
from mawasu.google.client import Client
from mawasu.google.faults import GoogleError, NotFoundError
from mawasu.platforms.gcp.names import Cloud

PREFIX = "cloudbuild/"
"""In the ledger a run is `cloudbuild/<id>`."""


class CloudBuildRuns:
    """`runner.claim.Runs`. `id` is this run's build of Cloud Build, "" for a run of somebody's own."""

    def __init__(self, client: Client, cloud: Cloud, id: str) -> None:
        self._client, self._cloud, self._id = client, cloud, id

    @property
    def me(self) -> str:
        return PREFIX + self._id if self._id else ""

    def alive(self, run: str) -> bool:
        found = self._find(run)
        return found is not None and found.get("status") in cloudbuild.ONGOING

    def later(self, run: str) -> bool:
        """By when Cloud Build was told of the pushes: which of two runs starts first says nothing."""
        mine, theirs = self._find(self.me), self._find(run)
        return mine is not None and theirs is not None and cloudbuild.order(theirs) > cloudbuild.order(mine)

    def retry(self, run: str) -> bool:
        """Start a dead run's build again, from the same commit; False when Cloud Build will not."""
        id = run.removeprefix(PREFIX)
        if not id or id == run:
            return False
        try:
            self._client.send(cloudbuild.retry(self._cloud.project, self._cloud.region, id))
        except GoogleError as error:
            if error.status in (400, 404):  # it was cancelled by hand, or is too old
                return False
            raise
        return True

    def _find(self, run: str) -> dict[str, Any] | None:
        id = run.removeprefix(PREFIX)
        if not id or id == run:
            return None
        found: dict[str, Any] | None = self._client.find(cloudbuild.get(self._cloud.project, self._cloud.region, id))
        return found


class Branches:
    """`runner.reconcile.Branches`, as GitHub has them, through Cloud Build's connection: no credentials of its own."""

    def __init__(self, client: Client, cloud: Cloud) -> None:
        self._client, self._cloud = client, cloud

    def __call__(self, project: str) -> Collection[str] | None:
        """`project` is what the connection calls the repository (`names.link`)."""
        if not self._cloud.connection:
            return None
        call = triggers.fetch_branches(self._cloud.project, self._cloud.region, self._cloud.connection, project)
        try:
            found = {str(name).removeprefix("refs/heads/") for name in self._client.pages(call, "refNames")}
        except NotFoundError:
            return None
        return found or None  # a repository without branches is one that could not be read
