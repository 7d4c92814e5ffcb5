"""The lock that makes it one daemon per home. It ends with the process that holds it, however that ends."""

from __future__ import annotations

import fcntl
import os
from typing import IO

from mawasu.errors import UsageError
from mawasu.home import Home


def lock(home: Home) -> IO[str]:
    """Hold the home for as long as the returned file is open. Raises UsageError if another daemon does."""
    home.create()
    file = home.lock.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        with file:
            holder = file.read().strip() or "unknown"
        raise UsageError(f"mawasu is up on {home.path} already (process {holder})", "`mawasu down` stops it") from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def holder(home: Home) -> int | None:
    """The process that holds the home, if one does."""
    try:
        return int(home.lock.read_text()) if is_held(home) else None
    except ValueError:  # it took the lock a moment ago and has not said who it is
        return None


def is_held(home: Home) -> bool:
    """Whether a daemon holds the home. Its process number would not tell: a zombie keeps it, in some containers for
    ever."""
    try:
        with home.lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
