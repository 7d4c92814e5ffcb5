"""The files of a revision, as plain objects: its code, its model, and the worker that runs a handler.

They lie below a directory of their own, which Cloud Run shows to the revision read-only, and never change: a revision
that is started again years later finds what it was judged with.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import mawasu.serving
from mawasu.errors import StepError
from mawasu.git.checkout import checkout
from mawasu.google.storage import Bucket
from mawasu.words import Digest, ServiceSpec

THREADS = 16  # requests under way: each waits for Google most of its time


class CopyingStore(Protocol):
    """What services need of `store.cloud.CloudStore`."""

    def copy_tree(self, digest: Digest, prefix: str, into: Bucket) -> object:
        """Lay a stored directory out as plain objects below `prefix`, by Google."""


def lay_out(spec: ServiceSpec, bucket: Bucket, store: CopyingStore, below: str) -> None:
    """Complete when it returns; again does no harm. Raises StepError for files that cannot be laid out."""
    with tempfile.TemporaryDirectory(prefix="mawasu-") as scratch:
        code = Path(scratch, "code")
        checkout(spec.source.repo, spec.source.tree, code)  # so that the same files are refused as elsewhere
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda path: bucket.upload(f"{below}/code/{path}", code / path), plain_files(code)))
    working = "/".join(filter(None, (below, "code", spec.source.root)))
    bucket.put(f"{working}/", b"")  # there must be one, even if all declared files lie elsewhere
    if spec.model is not None:
        store.copy_tree(spec.model, f"{below}/model", bucket)
    bucket.put(f"{below}/worker.py", worker_file())


def plain_files(root: Path) -> Iterator[str]:
    """Every file below `root`, also by each path that a link gives it: objects know no links.

    Raises StepError for a link to nothing that is there, and for one that leads into itself.
    """
    for path in sorted(root.rglob("*")):
        if path.is_symlink():
            yield from _behind(path, root)
        elif path.is_file():
            yield path.relative_to(root).as_posix()


def _behind(link: Path, root: Path) -> Iterator[str]:
    shown = link.relative_to(root).as_posix()
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise StepError(f"the link {shown} leads nowhere among the declared files", "declare its target too") from error
    if target.is_file():
        yield shown
        return
    if link.is_relative_to(target):
        raise StepError(f"the link {shown} leads to a directory it is in", "link to something beside it")
    for path in sorted(target.rglob("*")):
        if path.is_symlink():
            raise StepError(f"the link {shown} leads to a directory that holds links", "put the files there instead")
        if path.is_file():
            yield f"{shown}/{path.relative_to(target).as_posix()}"


def remove_files(bucket: Bucket, prefix: str) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda found: bucket.delete(found.name), bucket.list(prefix)))


def worker_file() -> bytes:
    """Standard library only: it runs in the user's image."""
    return Path(mawasu.serving.__file__).with_name("worker.py").read_bytes()
