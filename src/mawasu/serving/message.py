"""One HTTP exchange as our applications see it: a request comes in, a response goes out."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mawasu.serving.errors import RequestError

if TYPE_CHECKING:
    from mawasu.serving.tracing import Trace

Headers = list[tuple[bytes, bytes]]
"""Names in lower case."""

JSON = (b"content-type", b"application/json")


class CallerLeftError(Exception):
    """The connection ended before its caller had an answer, or before the request was whole."""

    status = 499  # what it is counted as


class Body:
    """A request's body while it comes in. Chunks that nobody has read yet are held back at their sender (`pull`)."""

    def __init__(self, expected: int | None, pull: Callable[[Body], None], *, whole: bool = False) -> None:
        self.expected = expected  # bytes; None: chunked
        self.on_request = False  # its sender waits for a 100 (RFC 9110 §10.1.1)
        self.complete = whole
        self.waiting = 0  # bytes that came in and were not read
        self._chunks: deque[bytes] = deque()
        self._pull = pull
        self._failed: Exception | None = None
        self._more: asyncio.Future[None] | None = None

    def feed(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self.waiting += len(chunk)
        self._wake()

    def finish(self, failed: Exception | None = None) -> None:
        self.complete = True
        self._failed = failed
        self._wake()

    async def read(self, most: int) -> bytes:
        """All of it. Raises RequestError (413) as soon as it is known to be larger than `most` bytes."""
        if self.complete and len(self._chunks) == 1 and self.waiting <= most:  # nearly always: it came with its head
            self.waiting = 0
            return self._chunks.popleft()
        if self.expected is not None and self.expected > most:
            raise RequestError(413, f"the body is larger than {most} bytes")
        body = bytearray()
        async for chunk in self:
            body += chunk
            if len(body) > most:
                raise RequestError(413, f"the body is larger than {most} bytes")
        return bytes(body)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Raises CallerLeftError, or what was wrong with the rest."""
        while True:
            while self._chunks:
                chunk = self._chunks.popleft()
                self.waiting -= len(chunk)
                yield chunk
            if self.complete:
                if self._failed is not None:
                    raise self._failed
                return
            self._pull(self)
            self._more = asyncio.get_running_loop().create_future()
            await self._more

    def _wake(self) -> None:
        if self._more is not None and not self._more.done():
            self._more.set_result(None)


@dataclass(slots=True)
class Request:
    """`path` and `query` as they were sent: escapes are kept, what was `?` is in neither. `trace`: None where nobody
    traces it."""

    method: str
    path: bytes
    query: bytes
    headers: Headers
    body: Body
    trace: Trace | None = None

    def header(self, name: bytes) -> bytes:
        """The first of that name, b"" when there is none."""
        for key, value in self.headers:
            if key == name:
                return value
        return b""


def unread(request: Request, body: bytes) -> Request:
    """With its body, which was read, as if it had not been."""
    again = Body(len(body), lambda _: None, whole=not body)
    if body:
        again.feed(body)
        again.finish()
    return Request(request.method, request.path, request.query, request.headers, again, request.trace)


@dataclass(slots=True)
class Response:
    """`body` is whole, or comes in pieces; a piece that raises cuts the connection, so that nobody takes half an answer
    for a whole one. `content-length` and `transfer-encoding` are the server's to write, except that pieces with a
    `content-length` among the headers are sent as they are."""

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes | AsyncIterable[bytes] = b""


App = Callable[[Request], Awaitable[Response]]


@dataclass(slots=True)
class Traffic:
    """What draining needs to see and say."""

    requests: int = 0  # that ever came in
    active: int = 0  # under way now
    draining: bool = False  # answers then say that their connection closes


def refused(error: RequestError) -> Response:
    headers = [(name.encode(), value.encode()) for name, value in error.headers()]
    return Response(error.status, [JSON, *headers], error.body())


async def dispose(response: Response) -> None:
    """Nobody will read (more of) its body."""
    close = getattr(response.body, "aclose", None)
    if close is not None:
        await close()


async def gathered(response: Response, most: int) -> Response:
    """With its body in one piece, if it says that this is of `most` bytes or fewer; one that breaks off is refused."""
    if isinstance(response.body, bytes):
        return response
    length = next((value for name, value in response.headers if name == b"content-length"), b"")
    if not length.isdigit() or int(length) > most:
        return response
    try:
        body = b"".join([piece async for piece in response.body])
    except RequestError as error:
        return refused(error)
    finally:
        await dispose(response)
    return Response(response.status, [pair for pair in response.headers if pair[0] != b"content-length"], body)
