"""The store in a bucket: `store/blobs/sha256/ab/cdef…`, `store/named/…`, `store/aside/…`: laid out as in a home."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mawasu.errors import CorruptError, StepError
from mawasu.google import checksums
from mawasu.google.faults import ConflictError, GoogleError, NotFoundError
from mawasu.google.objects import ChangedError, Found
from mawasu.google.storage import Bucket
from mawasu.store.layout import write_file, write_tree
from mawasu.store.manifest import PREFIX as MANIFEST
from mawasu.store.manifest import Manifest, TreeFile, decode_manifest, encode_manifest, make_manifest
from mawasu.store.names import from_path, to_blob, to_path
from mawasu.store.walk import open_file, walk
from mawasu.words import Digest, digest_of, is_digest, short

PREFIX = "store/"
_CHUNK = 2**20
_THREADS = 16  # requests under way: each waits for Google most of its time
_AHEAD = 48  # files open at once
_HINT = "restore it (the bucket keeps old versions), or build again what made it; `mawasu verify` lists what is missing"


class Laid(NamedTuple):
    """A plain object that `copy_tree` made: its path below the prefix, and what it is."""

    path: str
    digest: Digest
    executable: bool


class _EnoughError(Exception):
    """A receiver has what it wanted."""


class CloudStore:
    """`ports.Store` in a bucket. Safe for many threads and machines; digests are those of a DirectoryStore.

    Reads raise CorruptError for bytes that are missing or not what their digest says, which are then set aside;
    everything raises what `Bucket` does.
    """

    def __init__(self, bucket: Bucket, prefix: str = PREFIX) -> None:
        self.bucket = bucket
        self._blobs = f"{prefix}blobs/sha256/"
        self._named = f"{prefix}named/"
        self._aside = f"{prefix}aside/"
        self._root = f"gs://{bucket.name}/{prefix.rstrip('/')}"

    # ------------------------------------------------------------------------------------------------ writing

    def put_bytes(self, data: bytes) -> Digest:
        digest, md5 = digest_of(data), checksums.md5_of(data)
        if not self._known(digest, len(data), md5):
            self.bucket.put(self._blob(digest), data)
        return digest

    def put_file(self, path: Path) -> Digest:
        """Raises StepError when `path` is no regular file, or changes meanwhile; a link is refused, not followed."""
        found = open_file(path)
        assert found.fd is not None
        return self._place(str(path), found.fd)[0]

    def put_tree(self, root: Path) -> Digest:
        """Store a directory; the digest is its manifest's. Raises StepError naming what cannot be stored."""
        files: list[TreeFile] = []
        empty: list[str] = []
        pending: deque[Future[TreeFile]] = deque()
        with ThreadPoolExecutor(_THREADS) as pool, contextlib.closing(walk(root)) as found:
            for path, fd, executable in found:
                if fd is None:
                    empty.append(path)
                    continue
                pending.append(pool.submit(self._place_tree_file, path, fd, executable))
                if len(pending) >= _AHEAD:
                    files.append(pending.popleft().result())
            files.extend(future.result() for future in pending)
        return self.put_bytes(encode_manifest(make_manifest(files, empty)))

    def adopt(self, source: Bucket, one: Found) -> tuple[Digest, int]:
        """Store an object of another bucket: its digest, and the generation that was read, which may be a newer one.

        Its bytes are read to know their digest; the copy is made by Google, so nothing of them is kept here. Raises
        NotFoundError.
        """
        hasher = hashlib.sha256()
        generation = source.receive(one.name, hasher.update)
        digest = Digest("sha256:" + hasher.hexdigest())
        if generation == one.generation and not self._known(digest, one.size, one.md5):
            source.copy(one.name, self._blob(digest), generation, self.bucket)
        return digest, generation

    def create(self, name: str, data: bytes) -> bool:
        """Create a named object; False if the name is taken. Raises UsageError for an empty component."""
        return self.bucket.create(self._named + to_path(name), data)

    def _place_tree_file(self, path: str, fd: int, executable: bool) -> TreeFile:
        digest, size = self._place(path, fd)
        return TreeFile(path, digest, size, executable)

    def _place(self, shown: str, fd: int) -> tuple[Digest, int]:
        """Store what an open file holds, and close it: digest and size.

        It is hashed before it is sent, so that what is stored already is not sent; Google compares what is sent with
        the MD5 of that first reading, so whoever still writes to the file cannot make the digest lie.
        """
        with os.fdopen(fd, "rb") as file:
            digest, size, md5 = _hash(file)
            if not self._known(digest, size, md5):
                try:
                    self.bucket.send(self._blob(digest), file, size, md5, once=False)
                except ChangedError as error:
                    hint = "leave no process behind that still writes there"
                    raise StepError(f"{shown} changed while it was being stored", hint) from error
        return digest, size

    def _known(self, digest: Digest, size: int, md5: str) -> bool:
        """Whether the object is there, whole. One that is damaged is stored anew, in its place."""
        there = self.bucket.stat(self._blob(digest))
        return there is not None and there.size == size and there.md5 in ("", md5)

    # ------------------------------------------------------------------------------------------------ reading

    def has(self, digest: Digest) -> bool:
        """Whether the object is there, unread."""
        return self.size(digest) is not None

    def size(self, digest: Digest) -> int | None:
        """Bytes of an object; None if it is not there."""
        there = self.bucket.stat(self._blob(digest))
        return there.size if there else None

    def read(self, digest: Digest) -> bytes:
        chunks: list[bytes] = []
        self._copy(digest, chunks.append)
        return b"".join(chunks)

    def look(self, digest: Digest) -> bytes:
        """As `read`, and a bad object stays where it is."""
        data = self.bucket.read(self._blob(digest))
        if data is None:
            raise self._missing(digest)
        if digest_of(data) != digest:
            raise CorruptError(f"object {short(digest)} does not hold the bytes of its digest {digest}", _HINT)
        return data

    def manifest(self, digest: Digest) -> Manifest:
        """What a stored directory holds. Raises CorruptError, also for an object that is no directory's manifest."""
        return decode_manifest(self.read(digest), digest)

    def is_tree(self, digest: Digest) -> bool:
        """Whether the object is there and begins as a manifest does; no more of it is fetched than it takes."""
        begin = bytearray()

        def take(chunk: bytes) -> None:
            begin.extend(chunk)
            if len(begin) >= len(MANIFEST):
                raise _EnoughError

        with contextlib.suppress(NotFoundError, _EnoughError):
            self.bucket.receive(self._blob(digest), take)
        return begin.startswith(MANIFEST)

    def write_file(self, digest: Digest, path: Path) -> None:
        """Copy an object to `path`, whole or not at all; a file there is replaced."""
        write_file(self._copy, digest, path)

    def write_tree(self, digest: Digest, root: Path) -> None:
        """Lay a stored directory out at `root` (see `layout.write_tree`)."""
        write_tree(self._copy, self.manifest(digest), root, _THREADS)

    def get(self, name: str) -> bytes | None:
        return self.bucket.read(self._named + to_path(name))

    def names(self, prefix: str) -> list[str]:
        """Names of all named objects that start with `prefix`, sorted."""
        parent = prefix.rpartition("/")[0]
        top = self._named + (to_path(parent)[:-1] + "/" if parent else "")
        found = []
        for one in self.bucket.list(top):
            with contextlib.suppress(ValueError):  # somebody else's object
                found.append(from_path(one.name.removeprefix(self._named)))
        return sorted(name for name in found if name.startswith(prefix))

    def objects(self) -> Iterator[tuple[Digest, int]]:
        """Every object and its size in bytes, by what the bucket says of it."""
        for one in self.bucket.list(self._blobs):
            digest = "sha256:" + one.name.removeprefix(self._blobs).replace("/", "", 1)
            if is_digest(digest):
                yield Digest(digest), one.size

    # ------------------------------------------------------------------------------------------------ inside Google

    def copy_file(self, digest: Digest, name: str, into: Bucket) -> int:
        """Lay an object out as the plain object `name` of a bucket, by Google: its size in bytes."""
        try:
            return self.bucket.copy(self._blob(digest), name, into=into)
        except NotFoundError as error:
            raise self._missing(digest) from error

    def copy_tree(self, digest: Digest, prefix: str, into: Bucket) -> list[Laid]:
        """Lay a stored directory out as plain objects of a bucket below `prefix`, by Google; an empty one as `path/`.

        Complete when it returns. The bytes do not come here, so they are not hashed again: whoever reads them can
        compare digests. Raises CorruptError for an object that is missing or not as long as its manifest says.
        """
        top = prefix.rstrip("/") + "/"
        manifest = self.manifest(digest)

        def copy(file: TreeFile) -> Laid:
            if (size := self.copy_file(file.digest, top + file.path, into)) != file.size:
                what = f"object {short(file.digest)} has {size} bytes, not {file.size} ({file.digest})"
                raise CorruptError(f"{what} in {self._root}", _HINT)
            return Laid(file.path, file.digest, file.executable)

        with ThreadPoolExecutor(_THREADS) as pool:
            laid = list(pool.map(copy, manifest.files))
            list(pool.map(lambda path: into.put(f"{top}{path}/", b""), manifest.empty))
        return laid

    # ------------------------------------------------------------------------------------------------ inside

    def _blob(self, digest: Digest) -> str:
        return self._blobs + to_blob(digest)

    def _copy(self, digest: Digest, write: Callable[[bytes], object]) -> None:
        """Hand the object's bytes over in chunks. Raises CorruptError at the end when they are not the digest's."""
        hasher = hashlib.sha256()

        def take(chunk: bytes) -> None:
            hasher.update(chunk)
            write(chunk)

        try:
            generation = self.bucket.receive(self._blob(digest), take)
        except NotFoundError as error:
            raise self._missing(digest) from error
        if "sha256:" + hasher.hexdigest() != digest:
            where = self._set_aside(digest, generation)
            what = f"object {short(digest)} does not hold the bytes of its digest {digest}"
            raise CorruptError(f"{what}; {where}", _HINT)

    def _missing(self, digest: Digest) -> CorruptError:
        return CorruptError(f"object {digest} is not in the store {self._root}", _HINT)

    def _set_aside(self, digest: Digest, generation: int) -> str:
        """Move a bad object out of the way, unless a good one took its place meanwhile or we may not."""
        name, target = self._blob(digest), f"{self._aside}{digest[7:]}-{secrets.token_hex(4)}"
        try:
            self.bucket.copy(name, target, generation)
            self.bucket.delete(name, generation)
        except (NotFoundError, ConflictError):
            return "another one took its place"
        except GoogleError:
            return f"it could not be set aside (gs://{self.bucket.name}/{name})"
        return f"it was set aside as gs://{self.bucket.name}/{target}"


def _hash(file: BinaryIO) -> tuple[Digest, int, str]:
    """Digest, size and MD5 of a file, in one reading."""
    hasher, md5, size = hashlib.sha256(), checksums.md5(), 0
    while chunk := file.read(_CHUNK):
        hasher.update(chunk)
        md5.update(chunk)
        size += len(chunk)
    return Digest("sha256:" + hasher.hexdigest()), size, checksums.text(md5)
