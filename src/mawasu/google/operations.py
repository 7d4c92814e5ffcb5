"""Waiting for a long-running operation (google.longrunning.Operation, google.aip.dev/151)."""

from __future__ import annotations

import time
from typing import Any

from mawasu.errors import CancelledError, PlatformError
from mawasu.google.call import Call
from mawasu.google.client import Client
from mawasu.google.faults import fault_of
from mawasu.ports import Cancel

_STATUS = {1: 499, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501, 14: 503, 16: 401}
"""HTTP's status by google.rpc.Code (its proto's comments)."""

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
    """The operation's response once it is done. `timeout` and `first` (the pause before the first look) in seconds.

    Raises the GoogleError that the same fault would be as an answer, PlatformError after the timeout, CancelledError.
    """
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
        operation = client.send(Call("GET", host, f"/{version}/{name}"), cancel)
    if error := operation.get("error"):
        status = _STATUS.get(error.get("code", 2), 500)
        raise fault_of(Call("GET", host, f"/{version}/{operation.get('name', '')}"), status, {"error": error})
    return operation.get("response", {})
