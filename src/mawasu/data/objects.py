"""Data in Cloud Storage: an object, or all objects below a prefix, of exactly the generations that were listed."""

from __future__ import annotations

import posixpath
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from mawasu.data.reach import bucket_and_path
from mawasu.errors import StepError
from mawasu.store.cloud import CloudStore
from mawasu.store.manifest import TreeFile, encode_manifest, make_manifest
from mawasu.words import Digest, digest_of_value

if TYPE_CHECKING:
    from mawasu.google.client import Client
    from mawasu.google.objects import Found
    from mawasu.google.storage import Bucket
    from mawasu.ports import Store

_THREADS = 4  # objects on their way at once: each takes room on this disk until it is stored


class Listed:
    """What lies at a `gs://` URI, unread: objects by the names that files have in the snapshot."""

    def __init__(self, data: str, uri: str, bucket: Bucket, objects: Mapping[str, Found]) -> None:
        self.data, self.uri, self._bucket, self._objects = data, uri, bucket, objects

    @property
    def bytes(self) -> int:
        return sum(one.size for one in self._objects.values())

    @property
    def files(self) -> int:
        return len(self._objects)

    @property
    def mark(self) -> str:
        """The same as long as every object is: each content that a name ever had is a generation of its own."""
        return digest_of_value([self.uri, sorted((name, one.generation) for name, one in self._objects.items())])

    def store(self, store: Store) -> Digest:
        """Store all of it as one directory; its digest. Every byte is checked against Google's own checksum.

        Raises StepError when an object changed since it was listed.
        """
        with tempfile.TemporaryDirectory(prefix="mawasu-data-") as scratch, ThreadPoolExecutor(_THREADS) as pool:
            work = (
                pool.submit(self._store, name, one, Path(scratch) / str(number), store)
                for number, (name, one) in enumerate(sorted(self._objects.items()))
            )
            files = [future.result() for future in list(work)]
        return store.put_bytes(encode_manifest(make_manifest(files, ())))

    def _store(self, name: str, one: Found, path: Path, store: Store) -> TreeFile:
        """On Google Cloud nothing passes this disk: that of a Cloud Run job is its memory."""
        if isinstance(store, CloudStore):
            digest, generation = store.adopt(self._bucket, one)
        else:
            with path.open("xb") as file:
                generation = self._bucket.receive(one.name, file.write)
            digest = store.put_file(path)
            path.unlink()
        if generation != one.generation:
            said = f"data set {self.data}: gs://{self._bucket.name}/{one.name} changed while the data was read"
            raise StepError(said, "run it again when nobody writes there")
        return TreeFile(name, digest, one.size)


def listed(data: str, uri: str, client: Client) -> Listed:
    """An object by its own name, or a prefix's objects by what follows it. Raises StepError, GoogleError."""
    from mawasu.google.objects import MissingBucketError
    from mawasu.google.storage import Bucket

    name, path = bucket_and_path(uri)
    bucket = Bucket(client, name)
    try:
        single = bucket.stat(path) if path and not path.endswith("/") else None
        if single is not None:
            return Listed(data, uri, bucket, {posixpath.basename(path): single})
        prefix = path.rstrip("/") + "/" if path else ""
        found = {one.name[len(prefix) :]: one for one in bucket.list(prefix) if not one.name.endswith("/")}
    except MissingBucketError as error:
        raise StepError(f"data set {data}: {error.message}", f"look at data.{data}.source.path") from error
    if not found:
        raise StepError(f"data set {data}: there is nothing at {uri}", f"look at data.{data}.source.path")
    _check_names(data, found)
    return Listed(data, uri, bucket, found)


def _check_names(data: str, found: Mapping[str, Found]) -> None:
    """Names of objects may be anything; files of a directory have narrower ones."""
    for name in found:
        parts = name.split("/")
        parents = ("/".join(parts[:length]) for length in range(1, len(parts)))
        if any(part in ("", ".", "..") or "\0" in part for part in parts) or any(one in found for one in parents):
            raise StepError(f"data set {data}: the object {name!a} cannot be a file of a directory", "rename it")
