"""Two things about files: holding one alone, across threads and processes; writing one whole, and for good."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from mawasu.errors import CancelledError, PlatformError
from mawasu.ports import Cancel
from mawasu.store.durable import reported, sync_directory

POLL = 0.01


@contextlib.contextmanager
def locked(path: Path, *, cancel: Cancel | None = None, timeout: float | None = None) -> Iterator[None]:
    """Hold `path` (made if need be) alone, waiting for whoever has it.

    Raises CancelledError when given up, PlatformError when it is not free within `timeout` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout if timeout is not None else None
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while not taken(descriptor):
            if cancel is not None and cancel.is_set():
                raise CancelledError(f"given up while another build held {path.name}")
            if deadline is not None and time.monotonic() > deadline:
                cause = f"{path} has been held by another process for more than {timeout:g} s"
                raise PlatformError(cause, "end it, then try again")
            time.sleep(POLL)
        yield
    finally:
        os.close(descriptor)


def taken(descriptor: int) -> bool:
    """Take the lock of an open file (flock(2)) unless somebody has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def replace(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Old bytes or new ones for every reader, never a part; `durable`: on the disk when this returns."""
    with reported("write", path):
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # only its owner's (0600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            Path(name).rename(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        if durable:
            sync_directory(path.parent)
