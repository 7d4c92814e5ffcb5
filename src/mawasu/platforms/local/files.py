"""Two things about files: holding one alone, across threads and processes; writing one so that it stays."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from mawasu.errors import CancelledError
from mawasu.ports import Cancel


@contextlib.contextmanager
def locked(path: Path, cancel: Cancel | None = None) -> Iterator[None]:
    """Hold `path` (made if need be) alone, waiting for whoever has it. Raises CancelledError when given up."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while not taken(descriptor):
            if cancel is not None and cancel.is_set():
                raise CancelledError(f"given up while another build held {path.name}")
            time.sleep(0.02)
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


def write_durably(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Old bytes or new ones, never a part, and on the disk when this returns."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).rename(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
