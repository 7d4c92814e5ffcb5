"""Whether too many callers are a burst, which may wait, or a crowd, which may not. Pure: it is told the time.

They need not be there all the time to be a crowd: where the server itself is slower than they come, they come and go in
waves, and between two waves nobody is there for an instant.
"""

from __future__ import annotations

import math

STANDING = 0.1  # seconds after which too many are no burst any more; and without too many, after which they are one
IDLE = 0.005  # seconds without anybody after which the next ones are a burst again


class Crowd:
    """Times are in seconds, of one clock."""

    def __init__(self) -> None:
        self._moved = -math.inf  # when somebody came or was answered last
        self._full = -math.inf  # when there were too many last
        self._since = -math.inf  # and since when

    def came(self, now: float, *, alone: bool) -> None:
        """Somebody; `alone`: nobody else was there."""
        if alone and now - self._moved > IDLE:
            self._full = -math.inf
        self._moved = now

    def left(self, now: float) -> None:
        """Somebody was answered."""
        self._moved = now

    def stands(self, now: float) -> bool:
        """Asked when there are too many: whether that has been so for longer than a burst lasts."""
        if now - self._full > STANDING:
            self._since = now
        self._full = now
        return now - self._since > STANDING
