"""Asking a new revision what its predecessor is asked most, so that it does not begin with an empty cache."""

from __future__ import annotations

import http.client
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from mawasu.platforms.local.health import UnixConnection
from mawasu.serving.memory import Asked

TIMEOUT = 2.0
"""Seconds for one answer."""
LONGEST = 10.0
"""Seconds for all: a switch does not wait for a slow model."""


def warm(previous: Sequence[Path], new: Sequence[Path]) -> int:
    """How many requests every replica of `new` was asked. None of what goes wrong here matters to a switch."""
    give_up = time.monotonic() + LONGEST
    count = 0
    for asked in _most_asked(previous):
        for replica in new:
            if time.monotonic() > give_up or not _ask(replica, asked):
                return count
        count += 1
    return count


def _most_asked(replicas: Sequence[Path]) -> list[Asked]:
    """Of the first replica that says: they are asked in turn, so all are asked much the same."""
    for replica in replicas:
        connection = UnixConnection(replica, TIMEOUT)
        try:
            connection.request("GET", "/-/top")
            answer = connection.getresponse()
            if answer.status == 200:
                return msgspec.json.decode(answer.read(), type=list[Asked])
        except (OSError, http.client.HTTPException, msgspec.MsgspecError):
            continue
        finally:
            connection.close()
    return []


def _ask(replica: Path, asked: Asked) -> bool:
    connection = UnixConnection(replica, TIMEOUT)
    target = asked.path + (b"?" + asked.query if asked.query else b"")
    try:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in asked.headers}
        connection.request(asked.method, target.decode("ascii"), asked.body or None, headers)
        connection.getresponse().read()
    except (OSError, ValueError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True
