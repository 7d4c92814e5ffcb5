"""Laying stored bytes out as files: whole or not at all, wherever the bytes come from."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mawasu.errors import PlatformError
from mawasu.store.durable import READ_ONLY, reported, sync_directory, write_all
from mawasu.store.manifest import Manifest, TreeFile
from mawasu.words import Digest

Copy = Callable[[Digest, Callable[[bytes], object]], None]
"""Hands an object's bytes over in chunks. Raises CorruptError, maybe only at the end, if they are not the digest's."""


def write_file(copy: Copy, digest: Digest, path: Path) -> None:
    """Write an object to `path`, whole or not at all; a file there is replaced."""
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}")
    with reported("write", path):
        try:
            _write_new(copy, digest, temporary, 0o644)
            temporary.rename(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_tree(copy: Copy, manifest: Manifest, root: Path, threads: int) -> None:
    """Lay a stored directory out at `root`: copies, modes 0444 or 0555, directories 0755.

    Raises CorruptError, or PlatformError when `root` exists; then nothing appears. Files are synced before the
    directory gets its name, so one that is there is complete, also after a power cut.
    """
    with reported("lay a stored directory out at", root):
        if root.exists():
            raise PlatformError(f"{root} exists already", "a stored directory is laid out at a new path")
        root.parent.mkdir(parents=True, exist_ok=True)
        with _unfinished(root) as temporary:
            _lay_out(copy, manifest, temporary, threads)
            temporary.rename(root)
        sync_directory(root.parent)


def _lay_out(copy: Copy, manifest: Manifest, root: Path, threads: int) -> None:
    directories = {root, *(root / path for path in manifest.empty)}
    for path in (*manifest.empty, *(file.path for file in manifest.files)):
        directories.update(parent for parent in (root / path).parents if parent.is_relative_to(root))
    for directory in sorted(directories):
        directory.mkdir(exist_ok=True)
        directory.chmod(0o755)

    def write(file: TreeFile) -> None:
        mode = READ_ONLY | (0o111 if file.executable else 0)
        _write_new(copy, file.digest, root / file.path, mode, sync=True)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(write, manifest.files))
        list(pool.map(sync_directory, directories))


def _write_new(copy: Copy, digest: Digest, path: Path, mode: int, *, sync: bool = False) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        copy(digest, lambda chunk: write_all(fd, chunk))
        os.fchmod(fd, mode)
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def _unfinished(root: Path) -> Iterator[Path]:
    """A directory beside `root` to be renamed to it, removed if it was not; locked as long as its writer lives."""
    temporary = root.with_name(f".{root.name[:100]}.{secrets.token_hex(4)}")
    temporary.mkdir(mode=0o700)
    fd = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield temporary
    finally:
        os.close(fd)
        if temporary.exists() and stat.S_ISDIR(temporary.lstat().st_mode):
            shutil.rmtree(temporary)
