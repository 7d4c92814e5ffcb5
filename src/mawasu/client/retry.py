"""When a request is sent again: where that is safe, where it can help, and while failures are few.

| what came | sent again |
|---|---|
| no connection | yes |
| 429, or 503 with Retry-After | yes, after that time: the API says that it did nothing |
| connection cut, 502, 503, 504 | if asking twice does no harm, as with a prediction |
| 500, and every other answer | no: the same request would fail the same way |
| nothing within the time | no: there is no time left |
"""

from __future__ import annotations

import email.utils
import random
import threading
import time
from collections.abc import Callable

from mawasu.client.effects import Lost, Reply

BASE, MOST = 0.02, 0.25  # seconds to wait before the first, and before any, retry
FULL, EARNED = 10.0, 0.1  # retries saved up at most, and by each call: in the long run one call in ten is sent twice
AGAIN = frozenset({502, 503, 504})


class Budget:
    """Retries that may be spent, over all calls (a token bucket). Safe for threads."""

    def __init__(self) -> None:
        self._left = FULL
        self._lock = threading.Lock()

    def earn(self) -> None:
        with self._lock:
            self._left = min(FULL, self._left + EARNED)

    def spend(self) -> bool:
        with self._lock:
            if self._left < 1:
                return False
            self._left -= 1
            return True


def pause(
    came: Reply | Lost, *, attempt: int, left: float, safe: bool, jitter: Callable[[], float] = random.random
) -> float | None:
    """Seconds until the request may be sent again; None: never. `attempt` counts from 1, `left` is of the call's time.

    Full jitter, so that those who failed together do not come back together.
    """
    told = retry_after(came)
    if isinstance(came, Lost):
        again = came.code == "unreachable" and (safe or not came.sent)
    else:
        again = told is not None if came.status == 429 else came.status in AGAIN and (safe or told is not None)
    if not again:
        return None
    wait = (told or 0.0) + jitter() * min(MOST, BASE * 2.0 ** (attempt - 1))
    return wait if wait < left else None


def retry_after(came: Reply | Lost, now: Callable[[], float] = time.time) -> float | None:
    """Seconds of a 429's or 503's Retry-After: a number, or an HTTP date (RFC 9110 §10.2.3). None: it says nothing."""
    if isinstance(came, Lost) or came.status not in (429, 503):
        return None
    text = came.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now())
    except (ValueError, OverflowError):
        return None
