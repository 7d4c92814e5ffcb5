"""A Cloud Storage bucket: objects that are whole or absent, created once or put, read verified, whatever is lost."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from mawasu.errors import PlatformError
from mawasu.google import checksums, objects
from mawasu.google.call import Call
from mawasu.google.client import Client
from mawasu.google.faults import ConflictError, GoogleError, NotFoundError
from mawasu.google.objects import ChangedError, Found, explained
from mawasu.google.transfer import CHUNK, Sending, receive

_TAKEN = 412  # the precondition `ifGenerationMatch=0` did not hold


class Bucket:
    """Safe for many threads; creating one touches nothing.

    Every method raises GoogleError (MissingBucketError when the bucket is not there) or PlatformError. A write that
    got no answer is repeated, and never takes its own work for somebody else's.
    """

    def __init__(self, client: Client, name: str, chunk: int = CHUNK) -> None:
        """`chunk` bytes are sent at once, and held in memory, by each upload: a multiple of 256 KiB."""
        self.name = name
        self._client = client
        self._chunk = chunk

    # ------------------------------------------------------------------------------------------------ writing

    def create(self, name: str, data: bytes) -> bool:
        """A new object; False if the name is taken (the first stands)."""
        return self._insert(name, data, checksums.md5_of(data), once=True)

    def put(self, name: str, data: bytes) -> None:
        """An object of these bytes, in the place of what was there."""
        self._insert(name, data, checksums.md5_of(data), once=False)

    def upload(self, name: str, path: Path, once: bool = False) -> bool:
        """A file as an object, in chunks if it is large. With `once`: False if the name is taken."""
        with path.open("rb") as file:
            size, md5 = 0, checksums.md5()
            while piece := file.read(2**20):
                md5.update(piece)
                size += len(piece)
            return self.send(name, file, size, checksums.text(md5), once=once)

    def send(self, name: str, file: BinaryIO, size: int, md5: str, *, once: bool) -> bool:
        """An open file whose size and MD5 are known, from its beginning on; as `upload`.

        Raises PlatformError, and no object appears, when the file's bytes are others by now.
        """
        if size <= self._chunk:
            file.seek(0)
            return self._insert(name, file.read(size), md5, once=once)
        mark = secrets.token_hex(8)
        sending = Sending(self._client, self.name, name, file, size, md5, once=once, mark=mark)
        with self._explained(sending.call, name):
            try:
                self._check(sending.run(self._chunk), md5)
            except ConflictError as error:
                return self._is_mine(name, mark, error)
        return True

    def copy(self, source: str, target: str, generation: int = 0, into: Bucket | None = None) -> int:
        """Inside Google, without the bytes coming here: how many they are. With `generation`, of exactly this source;
        with `into`, to another bucket.

        Raises NotFoundError when there is no `source`.
        """
        token = ""
        while True:
            answer = self._json(objects.rewrite(self.name, source, (into or self).name, target, generation, token))
            if answer.get("done"):
                return int(answer["objectSize"])
            token = answer["rewriteToken"]

    def delete(self, name: str, generation: int = 0) -> None:
        """One that is not there is fine. With `generation`, ConflictError when it is another one by now."""
        with contextlib.suppress(NotFoundError):
            self._json(objects.delete(self.name, name, generation))

    # ------------------------------------------------------------------------------------------------ reading

    def stat(self, name: str) -> Found | None:
        try:
            return objects.found(self._json(objects.stat(self.name, name)))
        except NotFoundError:
            return None

    def read(self, name: str) -> bytes | None:
        """All bytes of an object, verified; None if it is not there."""
        pieces: list[bytes] = []
        try:
            self.receive(name, pieces.append)
        except NotFoundError:
            return None
        return b"".join(pieces)

    def receive(self, name: str, write: Callable[[bytes], object]) -> int:
        """Hand the bytes over as they come: the generation that they are of.

        Raises NotFoundError; at the end PlatformError, if the bytes proved to be others than Google stores.
        """
        with self._explained(objects.media(self.name, name), name):
            return receive(self._client, self.name, name, write)

    def download(self, name: str, path: Path) -> None:
        """An object as a file, whole or not at all; a file there is replaced. Raises NotFoundError."""
        temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}")
        try:
            with temporary.open("xb") as file:
                self.receive(name, file.write)
            temporary.replace(path)
        except OSError as error:
            raise PlatformError(f"cannot write {path}: {os.strerror(error.errno or 0).lower()}") from error
        finally:
            temporary.unlink(missing_ok=True)

    def list(self, prefix: str, delimiter: str = "", start: str = "") -> Iterator[Found]:
        """Objects whose names begin with `prefix`, in the order of their names, from the name `start` on.

        With `delimiter`, those only that have none in the rest of their name (`folders` gives the others).
        """
        for answer in self._pages(prefix, delimiter, start):
            yield from map(objects.found, answer.get("items", []))

    def folders(self, prefix: str) -> tuple[str, ...]:
        """What comes between `prefix` and the next `/`, of all names that begin with it; sorted."""
        pages = self._pages(prefix, "/", "")
        return tuple(sorted({one[len(prefix) : -1] for answer in pages for one in answer.get("prefixes", [])}))

    # ------------------------------------------------------------------------------------------------ inside

    def _pages(self, prefix: str, delimiter: str, start: str) -> Iterator[dict[str, Any]]:
        token = ""
        while True:
            answer = self._json(objects.listing(self.name, prefix, delimiter, start, token))
            yield answer
            if not (token := answer.get("nextPageToken", "")):
                return

    def _json(self, call: Call) -> Any:
        with self._explained(call):
            return self._client.send(call)

    def _insert(self, name: str, data: bytes, md5: str, *, once: bool) -> bool:
        mark, boundary = secrets.token_hex(8), secrets.token_hex(16)
        call, headers, content = objects.insert(self.name, name, data, md5, boundary, once=once, mark=mark)
        sent = 0

        def attempt() -> bytes:
            nonlocal sent
            sent += 1
            return content

        with self._explained(call, name):
            try:
                self._check(objects.found(self._client.request(call, content=attempt, headers=headers).json()), md5)
            except ConflictError as error:
                if sent == 1 and error.status == _TAKEN:
                    return False
                return self._is_mine(name, mark, error)
        return True

    def _is_mine(self, name: str, mark: str, error: ConflictError) -> bool:
        """Whether the object that is in the way is what this very call made before its answer was lost."""
        there = self.stat(name)
        if there is None:
            raise error
        return there.mark == mark

    def _check(self, made: Found, md5: str) -> None:
        """Google compared the checksum before the object appeared; this is for those in between who do not."""
        if made.md5 and made.md5 != md5:
            self._client.send(objects.delete(self.name, made.name, made.generation))
            raise ChangedError(f"gs://{self.name}/{made.name}: other bytes arrived than were sent", "run it again")

    @contextlib.contextmanager
    def _explained(self, call: Call, name: str = "") -> Iterator[None]:
        try:
            yield
        except GoogleError as error:
            told = explained(self.name, name, call, error)
            if told is error:
                raise
            raise told from error
