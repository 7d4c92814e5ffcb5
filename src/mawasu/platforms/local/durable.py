"""Writing a small file so that readers see the old or the new text, never a part; and, where it matters, for good."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from mawasu.errors import PlatformError


def replace(path: Path, data: bytes, durable: bool) -> None:
    """Put `data` at `path` by rename. `durable`: it survives a crash of the machine once this returns."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise PlatformError(f"{path} cannot be written: {error.strerror}") from error
    if durable:
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make names that were created or removed in a directory survive a crash."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(path: Path, timeout: float) -> Iterator[None]:
    """Hold a lock file against every other process and thread. Raises PlatformError when it is not free in time."""
    deadline = time.monotonic() + timeout
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        while not _try_lock(handle):
            if time.monotonic() > deadline:
                cause = f"{path} has been held by another process for more than {timeout:g} s"
                raise PlatformError(cause, "end it, then try again")
            time.sleep(0.005)
        yield
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
