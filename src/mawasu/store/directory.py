"""The store as a directory: `blobs/sha256/ab/cdef…` by digest, `named/…` by name, `aside/` for what proved bad."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from mawasu.errors import CorruptError
from mawasu.store.durable import Area, reported, sync_directory, write_all
from mawasu.store.layout import write_file, write_tree
from mawasu.store.manifest import PREFIX, Manifest, TreeFile, decode_manifest, encode_manifest, make_manifest
from mawasu.store.names import from_path, to_blob, to_path
from mawasu.store.walk import open_file, walk
from mawasu.words import Digest, digest_of, is_digest, short

CHUNK = 2**20
_THREADS = 4  # files in work at once: fsyncs that wait together share the disk's flush
_AHEAD = 32  # files open at once


class DirectoryStore:
    """`ports.Store` on a local file system. Creating one touches nothing; any number of processes may use one root.

    Writes raise PlatformError when the disk is full, read-only or broken, and then leave nothing but temporary files,
    which `clean` removes. Reads raise CorruptError for bytes that are missing or not what their digest says.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._area = Area(root)
        self._blobs = root / "blobs" / "sha256"
        self._named = root / "named"
        self._aside = root / "aside"

    # ------------------------------------------------------------------------------------------------ writing

    def put_bytes(self, data: bytes) -> Digest:
        with reported("store an object in", self.root):
            digest = self._place_bytes(data)
            sync_directory(self._path(digest).parent)
        return digest

    def put_file(self, path: Path) -> Digest:
        """Raises StepError when `path` is no regular file; a link is refused, not followed."""
        with reported("store an object in", self.root):
            found = open_file(path)
            assert found.fd is not None
            digest, _ = self._place_open(found.fd)
            sync_directory(self._path(digest).parent)
        return digest

    def put_tree(self, root: Path) -> Digest:
        """Store a directory; the digest is its manifest's. Raises StepError naming what cannot be stored."""
        files: list[TreeFile] = []
        empty: list[str] = []
        pending: deque[Future[TreeFile]] = deque()
        with (
            reported("store a directory in", self.root),
            ThreadPoolExecutor(_THREADS) as pool,
            contextlib.closing(walk(root)) as found,
        ):
            for path, fd, executable in found:
                if fd is None:
                    empty.append(path)
                    continue
                pending.append(pool.submit(self._place_tree_file, path, fd, executable))
                if len(pending) >= _AHEAD:
                    files.append(pending.popleft().result())
            files.extend(future.result() for future in pending)
            # Names of files are durable before the manifest has one: a manifest that is there is complete.
            list(pool.map(sync_directory, {self._path(file.digest).parent for file in files}))
        return self.put_bytes(encode_manifest(make_manifest(files, empty)))

    def create(self, name: str, data: bytes) -> bool:
        """Create a named object, durably; False if the name is taken. Raises UsageError for an empty component."""
        target = self._named / to_path(name)
        with reported(f"create {name} in", self.root):
            return self._area.create(target, data)

    def _place_tree_file(self, path: str, fd: int, executable: bool) -> TreeFile:
        digest, size = self._place_open(fd)
        return TreeFile(path, digest, size, executable)

    def _place_bytes(self, data: bytes) -> Digest:
        digest = digest_of(data)
        if not self._known(digest, len(data)):
            with self._area.temporary() as (fd, temporary):
                write_all(fd, data)
                self._area.publish(fd, temporary, self._path(digest))
        return digest

    def _place_open(self, source: int) -> tuple[Digest, int]:
        """Store what an open file holds, and close it: digest and size of the bytes that were read.

        A large file is hashed before it is copied, so that one that is stored already costs one read and no space;
        and while it is copied, since whoever wrote it may still do so.
        """
        try:
            first = _read(source, CHUNK)
            if len(first) < CHUNK:
                return self._place_bytes(first), len(first)
            digest, size = _hash(source, None)
            if not self._known(digest, size):
                with self._area.temporary() as (fd, temporary):
                    digest, size = _hash(source, fd)
                    self._area.publish(fd, temporary, self._path(digest))
            return digest, size
        finally:
            os.close(source)

    def _known(self, digest: Digest, size: int) -> bool:
        """Whether the object is there; it is made young, so that collection leaves it to who is about to refer to it.

        An object of another size was damaged: it is set aside, and stored anew.
        """
        path = self._path(digest)
        if not path.exists():
            return False
        with self._area.locked():
            try:
                found = path.stat()
            except FileNotFoundError:
                return False
            if found.st_size == size:
                os.utime(path)
                return True
        self._set_aside(digest, found.st_ino)
        return False

    # ------------------------------------------------------------------------------------------------ reading

    def has(self, digest: Digest) -> bool:
        """Whether the object is there, unread."""
        return self._path(digest).is_file()

    def size(self, digest: Digest) -> int | None:
        """Bytes of an object; None if it is not there."""
        try:
            return self._path(digest).stat().st_size
        except FileNotFoundError:
            return None

    def read(self, digest: Digest) -> bytes:
        chunks: list[bytes] = []
        self._copy(digest, chunks.append)
        return b"".join(chunks)

    def manifest(self, digest: Digest) -> Manifest:
        """What a stored directory holds. Raises CorruptError, also for an object that is no directory's manifest."""
        return decode_manifest(self.read(digest), digest)

    def is_tree(self, digest: Digest) -> bool:
        """Whether the object is there and begins as a manifest does."""
        try:
            with self._path(digest).open("rb") as file:
                return file.read(len(PREFIX)) == PREFIX
        except FileNotFoundError:
            return False

    def write_file(self, digest: Digest, path: Path) -> None:
        """Copy an object to `path`, whole or not at all; a file there is replaced."""
        write_file(self._copy, digest, path)

    def write_tree(self, digest: Digest, root: Path) -> None:
        """Lay a stored directory out at `root` (see `layout.write_tree`)."""
        write_tree(self._copy, self.manifest(digest), root, _THREADS)

    def get(self, name: str) -> bytes | None:
        with reported(f"read {name} in", self.root):
            try:
                return (self._named / to_path(name)).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def names(self, prefix: str) -> list[str]:
        """Names of all named objects that start with `prefix`, sorted."""
        parent = prefix.rpartition("/")[0]
        top = self._named / to_path(parent)[:-1] if parent else self._named
        with reported("list", top):
            found = []
            for path in (Path(at) / name for at, _, names in os.walk(top) for name in names):
                with contextlib.suppress(ValueError):  # somebody else's file
                    found.append(from_path(path.relative_to(self._named).as_posix()))
            return sorted(name for name in found if name.startswith(prefix))

    def _path(self, digest: Digest) -> Path:
        return self._blobs / to_blob(digest)

    def _copy(self, digest: Digest, write: Callable[[bytes], object]) -> None:
        """Hand the object's bytes over in chunks. Raises CorruptError at the end when they are not the digest's."""
        hasher = hashlib.sha256()
        with reported("read an object in", self.root):
            try:
                fd = os.open(self._path(digest), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                hint = "restore it from a backup, or build again what made it; `mawasu verify` lists what is missing"
                raise CorruptError(f"object {digest} is not in the store {self.root}", hint) from None
            try:
                inode = os.fstat(fd).st_ino
                while chunk := os.read(fd, CHUNK):
                    hasher.update(chunk)
                    write(chunk)
            finally:
                os.close(fd)
        if "sha256:" + hasher.hexdigest() != digest:
            raise self._corrupt(digest, self._set_aside(digest, inode))

    # ------------------------------------------------------------------------------------------------ keeping house

    def objects(self) -> Iterator[tuple[Digest, float]]:
        """Every object and when it was last put (seconds since the epoch), in no order."""
        for shard in sorted(self._blobs.glob("[0-9a-f][0-9a-f]")):
            with os.scandir(shard) as entries:
                for entry in entries:
                    name = f"sha256:{shard.name}{entry.name}"
                    with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                        if is_digest(name):
                            yield Digest(name), entry.stat(follow_symlinks=False).st_mtime

    def check(self, digest: Digest) -> int:
        """Read the whole object and leave it where it is: its size. Raises CorruptError."""
        hasher, size = hashlib.sha256(), 0
        with reported("read an object in", self.root), self._path(digest).open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK):
                hasher.update(chunk)
                size += len(chunk)
        if "sha256:" + hasher.hexdigest() != digest:
            raise self._corrupt(digest, None)
        return size

    def remove(self, digest: Digest, before: float) -> int | None:
        """Remove an object that was last put before this time: the bytes freed; None if it is younger or gone.

        Whoever puts an object that is there makes it young under the same lock, so it cannot be taken from them.
        """
        path = self._path(digest)
        with reported("remove an object in", self.root), self._area.locked(exclusive=True):
            try:
                found = path.stat()
            except FileNotFoundError:
                return None
            if found.st_mtime >= before:
                return None
            path.unlink()
            return found.st_size

    def forget(self, name: str, before: float) -> bool:
        """Remove a named object that was created before this time."""
        path = self._named / to_path(name)
        with reported(f"remove {name} in", self.root), self._area.locked(exclusive=True):
            try:
                old = path.stat().st_mtime < before
            except FileNotFoundError:
                return False
            if old:
                path.unlink()
            return old

    def clean(self, *, dry_run: bool = False) -> list[Path]:
        """Remove the temporary files of writers that are dead: which they were."""
        with reported("remove temporary files in", self.root):
            found = self._area.abandoned()
            for path in found:
                if not dry_run:
                    path.unlink(missing_ok=True)
        return found

    def _set_aside(self, digest: Digest, inode: int) -> Path | None:
        """Move a bad object out of the way, unless a good one took its place meanwhile or the disk takes no writes."""
        path = self._path(digest)
        target = self._aside / f"{digest[7:]}-{secrets.token_hex(4)}"
        try:
            with self._area.locked(exclusive=True):
                if path.stat().st_ino != inode:
                    return None
                self._area.ensure(self._aside)
                path.rename(target)
        except OSError:
            return None
        return target

    def _corrupt(self, digest: Digest, aside: Path | None) -> CorruptError:
        where = f"; it was set aside as {aside}" if aside else f" ({self._path(digest)})"
        hint = "restore it from a backup, or build again what made it; then look at the disk (`dmesg`)"
        return CorruptError(f"object {short(digest)} does not hold the bytes of its digest {digest}{where}", hint)


def _hash(source: int, copy: int | None) -> tuple[Digest, int]:
    """Digest and size of an open file from its beginning on, copied to another one on the way."""
    hasher, size = hashlib.sha256(), 0
    os.lseek(source, 0, os.SEEK_SET)
    while chunk := os.read(source, CHUNK):
        hasher.update(chunk)
        size += len(chunk)
        if copy is not None:
            write_all(copy, chunk)
    return Digest("sha256:" + hasher.hexdigest()), size


def _read(fd: int, size: int) -> bytes:
    """As many bytes as asked for, fewer only at the end of the file."""
    chunks = []
    while size and (chunk := os.read(fd, size)):
        chunks.append(chunk)
        size -= len(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
