"""Large objects on their way: uploads that go on where they were cut, downloads that do, both verified."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from mawasu.errors import PlatformError
from mawasu.google import checksums, objects
from mawasu.google.call import Call
from mawasu.google.client import AGAIN, TRIES, Client, LostError
from mawasu.google.faults import GoogleError
from mawasu.google.objects import Found

if TYPE_CHECKING:
    import httpx

CHUNK = 8 * 2**20  # bytes; what cloud.google.com/storage/docs/resumable-uploads recommends at least
_GONE = (404, 410)  # a session that Google has forgotten: it lives for a week, or until it is done


class Sending:
    """One resumable upload. `run` gives the object as Google has it.

    Raises ConflictError when `once` is set and the name is taken.
    """

    def __init__(
        self, client: Client, bucket: str, name: str, file: BinaryIO, size: int, md5: str, *, once: bool, mark: str
    ) -> None:
        self._client, self._file, self._size = client, file, size
        self._beginning = objects.start(bucket, name, size, md5, once=once, mark=mark)
        self._failures = 0  # since bytes last arrived
        self._fault: PlatformError | None = None  # the last one

    @property
    def call(self) -> Call:
        """How it begins."""
        return self._beginning.call

    def run(self, chunk: int) -> Found:
        session, offset = self._begin(), 0
        while True:
            self._file.seek(offset)
            data = self._file.read(min(chunk, self._size - offset))
            if not data:
                raise PlatformError(f"a file shrank to {offset} bytes while it was uploaded", "upload it again")
            response = self._send(session, data, offset) or self._ask(session)
            if response is None:  # the session is gone: from the beginning
                self._failed()
                session, offset = self._begin(), 0
                continue
            if response.status_code != 308:
                return objects.found(response.json())
            before, offset = offset, objects.persisted(response.headers.get("range", ""))
            if offset > before:
                self._failures = 0
            else:
                self._failed()

    def _begin(self) -> Call:
        call, headers, content = self._beginning
        response = self._client.request(call, content=content, headers=headers)
        return objects.session(response.headers["location"])

    def _send(self, session: Call, data: bytes, offset: int) -> httpx.Response | None:
        """The answer to a chunk; None when it is not known what became of it."""
        headers = objects.chunk(offset, len(data), self._size)
        try:
            return self._client.request(session, content=data, headers=headers, fine=_fine)
        except LostError as error:
            self._fault = error
        except GoogleError as error:
            if error.status not in AGAIN and error.status not in _GONE:
                raise
            self._fault = error
        return None

    def _ask(self, session: Call) -> httpx.Response | None:
        """How far the session came: 308, or the finished object; None when it is gone."""
        question = msgspec.structs.replace(session, single=False)
        try:
            return self._client.request(question, content=b"", headers=objects.progress(self._size), fine=_fine)
        except GoogleError as error:
            if error.status not in _GONE:
                raise
            return None

    def _failed(self) -> None:
        self._failures += 1
        if self._failures == TRIES:
            raise self._fault or PlatformError("an upload does not come forward", "run it again later")
        self._client.pause(self._failures)


def receive(client: Client, bucket: str, name: str, write: Callable[[bytes], object]) -> int:
    """Hand an object's bytes over in order, each once, however often the connection is cut: their generation.

    What is read is one generation from beginning to end, and is what Google's checksum says. Raises NotFoundError, and
    PlatformError at the end when the bytes are wrong; the receiver then throws away what it has.
    """
    import httpx

    generation = offset = failures = 0
    size, expected, checksum = -1, "", checksums.md5()
    while offset != size:
        headers = {"accept-encoding": "identity"}  # the bytes as they are stored, countable for the next range
        if offset:
            headers["range"] = f"bytes={offset}-"
        response = client.request(objects.media(bucket, name, generation), headers=headers, stream=True)
        before = offset
        try:
            if size < 0:
                generation = int(response.headers.get("x-goog-generation", 0))
                size = int(response.headers.get("x-goog-stored-content-length") or response.headers["content-length"])
                expected, checksum = _expected(response.headers.get("x-goog-hash", ""))
            elif offset and response.status_code != 206:
                raise PlatformError(f"gs://{bucket}/{name}: a range was asked for, all came", "run it again")
            for piece in response.iter_raw():  # as they come: of what is cut off, all that came counts
                write(piece)
                checksum.update(piece)
                offset += len(piece)
        except httpx.HTTPError as error:
            failures = 1 if offset > before else failures + 1
            if failures == TRIES:
                message = f"gs://{bucket}/{name}: the connection is cut again and again ({error})"
                raise PlatformError(message, "is the network up, and the proxy right?") from error
            client.pause(failures)
        finally:
            response.close()
        if offset > size:
            break
    if checksums.text(checksum) != expected or offset != size:
        raise PlatformError(f"gs://{bucket}/{name}: what arrived is not what Google says it stores", "run it again")
    return generation


def _expected(header: str) -> tuple[str, checksums.Checksum]:
    """The strongest checksum Google tells, and what computes it."""
    told = objects.hashes(header)
    return (told["md5"], checksums.md5()) if "md5" in told else (told.get("crc32c", ""), checksums.Crc32c())


def _fine(status: int) -> bool:
    return status < 300 or status == 308
