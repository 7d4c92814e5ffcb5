"""A sign of life for long work: one line that rewrites itself, on a terminal only."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(what: str, quiet: bool) -> Iterator[Callable[[str, int], None]]:
    """Yields `tick(what, count)`, which may be called as often as one likes."""
    shown = 0.0
    live = sys.stderr.isatty() and not quiet

    def tick(which: str, count: int) -> None:
        nonlocal shown
        if live and time.monotonic() - shown > 0.1:
            shown = time.monotonic()
            sys.stderr.write(f"\r\x1b[K{what} {which} {count}")
            sys.stderr.flush()

    yield tick
    if live and shown:
        sys.stderr.write("\r\x1b[K")
