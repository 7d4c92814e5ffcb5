"""How long whoever asks will wait, by the headers of the request."""

from __future__ import annotations

import math

from mawasu.serving.errors import RequestError
from mawasu.serving.message import Headers

DEADLINE = b"mawasu-deadline"
"""Milliseconds that the caller waits, counted from when the request is here."""
ENVOYS = b"x-envoy-expected-rq-timeout-ms"
"""What the gateway says of its own patience (envoyproxy.io, HTTP header manipulation); 0 is no limit."""
PATIENCE = (DEADLINE, ENVOYS)


def patience(headers: Headers) -> float:
    """Seconds; infinite when nobody says. Raises RequestError (400)."""
    least = math.inf
    for name, value in headers:
        if name in PATIENCE:
            if not value.isdigit() or len(value) > 9:
                raise RequestError(400, f"{name.decode()} is not a number of milliseconds")
            least = min(least, int(value) if name == DEADLINE else int(value) or math.inf)
    return least / 1000
