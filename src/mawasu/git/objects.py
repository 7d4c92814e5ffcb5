"""Reading many objects with one process: `git cat-file --batch` (git-cat-file(1), BATCH OUTPUT)."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

from mawasu.errors import CorruptError
from mawasu.git.command import command, end, environment, is_object_name, start


def blobs(repo: str | os.PathLike[str], oids: Sequence[str]) -> Iterator[bytes]:
    """The contents of the blobs, in order, one in memory at a time.

    Raises CorruptError for an object that is missing, broken or no blob.
    """
    if not oids:
        return
    for oid in oids:
        if not is_object_name(oid):
            raise CorruptError(f"{oid!r} is no object name")
    process = start(command("cat-file", "--batch", repo=repo), environment())
    assert process.stdin is not None
    assert process.stdout is not None
    # git answers while it is still being asked: two full pipes would wait for each other.
    asking = threading.Thread(target=_ask, args=(process.stdin, oids), daemon=True)
    asking.start()
    try:
        for oid in oids:
            yield _answer(process.stdout, repo, oid)
    finally:
        if process.poll() is None:
            process.kill()
        asking.join()
        end(process)


def read_files(repo: str | os.PathLike[str], oids: Iterable[str]) -> dict[str, bytes]:
    """Contents by object name, all in memory: for the small files that describe a feature."""
    wanted = list(dict.fromkeys(oids))
    return dict(zip(wanted, blobs(repo, wanted), strict=True))


def _ask(pipe: IO[bytes], oids: Sequence[str]) -> None:
    try:
        pipe.write("".join(oid + "\n" for oid in oids).encode())
        pipe.close()
    except BrokenPipeError:
        return  # git is gone; the reader says so


def _answer(pipe: IO[bytes], repo: str | os.PathLike[str], oid: str) -> bytes:
    header = pipe.readline().split()
    if len(header) == 3 and header[0].decode() == oid and header[1] == b"blob":
        size = int(header[2])
        content = pipe.read(size + 1)
        if len(content) == size + 1:
            return content[:-1]
    raise CorruptError(f"the object {oid} cannot be read from {os.fspath(repo)}", "run `git fsck` there, or push again")
