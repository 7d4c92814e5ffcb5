"""Directories for one run each: made, owned by whoever runs, swept when their owner was killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mawasu.errors import PlatformError
from mawasu.platforms.local.files import taken

_LOCK = ".lock"


@contextlib.contextmanager
def workspace(parent: Path) -> Iterator[Path]:
    """A new directory below `parent`, gone afterwards. Locked, so that `sweep` knows it is in use."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        path = Path(tempfile.mkdtemp(dir=parent))
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise PlatformError(f"cannot make a workspace in {parent}: {error.strerror}", "is the disk full?") from error
    try:
        taken(lock)
        yield path
    finally:
        remove(path)
        os.close(lock)


def sweep(parent: Path) -> None:
    """Remove the workspaces of processes that were killed."""
    for path in parent.iterdir() if parent.is_dir() else ():
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC)
            try:
                if taken(lock):
                    remove(path)
            finally:
                os.close(lock)


def remove(path: Path) -> None:
    """Remove a directory whatever modes the user's code left in it; never follows a link."""
    shutil.rmtree(path, ignore_errors=True)
    if not path.exists():
        return
    for top, directories, _ in os.walk(path):
        for name in directories:
            with contextlib.suppress(OSError):
                os.chmod(os.path.join(top, name), 0o700, follow_symlinks=False)  # noqa: PTH101, PTH118 - no links
    shutil.rmtree(path, ignore_errors=True)
