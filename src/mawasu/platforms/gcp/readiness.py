"""Waiting until a revision answers, and saying why it does not."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from mawasu.errors import BlockedError, CancelledError, PlatformError
from mawasu.google import run
from mawasu.google.run import Json
from mawasu.platforms.gcp import names
from mawasu.platforms.gcp.cloudrun import CloudRun
from mawasu.platforms.gcp.containers import READY
from mawasu.ports import Cancel
from mawasu.words import Endpoint

PROVISIONING = 300.0  # seconds that Cloud Run may take on top of what the user's code may: machine, image, address
SPREADING = 300.0  # seconds until all of Google knows who may call: cloud.google.com/iam/docs/access-change-propagation
ASKING = 30.0  # seconds for one answer, which may have to start an instance

Printed = Callable[[], Sequence[str]]
"""The last lines that the revision's code printed."""


def wait_until_started(cloud_run: CloudRun, revision: str, timeout: float, printed: Printed, cancel: Cancel) -> None:
    """Until Cloud Run has seen it ready. Raises BlockedError with the end of its log, PlatformError, CancelledError."""
    began = time.monotonic()
    while True:
        found = cloud_run.revision(revision)
        condition = run.ready(found or {})
        if condition.state == "SUCCEEDED":
            return
        if condition.state == "FAILED" and condition.reason in _OURS:
            raise PlatformError(f"{revision} cannot start: {condition.message}", _OURS[condition.reason])
        if condition.state == "FAILED":
            raise _blocked(revision, found or {}, condition.message, printed())
        if found is None:
            _look_at_service(cloud_run, revision)
        if time.monotonic() - began > timeout + PROVISIONING:
            raise _blocked(revision, found or {}, f"it was not ready after {timeout:g} seconds", printed())
        if cancel.wait(cloud_run.look):
            raise CancelledError(f"{revision}: not waited for any longer")


def wait_until_it_answers(cloud_run: CloudRun, endpoint: Endpoint, printed: Printed, cancel: Cancel) -> None:
    """Until it says itself that it is ready, asked as callers of its URL are: with an identity token."""
    import httpx

    began = time.monotonic()
    with httpx.Client(base_url=endpoint.url, timeout=ASKING) as client:
        while True:
            token = cloud_run.client.id_token(endpoint.audience)
            try:
                answer = client.get(READY, headers={"authorization": f"Bearer {token}"})
            except httpx.HTTPError as error:
                status, said = 0, str(error)
            else:
                status, said = answer.status_code, f"status {answer.status_code}"
            if status == httpx.codes.OK:
                return
            if time.monotonic() - began > SPREADING:
                raise _silent(endpoint, status, said, printed)
            if cancel.wait(cloud_run.look):
                raise CancelledError(f"{endpoint.revision}: not waited for any longer")


def _silent(endpoint: Endpoint, status: int, said: str, printed: Printed) -> BlockedError | PlatformError:
    asked = f"GET {endpoint.url}{READY} gives {said}"
    if status in (401, 403):
        hint = "does a policy of the organization say who may be given roles/run.invoker?"
        return PlatformError(f"{endpoint.revision} has started, but mawasu-build may not call it: {asked}", hint)
    return _blocked(endpoint.revision, {}, asked, printed())


_OURS = {
    "CONTAINER_MISSING": "the image was deleted: push again, and it is made again",
    "CONTAINER_PERMISSION_DENIED": "`mawasu gcp apply` lets Cloud Run read the images",
    "CONTAINER_IMAGE_UNAUTHORIZED": "`mawasu gcp apply` lets Cloud Run read the images",
    "SECRETS_ACCESS_CHECK_FAILED": "set the secret's value, and let mawasu-api read it: `mawasu gcp apply`",
    "VPC_NETWORK_NOT_FOUND": "is gcp.api.network in mawasu.yaml right?",
}
"""Why a revision may fail before the user's code ran, and what then to do."""


def _look_at_service(cloud_run: CloudRun, revision: str) -> None:
    """A revision that is never made leaves its reason with the service."""
    service = cloud_run.get(names.service_of(revision))
    condition = run.ready(service)
    if condition.state == "FAILED" and not service.get("reconciling"):
        raise PlatformError(f"{revision} was not created: {condition.message}", _OURS.get(condition.reason, ""))


def _blocked(revision: str, found: Json, said: str, printed: Sequence[str]) -> BlockedError:
    """The user's own last line says more than Google's sentence about a container that did not listen."""
    lines = [line for line in printed if line.strip()]
    own = [line for line in lines if not line.startswith("mawasu: ")]
    cause = (own or lines or [said or "it printed nothing"])[-1].removeprefix("mawasu: ").strip()
    serves = any("export PORT=" in word for one in found.get("containers", []) for word in one.get("args", []))
    hint = "`GET /healthz` on $PORT must answer 200; " if serves else ""
    end = "\n".join(f"  {line}" for line in lines[-10:]) or f"  {said}"
    return BlockedError(f"{revision} was not ready: {cause}", f"{hint}the end of its log:\n{end}")
