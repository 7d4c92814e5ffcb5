"""Cloud Run's services as mawasu reads and changes them: never over what another build changed in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from mawasu.errors import PlatformError
from mawasu.google import run
from mawasu.google.client import Client
from mawasu.google.faults import ConflictError
from mawasu.google.operations import wait_for
from mawasu.google.run import Json
from mawasu.platforms.gcp import names
from mawasu.platforms.gcp.names import Cloud

TRIES = 10  # of a change that others make at the same time

Change = Callable[[Json], Json]
"""A service as it is → the fields to be changed, {} for none."""


class CloudRun:
    """Services and revisions by their short names. `look` is how many seconds pass between two looks.

    Raises GoogleError, and PlatformError for a service that mawasu did not make.
    """

    def __init__(self, cloud: Cloud, client: Client, look: float) -> None:
        self.cloud = cloud
        self.client = client
        self.look = look

    def find(self, service: str) -> Json | None:
        found: Json | None = self.client.find(run.get(self._name(service)))
        if found is not None and found.get("labels", {}).get("managed-by") != "mawasu":
            what = f"the Cloud Run service {service} in {self.cloud.parent} was not made by mawasu"
            raise PlatformError(what, "delete it, or choose another name for the feature")
        return found

    def get(self, service: str) -> Json:
        found = self.find(service)
        if found is None:
            raise PlatformError(f"there is no Cloud Run service {service} in {self.cloud.parent}", "push again")
        return found

    def revision(self, revision: str) -> Json | None:
        name = run.name_of(self.cloud.parent, names.service_of(revision), revision)
        found: Json | None = self.client.find(run.get(name))
        return found

    def ours(self) -> Iterator[Json]:
        """Every service of a feature's environment; no gateway, nobody else's."""
        for found in self.client.pages(run.services(self.cloud.parent), "services"):
            labels = found.get("labels", {})
            if labels.get("managed-by") == "mawasu" and "mawasu-environment" in labels:
                yield found

    def change(self, service: str, change: Change, first: Json | None = None) -> None:
        """Read, change and write, until nobody else wrote in between. `first` is the body if there is no service."""
        for _ in range(TRIES):
            try:
                if first is not None and self.find(service) is None:
                    self.client.send(run.create(self.cloud.parent, service, first))
                else:
                    found = self.get(service)
                    if body := change(found):
                        self.client.send(run.patch(self._name(service), found["etag"], body))
            except ConflictError:  # somebody was faster; or it was we, and the answer was lost
                time.sleep(self.look / 10)
            else:
                return
        raise PlatformError(f"{service} was changed by others {TRIES} times in a row", "run it again")

    def allow(self, service: str, members: Callable[[set[str]], set[str]]) -> None:
        """Let these call the service, and nobody else. `members` is told who may now."""
        for _ in range(TRIES):
            policy = self.client.send(run.get_policy(self._name(service)))
            wanted = run.callable_by(policy, members(run.callers(policy)))
            try:
                if wanted is not None:
                    self.client.send(run.set_policy(self._name(service), wanted))
            except ConflictError:
                time.sleep(self.look / 10)
            else:
                return
        raise PlatformError(f"who may call {service} was changed by others {TRIES} times in a row", "run it again")

    def delete(self, service: str) -> None:
        """Returns when it is gone. One that is not there is fine."""
        if self.find(service) is not None:
            operation = self.client.send(run.delete(self._name(service)))
            wait_for(self.client, run.HOST, "v2", operation, first=self.look)

    def _name(self, service: str) -> str:
        return run.name_of(self.cloud.parent, service)
