"""Waiting for a long-running operation (google.longrunning.Operation, google.aip.dev/151)."""

from __future__ import annotations

import time
from typing import Any

from mawasu.errors import CancelledError, PlatformError
from mawasu.google.call import Call
from mawasu.google.client import Client
from mawasu.google.faults import GoogleError
from mawasu.ports import Cancel

FIRST, LONGEST = 0.5, 5.0  # seconds between looks


def wait_for(
    client: Client,
    host: str,
    version: str,
    operation: dict[str, Any],
    *,
    timeout: float = 600.0,
    first: float = FIRST,
    cancel: Cancel | None = None,
) -> Any:
    """The operation's response once it is done. Raises GoogleError with what it says went wrong, PlatformError."""
    began, pause = time.monotonic(), first
    while not operation.get("done"):
        name = operation["name"]
        if time.monotonic() - began > timeout:
            raise PlatformError(f"{host}: {name} is not done after {timeout:.0f} s", "run it again: it is found again")
        if cancel is not None and cancel.wait(pause):
            raise CancelledError(f"{host}: waiting for {name} was given up")
        if cancel is None:
            time.sleep(pause)
        pause = min(LONGEST, pause * 1.5)
        operation = client.send(Call("GET", host, f"/{version}/{name}"))
    if error := operation.get("error"):
        raise GoogleError(f"{host}: {error.get('message', error)}", reason=str(error.get("code", "")))
    return operation.get("response", {})
