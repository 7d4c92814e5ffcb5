"""Connecting to a Unix socket in a directory that somebody else may write to.

The worker owns the directory of its socket: hostile code could put a symbolic link there, to a socket that only we may
reach. So the file is opened without following links (`O_PATH | O_NOFOLLOW`, open(2)) and connected to through its
descriptor, which no later rename can change.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_link(path: str) -> Iterator[str]:
    """A path that leads to the socket at `path` itself. Raises OSError when there is none, or a link."""
    if sys.platform != "linux":
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise ConnectionRefusedError(f"{path} is no socket")
        yield path
        return
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            raise ConnectionRefusedError(f"{path} is no socket")
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
