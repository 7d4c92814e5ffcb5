"""A full or read-only disk is the machine's fault, not the data's, and says so in one line."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from mawasu.errors import PlatformError

_CAUSES = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file is larger than allowed",
    errno.EROFS: "the file system is read-only",
}


@contextlib.contextmanager
def room_for(what: str) -> Iterator[None]:
    """Turns the errors of a disk that takes no more into PlatformError; `what` names the work in it."""
    try:
        yield
    except OSError as error:
        cause = _CAUSES.get(error.errno or 0)
        if cause is None:
            raise
        raise PlatformError(
            f"{what}: {cause} ({error.filename or error.strerror})", "make room and try again"
        ) from error
