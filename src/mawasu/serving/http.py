"""HTTP/1.1 on asyncio: llhttp's parser (`httptools`, the one of Node), and the application in the same thread.

Written because a request to a small model is mostly hand-overs: servers that parse in a thread of their own cost each
request three more of them (decisions/0024). What is strict here is llhttp's strictness: a request with two lengths, a
length and chunks, or a folded header is refused. RFC 9110 and 9112; HTTP/2 and TLS are the gateway's.
"""

from __future__ import annotations

import asyncio
import http
import sys
import time
import traceback
from collections import deque
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from email.utils import formatdate
from time import perf_counter
from types import MappingProxyType

import httptools

from mawasu.serving.errors import RequestError, ToldError
from mawasu.serving.message import App, Body, CallerLeftError, Request, Response, Traffic, dispose, refused
from mawasu.serving.metrics import KIND, Family, Requests, text

READ = 256 * 1024  # bytes taken from a connection at once
HEAD = 64 * 1024  # bytes of one request's head
AHEAD = 256 * 1024  # bytes of a body that may wait for its reader
PIPELINE = 8  # requests of one connection that may wait for the one before them
LINGER = 64 * 2**20  # bytes of a refused body that are read and dropped, so that its sender sees the refusal
SLOW = 30.0  # seconds in which something of a request that has begun must arrive

STATUS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in http.HTTPStatus}
NO_BODY = frozenset((204, 304))
OWN = b"/-/"  # paths that answer for the server itself
CARRIED = b"x-request-id"
"""The gateway gives a number of its own to everything it hands on (envoyproxy.io, HTTP connection manager)."""


class Clock:
    """The `Date` header, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._line = b""

    def line(self) -> bytes:
        now = int(time.time())
        if now != self._second:
            self._second = now
            self._line = f"date: {formatdate(now, usegmt=True)}\r\n".encode()
        return self._line


class Listener:
    """All connections of one server, which share an application. `measure` is what the application counts."""

    def __init__(
        self,
        app: App,
        traffic: Traffic,
        requests: Requests | None = None,
        measure: Callable[[], Iterable[Family]] = tuple,
        labels: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.app = app
        self.traffic = traffic
        self.requests = requests or Requests()
        self._measure = measure
        self._labels = labels
        self._at_socket = False
        self.clock = Clock()
        self.connections: set[Connection] = set()
        self.buffer = memoryview(bytearray(READ))
        self._loop = asyncio.get_running_loop()
        self._server: asyncio.Server | None = None
        self._sweep: asyncio.TimerHandle | None = None

    async def listen(self, path: str = "", port: int = 0) -> None:
        """On a Unix socket, in place of whoever listened there before; or on a port of every interface."""
        if path:
            self._at_socket = True
            self._server = await self._loop.create_unix_server(lambda: Connection(self), path, backlog=1024)
        else:
            everywhere = "0.0.0.0"  # noqa: S104 - where a container's port is reached from
            self._server = await self._loop.create_server(lambda: Connection(self), everywhere, port, backlog=1024)
        self._look()

    async def close(self) -> None:
        """No new connections, and an end to those that are idle."""
        if self._server is not None:
            self._server.close()
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in list(self.connections):
            connection.close()
        while self.connections:
            await asyncio.sleep(0)

    async def own(self, request: Request) -> Response:
        """For whoever runs the server: what came through the gateway, by a path that is a template, finds nothing."""
        if self._at_socket and request.header(CARRIED):  # Cloud Run's gateway cannot reach these: it keeps the prefix
            raise RequestError(404, "there is nothing at this address")
        if request.path == b"/-/metrics":
            families = (*self.requests.families(), *self._measure())
            return Response(200, [(b"content-type", KIND.encode())], text(families, self._labels))
        return await self.app(request)

    def _look(self) -> None:
        """Who began to send a request and stopped would hold a connection for ever."""
        oldest = self._loop.time() - SLOW
        for connection in list(self.connections):
            connection.give_up(oldest)
        self._sweep = self._loop.call_later(SLOW / 6, self._look)


class Connection(asyncio.BufferedProtocol):
    """One connection: requests are answered one after the other, in their order."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._loop = listener._loop
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # from the first callback on
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._in_head = True
        self._head = 0  # bytes
        self._body: Body | None = None  # that is coming in
        self._last = False  # no further request is read
        self._unread = False  # what follows this head cannot be read
        self._queue: deque[tuple[Request, bool, bool]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._keep = True
        self._old = False  # HTTP/1.0
        self._dropped = 0
        self._heard = 0.0
        self._room: asyncio.Future[None] | None = None  # set while the caller reads slower than we write

    # ------------------------------------------------------------------------------------ asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._listener.connections.add(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """One for all connections: what came is read before the next one's comes."""
        return self._listener.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._heard = self._loop.time()
        if self._last and self._body is None:
            self._drop(nbytes)
            return
        try:
            self._parser.feed_data(self._listener.buffer[:nbytes])
        except httptools.HttpParserUpgrade:
            self._last = True
            if self._unread:
                self._refuse(RequestError(400, "it offers another protocol, so the parser does not read its body"))
            return
        except httptools.HttpParserError as error:
            self._break(error)
            return
        if self._in_head:
            self._head += nbytes
            if self._head > HEAD:
                self._refuse(RequestError(431, f"the head of the request is larger than {HEAD} bytes"))
        elif self._body is not None and self._body.waiting > AHEAD:
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.connections.discard(self)
        self._queue.clear()
        if self._body is not None:
            self._body.finish(CallerLeftError())
            self._body = None
        if self._room is not None and not self._room.done():
            self._room.set_exception(CallerLeftError())
        if self._task is not None:
            self._task.cancel()  # nobody is there to read the answer

    def pause_writing(self) -> None:
        self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    # ------------------------------------------------------------------------------------ httptools

    def on_message_begin(self) -> None:
        self._in_head, self._headers, self._head = True, [], 0

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # not a trailer: that would be a header nobody in front of us has seen
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        expected: int | None = 0
        expects = False
        for name, value in self._headers:
            if name == b"content-length":
                expected = int(value)
            elif name == b"transfer-encoding":
                expected = None
            elif name == b"expect":
                expects = value.lower() == b"100-continue"
        self._body = Body(expected, self._pull, whole=expected == 0)
        self._body.on_request = expects
        path, _, query = self._url.partition(b"?")
        if not path.startswith(b"/") and b"://" in path:  # absolute-form: RFC 9112 §3.2.2
            found = httptools.parse_url(self._url)
            path, query = found.path or b"/", found.query or b""
        method = self._parser.get_method().decode()
        offered = self._parser.should_upgrade()  # another protocol; we may answer in this one (RFC 9110 §7.8)
        if offered and expected != 0:
            self._unread = True
            return
        keep = self._parser.should_keep_alive() and not offered
        old = self._parser.get_http_version() == "1.0"
        self._queue.append((Request(method, path, query, self._headers, self._body), keep, old))
        if self._task is None:
            self._next()
        elif len(self._queue) >= PIPELINE:
            self._transport.pause_reading()

    def on_body(self, chunk: bytes) -> None:
        if self._body is not None:
            self._body.feed(chunk)

    def on_message_complete(self) -> None:
        if self._body is not None:
            self._body.finish()
            self._body = None
        self._in_head, self._head = True, 0

    # ------------------------------------------------------------------------------------ answering

    def _next(self) -> None:
        if self._queue and not self._transport.is_closing():
            request, self._keep, self._old = self._queue.popleft()
            self._listener.traffic.requests += 1
            self._task = self._loop.create_task(self._answer(request))
            self._transport.resume_reading()

    async def _answer(self, request: Request) -> None:
        """The one place where an application's unforeseen error ends: a 500 with nothing in it."""
        listener = self._listener
        traffic, status, began = listener.traffic, CallerLeftError.status, perf_counter()
        own = request.path.startswith(OWN)
        traffic.active += 1
        try:
            try:
                response = await (listener.own(request) if own else listener.app(request))
            except CallerLeftError:
                self._transport.abort()
                return
            except RequestError as error:
                response = refused(error)
            except Exception:  # noqa: BLE001
                traceback.print_exc(file=sys.stderr)
                response = refused(RequestError(500, "the server failed; its log says why"))
            if not request.body.complete and (request.body.on_request or response.status == 413):
                self._keep = False  # the rest may never come, or is too much to wait for
            self._keep = self._keep and not traffic.draining
            status = await self._send(request.method, response)
        finally:
            traffic.active -= 1
            if not own:
                listener.requests.saw(request.method, request.path, status, perf_counter() - began)
            self._done(request)

    def _done(self, request: Request) -> None:
        self._task = None
        if self._transport.is_closing():
            return
        if not self._keep:
            self._end()
        elif not request.body.complete:  # answered already: the rest is read, and dropped, before the next request
            self._loop.create_task(self._skip(request.body))
        else:
            self._next()

    async def _skip(self, body: Body) -> None:
        try:
            async for chunk in body:
                self._drop(len(chunk))
        except (CallerLeftError, RequestError):
            return
        self._next()

    async def _send(self, method: str, response: Response) -> int:
        """What it counts as: its status, unless it broke off."""
        head = [STATUS.get(response.status) or b"HTTP/1.1 %d \r\n" % response.status]
        head += [b"%b: %b\r\n" % pair for pair in response.headers]
        head.append(self._listener.clock.line())
        if not self._keep:
            head.append(b"connection: close\r\n")
        body = response.body
        if isinstance(body, bytes):
            if response.status not in NO_BODY:
                head.append(b"content-length: %d\r\n" % len(body))
            head.append(b"\r\n")
            if method != "HEAD":
                head.append(body)
            self._transport.write(b"".join(head))
            return response.status
        return await self._stream(method, head, response, body)

    async def _stream(self, method: str, head: list[bytes], response: Response, pieces: AsyncIterable[bytes]) -> int:
        counted = any(name == b"content-length" for name, _ in response.headers)
        chunked = not counted and response.status not in NO_BODY and not self._old
        if chunked:
            head.append(b"transfer-encoding: chunked\r\n")
        elif not counted:
            self._keep = False  # HTTP/1.0: the end of the connection is the end of the answer
        self._transport.write(b"".join((*head, b"\r\n")))
        status = response.status
        try:
            try:
                async for piece in pieces:
                    if not piece or method == "HEAD":
                        continue
                    self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                    if self._room is not None:
                        await self._room
            except ToldError as error:
                status = error.status
            if chunked and method != "HEAD":
                self._transport.write(b"0\r\n\r\n")
        except (CallerLeftError, RequestError) as error:
            self._transport.abort()
            return error.status
        except Exception:
            self._transport.abort()
            raise
        finally:
            await dispose(response)
        return status

    # ------------------------------------------------------------------------------------ ending

    def close(self) -> None:
        """As soon as nothing is under way."""
        self._keep = False
        self._last = True
        if self._task is None:
            self._transport.close()

    def give_up(self, oldest: float) -> None:
        """On a caller who stopped in the middle of a request, or of reading its answer's end."""
        unfinished = self._head > 0 or (self._body is not None and self._task is None) or self._last
        if unfinished and self._task is None and self._heard < oldest:
            self._transport.abort()
        elif self._body is not None and self._heard < oldest and self._transport.is_reading():
            self._body.finish(RequestError(408, f"nothing came for {SLOW:g} seconds"))
            self._last, self._body = True, None

    def _pull(self, body: Body) -> None:
        """Somebody wants the body's next bytes."""
        if body.on_request:
            body.on_request = False
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._transport.resume_reading()

    def _break(self, error: Exception) -> None:
        """What came is not HTTP; where the next request would begin nobody can know."""
        fault = RequestError(400, f"the request is not HTTP: {error}")
        if self._body is not None:
            body, self._body, self._last = self._body, None, True
            self._keep = False
            body.finish(fault)
        else:
            self._refuse(fault)

    def _refuse(self, error: RequestError) -> None:
        """Without asking the application. Answers still under way go first, and are the last."""
        self._last, self._keep, self._body = True, False, None
        if self._task is None:
            response = refused(error)
            self._loop.create_task(self._send("GET", response)).add_done_callback(lambda _: self._end())

    def _end(self) -> None:
        """Says that nothing more comes, and reads on for a while: a closed socket with unread bytes would be reset, and
        the answer with it."""
        self._last = True
        if self._body is not None:
            self._body, self._heard = None, self._loop.time()
            self._transport.resume_reading()
            if self._transport.can_write_eof():
                self._transport.write_eof()
                return
        self._transport.close()

    def _drop(self, count: int) -> None:
        self._dropped += count
        if self._dropped > LINGER:
            self._transport.abort()
