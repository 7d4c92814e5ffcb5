"""Files that appear whole, durably and once: temporary file → fsync → link → fsync of the directory.

A name never stands for half a file: `link(2)` fails when the name is taken, and what it names was synced before. After
a failed fsync the kernel may call lost pages clean (Rebello et al., "Can Applications Recover from fsync Failures?",
USENIX ATC 2020), so such a temporary file is thrown away, never synced again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from mawasu.errors import PlatformError

READ_ONLY = 0o444

_HINTS = {
    errno.ENOSPC: "free some space there (`mawasu gc` removes what nothing references), then try again",
    errno.EDQUOT: "free some space there (`mawasu gc` removes what nothing references), or raise the quota",
    errno.EFBIG: "raise the limit of this process on the size of a file (`ulimit -f`)",
    errno.EIO: "the disk reports an error: look at `dmesg`, and move the home to a healthy disk",
    errno.EROFS: "the file system is mounted read-only: look at `dmesg`, remount it for writing, then try again",
    errno.EACCES: "the home must belong to the user who runs mawasu, and be writable",
    errno.EPERM: "the home must belong to the user who runs mawasu, and be writable",
    errno.EMFILE: "raise the limit on open files (`ulimit -n`)",
}


@contextlib.contextmanager
def reported(doing: str, path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into a PlatformError: `cannot <doing> <path>: <why>` and a hint."""
    try:
        yield
    except OSError as error:
        raise refused(doing, path, error) from error


def refused(doing: str, path: Path, error: OSError) -> PlatformError:
    why = (os.strerror(error.errno) if error.errno else str(error)).lower()
    return PlatformError(f"cannot {doing} {path}: {why}", _HINTS.get(error.errno or 0, ""))


def write_all(fd: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def in_work(path: Path) -> bool:
    """Whether a living process holds its lock on a file or directory; also True if that cannot be told."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


class Area:
    """A directory on one file system in which files appear once, and for good.

    `lock` is held shared for the instant in which a file gets its name or is found to be there already, exclusively
    to remove one: whoever removes can look at a file and unlink it with nobody deciding to rely on it in between.
    Every temporary file is locked by its writer, so that what a killed process left can be told from what is in work.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.temporaries = root / "tmp"
        self._durable: set[Path] = set()

    @contextlib.contextmanager
    def locked(self, *, exclusive: bool = False) -> Iterator[None]:
        self.ensure(self.root)
        fd = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
            yield
        finally:
            os.close(fd)

    def ensure(self, directory: Path) -> None:
        """Make a directory of the area, durably.

        One that is there may have been made by a process that died before its fsync, so the first use of a directory
        in each process syncs its parent.
        """
        if directory in self._durable:
            return
        if directory == self.root:
            directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        else:
            self.ensure(directory.parent)
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700)
        sync_directory(directory.parent)
        self._durable.add(directory)

    @contextlib.contextmanager
    def temporary(self) -> Iterator[tuple[int, Path]]:
        """A new file that is gone at the end, unless `publish` gave it another name meanwhile: descriptor and path."""
        self.ensure(self.temporaries)
        path = self.temporaries / secrets.token_hex(8)
        with self.locked():
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX)
        try:
            yield fd, path
        finally:
            path.unlink(missing_ok=True)
            os.close(fd)

    def publish(self, fd: int, temporary: Path, target: Path) -> bool:
        """Sync the temporary file and give it its name; False if the name is taken.

        The name is durable after `sync_directory(target.parent)`: that is the caller's, who may have many.
        """
        self.ensure(target.parent)
        os.fchmod(fd, READ_ONLY)
        os.fsync(fd)
        with self.locked():
            try:
                os.link(temporary, target)
            except FileExistsError:
                os.utime(target)
                return False
        return True

    def create(self, target: Path, data: bytes) -> bool:
        """A whole new file, durable on return; False if the name is taken (the first stands, and is durable too)."""
        if not target.exists():
            with self.temporary() as (fd, temporary):
                write_all(fd, data)
                created = self.publish(fd, temporary, target)
        else:
            self.ensure(target.parent)
            created = False
        sync_directory(target.parent)
        return created

    def abandoned(self) -> list[Path]:
        """Temporary files whose writer is dead."""
        if not self.temporaries.is_dir():
            return []
        with self.locked(exclusive=True):
            return [path for path in sorted(self.temporaries.iterdir()) if not in_work(path)]
