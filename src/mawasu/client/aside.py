"""Waiting for what nobody can be told to stop: looking up a name, a handshake, somebody's own code."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

R = TypeVar("R")


class Aside(Generic[R]):
    """Runs in a thread of its own, which does not keep the process from ending."""

    def __init__(self, do: Callable[[], R], unwanted: Callable[[R], object] = lambda _: None) -> None:
        """`unwanted` gets the result that came after everybody had stopped waiting."""
        self._do, self._unwanted = do, unwanted
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._left = False
        self._result: list[R] = []
        self._error: Exception | None = None
        threading.Thread(target=self._run, name="mawasu.client", daemon=True).start()

    def result(self, timeout: float | None) -> R:
        """Raises TimeoutError, or what it raised."""
        if not self._done.wait(timeout):
            with self._lock:
                if not self._done.is_set():
                    self._left = True
                    raise TimeoutError
        if self._error is not None:
            raise self._error
        return self._result[0]

    @property
    def done(self) -> bool:
        return self._done.is_set()

    def _run(self) -> None:
        try:
            found = self._do()
        except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
            self._error = error
        else:
            self._result.append(found)
        with self._lock:
            self._done.set()
            left = self._left
        if left and self._result:
            self._unwanted(self._result[0])
