"""The thread in which `Api` waits for the network: one for each process, made at the first call that needs it.

Why a thread: sockets have time-outs for each read, and a look-up of a name has none at all. What a page promises is a
time for the whole; a thread that waits for another can always stop waiting.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

R = TypeVar("R")


class Portal:
    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self._run, name="mawasu.client", daemon=True).start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def wait(self, work: Coroutine[Any, Any, R], timeout: float, late: Callable[[], R]) -> R:
        """Its result, or `late()`'s after so many seconds."""
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result(timeout)
        except concurrent.futures.TimeoutError:
            future.cancel()
            return late()

    def start(self, do: Callable[[], object]) -> None:
        self.loop.call_soon_threadsafe(do)


_lock = threading.Lock()
_portal: Portal | None = None


def portal() -> Portal:
    global _portal
    with _lock:
        if _portal is None:
            _portal = Portal()
        return _portal


def _forked() -> None:
    """A child has the parent's memory, but not its threads."""
    global _lock, _portal
    _lock, _portal = threading.Lock(), None


os.register_at_fork(after_in_child=_forked)
