"""Who calls: an API key, or a token that is kept until it has to be renewed."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable

TokenSource = Callable[[], str]
"""Gets a new token (a JWT), and may block; raises what it likes. `mawasu.client.google` makes some."""

OPAQUE = 300.0  # seconds that a token is used whose end cannot be read
EARLY = 0.2  # of a token's life is left when the next is asked for
LEAST = 10.0  # seconds; a token is not used any more when less is left
REST = 1.0  # seconds between asking in vain and asking again


def name_of(secret: str) -> str:
    """What may stand for a credential in the keys of a cache."""
    return hashlib.sha256(secret.encode()).hexdigest()[:16]


class Tokens:
    """The token of one Api. Safe for threads; who asks the source, and when, is for others to do."""

    def __init__(self, source: TokenSource, clock: Callable[[], float] = time.time) -> None:
        self.source = source
        self._clock = clock
        self._lock = threading.Lock()
        self._token = ""
        self._soon = self._end = 0.0
        self._got = 0.0
        self._failed: tuple[float, str] = (0.0, "")

    def token(self) -> tuple[str, bool]:
        """("" when there is none, whether it is time to ask for the next)."""
        with self._lock:
            now = self._clock()
            if now >= self._end - LEAST:
                return "", False
            return self._token, now >= max(self._soon, self._failed[0] + REST)

    def failure(self) -> str:
        """Why there is none, when that was found out just now: then it is not asked again."""
        with self._lock:
            at, why = self._failed
            return why if self._clock() < at + REST else ""

    def got(self, token: str) -> None:
        with self._lock:
            now = self._clock()
            end = _end(token) or now + OPAQUE
            self._token, self._end, self._soon, self._got = token, end, end - (end - now) * EARLY, now
            self._failed = (0.0, "")

    def failed(self, why: str) -> None:
        with self._lock:
            self._failed = (self._clock(), why)

    def refused(self, token: str) -> bool:
        """The API does not take it. True if it is worth asking with another."""
        with self._lock:
            if token != self._token:
                return True  # somebody else was quicker
            if self._clock() < self._got + REST:
                return False  # a new one is no better
            self._token, self._end = "", 0.0
            return True


def _end(token: str) -> float | None:
    """`exp` of a JWT, unverified: it is our own."""
    try:
        payload = token.split(".")[1]
        return float(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"])
    except (ValueError, IndexError, KeyError, TypeError):
        return None
