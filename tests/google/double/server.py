"""HTTP/1.1 by hand of the standard library: keep-alive, chunked bodies, streamed answers, connections cut on order."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import IO, Any

from tests.google.double.faults import Answer

SPOOL = 4 * 2**20  # bytes of a body that stay in memory
CHUNK = 2**16


@dataclass
class Incoming:
    """A request with its body, which lies in memory or in a temporary file."""

    method: str
    target: str
    headers: Message
    body: IO[bytes] = field(repr=False)
    length: int
    sized: bool  # a length was given, or it came in chunks

    def read(self, most: int = -1) -> bytes:
        self.body.seek(0)
        return self.body.read(most)


@dataclass
class Streamed:
    """An answer whose bytes come from elsewhere."""

    status: int
    headers: dict[str, str]
    chunks: Iterator[bytes]
    close: Callable[[], None]


@dataclass
class Cut:
    """No answer, or half of one: the connection is closed."""

    answer: Answer | Streamed | None = None


class Server:
    def __init__(self, answer: Callable[[Incoming], Answer | Streamed | Cut]) -> None:
        self._answer = answer
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._http: _Http | None = None
        self._thread: threading.Thread | None = None
        self.url = ""

    def start(self) -> None:
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        """Close everything; every thread has ended when it returns."""
        if self._http is None or self._thread is None:
            return
        self._http.shutdown()
        self._thread.join()
        with self._lock:
            for one in self._open:
                one.shutdown(socket.SHUT_RDWR)
        self._http.server_close()
        self._http = None

    def opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)

    def answer(self, incoming: Incoming) -> Answer | Streamed | Cut:
        return self._answer(incoming)


class _Http(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128
    owner: Server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = CHUNK
    server: _Http

    def setup(self) -> None:
        super().setup()
        self.server.owner.opened(self.connection)

    def finish(self) -> None:
        self.server.owner.closed(self.connection)
        super().finish()

    def handle(self) -> None:
        try:
            super().handle()
        except (ConnectionError, TimeoutError):  # the client went away, or the double was stopped
            self.close_connection = True

    def serve(self) -> None:
        with tempfile.SpooledTemporaryFile(SPOOL) as body:
            length, sized = self._body(body)
            incoming = Incoming(self.command, self.path, self.headers, body, length, sized)
            done = self.server.owner.answer(incoming)
            if isinstance(done, Cut):
                self.close_connection = True
                if done.answer is not None:
                    self._write(done.answer, half=True)
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
            else:
                self._write(done)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = serve  # noqa: N815 - the names of http.server

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are recorded, not printed."""

    def _body(self, body: IO[bytes]) -> tuple[int, bool]:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                body.write(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return body.tell(), True
        left = length = int(self.headers.get("content-length", "0"))
        while left:
            data = self.rfile.read(min(left, CHUNK))
            if not data:
                raise ConnectionError("the body was cut")
            body.write(data)
            left -= len(data)
        return length, "content-length" in self.headers

    def _write(self, answer: Answer | Streamed, half: bool = False) -> None:
        if isinstance(answer, Streamed):
            self._stream(answer, half)
            return
        data, kind = answer.data()
        self.send_response(answer.status)
        headers = {"content-type": kind, **answer.headers, "content-length": str(len(data))}
        if answer.status in (204, 304):  # RFC 9110: these have no content
            data, headers = b"", dict(answer.headers)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if half else data)
        self.wfile.flush()

    def _stream(self, answer: Streamed, half: bool) -> None:
        try:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            chunked = "content-length" not in {name.lower() for name in answer.headers}
            if chunked:
                self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for data in answer.chunks:
                if half:
                    self.wfile.write(data[: len(data) // 2])
                    return
                self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
            self.wfile.write(b"0\r\n\r\n" if chunked else b"")
            self.wfile.flush()
        finally:
            answer.close()
