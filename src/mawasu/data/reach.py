"""What may be read outside the repository: a pusher chooses paths, whoever runs mawasu says which of them may be."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from mawasu.errors import StepError

if TYPE_CHECKING:
    from mawasu.google.client import Client
    from mawasu.spec.feature import DataSet

CLOUD = "gs://"


@dataclass(frozen=True)
class Reach:
    """`roots`: directories and `gs://BUCKET/PREFIX`es below which a `path:` may lie, `gs://` for every bucket; None:
    anything, for one's own code. `never`: buckets that are not read whatever `roots` says.

    `client` asks Google; without one, a client of one's own is made for each reading, with the usual credentials.
    """

    roots: tuple[str, ...] | None = None
    never: frozenset[str] = frozenset()
    client: Client | None = None

    def check(self, data: DataSet) -> None:
        """Raises StepError for a source that may not be read here."""
        assert data.source.path is not None
        bucket, place = bucket_and_path(data.source.path) if is_cloud(data.source.path) else ("", "")
        if bucket in self.never:
            raise StepError(f"data set {data.name}: gs://{bucket} is mawasu's own", "keep data in another bucket")
        if self.roots is None:
            return
        if bucket:
            if not any(_holds(root, bucket, place) for root in self.roots):
                raise _refused(data, f"{CLOUD}{bucket}/{place.rpartition('/')[0]}".rstrip("/"))
            return
        if CLOUD in self.roots:
            hint = f"put the data into a bucket: `path: gs://BUCKET/…` (data.{data.name}.source in mawasu.yaml)"
            raise StepError(f"data set {data.name}: {data.source.path} is not on Google Cloud", hint)
        path = local(data).resolve()
        if not any(path.is_relative_to(Path(root).resolve()) for root in self.roots if not is_cloud(root)):
            raise _refused(data, str(path.parent))

    @contextlib.contextmanager
    def google(self) -> Iterator[Client]:
        """Who asks Google."""
        if self.client is not None:
            yield self.client
            return
        from mawasu.google.client import Client

        with Client() as client:
            yield client


def is_cloud(path: str) -> bool:
    return path.startswith(CLOUD)


def bucket_and_path(uri: str) -> tuple[str, str]:
    """`gs://bucket/a/b` → (bucket, a/b)."""
    bucket, _, path = uri.removeprefix(CLOUD).partition("/")
    return bucket, path


def local(data: DataSet) -> Path:
    """The path on this machine that a source means. Raises StepError for what is none."""
    assert data.source.path is not None
    given = data.source.path
    parts = urlsplit(given)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        path = Path(unquote(parts.path))
    elif "://" in given:
        raise StepError(f"data set {data.name}: {given} cannot be read from here", "use a path or a file:// URI")
    else:
        path = Path(given)
    if not path.is_absolute():
        raise StepError(f"data set {data.name}: the path {given} is relative", "write it from / on, or use files:")
    return path


def _holds(root: str, bucket: str, place: str) -> bool:
    """Whether a root (`gs://`, `gs://bucket`, `gs://bucket/prefix`) holds what lies there, part by part of the path."""
    if not is_cloud(root):
        return False
    allowed, prefix = bucket_and_path(root.rstrip("/") if root != CLOUD else root)
    return root == CLOUD or (allowed == bucket and f"{place}/".startswith(f"{prefix}/" if prefix else ""))


def _refused(data: DataSet, allow: str) -> StepError:
    return StepError(
        f"data set {data.name}: {data.source.path} is not below a directory or bucket that may be read here",
        f"whoever runs mawasu here allows it with `mawasu up --data {allow}`",
    )
