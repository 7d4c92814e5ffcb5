"""The circuit breaker: an API that fails is left alone, and tried again by one call at a time."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Literal

State = Literal["closed", "open", "half-open"]

ROW = 5  # failures one after the other that open it …
LAST, SHARE = 20, 0.5  # … or this share of the last so many
FIRST_REST, LONGEST_REST = 1.0, 30.0  # seconds until one call tries; doubled each time it fails
LONGEST_HOLD = 60.0  # seconds; what a Retry-After may ask of us


class Breaker:
    """Safe for threads. A permit is taken before each request, and given back by exactly one of the other three."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, jitter: Callable[[], float] = random.random
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self._lock = threading.Lock()
        self._last: deque[bool] = deque(maxlen=LAST)
        self._rests = 0  # one after the other
        self._until = 0.0  # of the rest
        self._held = 0.0
        self._probing = False
        self._turn = 1  # of opening and closing: what was permitted before the last one says nothing any more

    @property
    def state(self) -> State:
        with self._lock:
            if not self._rests:
                return "closed"
            return "half-open" if self._clock() >= self._until else "open"

    def permit(self) -> int:
        """0: do not ask. Anything else is to be given back."""
        with self._lock:
            now = self._clock()
            if now < self._held:
                return 0
            if self._rests:
                if now < self._until or self._probing:
                    return 0
                self._probing = True
            return self._turn

    def good(self, permit: int) -> bool:
        """It answered. True if this closed the breaker."""
        with self._lock:
            if permit != self._turn:
                return False
            self._last.append(True)
            closed = self._rests > 0
            if closed:
                self._rests = 0
                self._change()
            return closed

    def bad(self, permit: int) -> float:
        """It did not. Seconds of the rest if this opened the breaker, else 0."""
        with self._lock:
            if permit != self._turn:
                return 0.0
            self._last.append(False)
            if not self._rests and not self._too_many():
                return 0.0
            rest = min(LONGEST_REST, FIRST_REST * 2.0**self._rests) * (0.8 + 0.4 * self._jitter())
            self._rests += 1
            self._until = self._clock() + rest
            self._change()
            return rest

    def forget(self, permit: int) -> None:
        """It was never known: the caller left."""
        with self._lock:
            if permit == self._turn:
                self._probing = False

    def hold(self, seconds: float) -> None:
        """Nobody asks before (the API's own word)."""
        with self._lock:
            self._held = max(self._held, self._clock() + min(seconds, LONGEST_HOLD))

    def _too_many(self) -> bool:
        last = list(self._last)
        in_a_row = len(last) >= ROW and not any(last[-ROW:])
        return in_a_row or (len(last) == LAST and last.count(False) >= LAST * SHARE)

    def _change(self) -> None:
        self._last.clear()
        self._probing = False
        self._turn += 1
