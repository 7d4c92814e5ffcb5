"""Reading a directory that someone else's code wrote, and may still be writing: nothing is followed out of it."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

from mawasu.errors import StepError

_DEEPEST = 100  # levels; each holds a descriptor while it is walked

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO put in a file's place must not block us


class Found(NamedTuple):
    """A regular file (`fd` is open and the receiver's to close), or an empty directory (`fd` is None)."""

    path: str
    fd: int | None
    executable: bool = False


def walk(root: Path) -> Generator[Found, None, None]:
    """Files and empty directories below `root`, by path.

    Every step opens one name relative to an open directory and refuses links, so a link raced into any place below
    `root` is not followed. Raises StepError that names the path of whatever cannot be stored.
    """
    fd = _open(str(root), None, root, os.O_DIRECTORY)
    try:
        yield from _below(fd, "", root, 0)
    finally:
        os.close(fd)


def open_file(path: Path) -> Found:
    """One regular file, not followed if it is a link. Raises StepError."""
    return _file(str(path), None, path)


def _below(directory: int, prefix: str, root: Path, depth: int) -> Generator[Found, None, None]:
    if depth > _DEEPEST:
        raise StepError(f"{root / prefix} is nested deeper than {_DEEPEST} directories", "write a flatter directory")
    try:
        with os.scandir(directory) as entries:
            names = sorted((entry.name, entry.stat(follow_symlinks=False).st_mode) for entry in entries)
    except FileNotFoundError as error:
        raise _changed(root / prefix) from error
    if not names and prefix:
        yield Found(prefix.rstrip("/"), None)
    for name, mode in names:
        shown = root / (prefix + name)
        _check_name(name, shown)
        if stat.S_ISDIR(mode):
            fd = _open(name, directory, shown, os.O_DIRECTORY)
            try:
                yield from _below(fd, f"{prefix}{name}/", root, depth + 1)
            finally:
                os.close(fd)
        elif stat.S_ISREG(mode):
            yield _file(name, directory, shown)._replace(path=prefix + name)
        else:
            raise _refused(shown, mode)


def _check_name(name: str, shown: Path) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        text = os.fsencode(shown).decode(errors="backslashreplace")
        raise StepError(f"{text} has a name that is not UTF-8", "give it a name in UTF-8") from None


def _file(name: str, directory: int | None, shown: Path) -> Found:
    fd = _open(name, directory, shown, 0)
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode):
        os.close(fd)
        raise _refused(shown, mode)
    return Found(str(shown), fd, bool(mode & stat.S_IXUSR))


def _open(name: str, directory: int | None, shown: Path, flags: int) -> int:
    try:
        return os.open(name, _OPEN | flags, dir_fd=directory)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):  # what O_NOFOLLOW, O_DIRECTORY and a socket give
            with contextlib.suppress(OSError):
                mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
                raise _refused(shown, mode) from error
            raise _changed(shown) from error
        if error.errno in (errno.ENOENT, errno.EACCES):
            hint = "it must be there and readable when the command ends"
            raise StepError(f"{shown} cannot be stored: {os.strerror(error.errno).lower()}", hint) from error
        raise


def _changed(shown: Path) -> StepError:
    return StepError(f"{shown} changed while it was being stored", "leave no process behind that still writes there")


def _refused(shown: Path, mode: int) -> StepError:
    kinds = {stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
    kinds |= {stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
    kinds |= {stat.S_IFDIR: "a directory", stat.S_IFREG: "a file"}
    kind = kinds.get(stat.S_IFMT(mode), "a special file")
    return StepError(f"{shown} is {kind} and cannot be stored here", "write regular files and directories only")
