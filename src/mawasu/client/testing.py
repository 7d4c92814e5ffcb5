"""For the tests of a site: an API on this machine that answers, fails, is slow, talks rubbish or is gone, as told."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self, cast

RELEASE = "sha256:" + "0" * 64


@dataclass(frozen=True, slots=True)
class Call:
    """A request that reached the fake. `items` has one element for `predict`; header names are in lower case."""

    path: str
    items: list[Any]
    headers: dict[str, str] = field(repr=False)

    @property
    def unit(self) -> str:
        return self.headers.get("mawasu-unit", "")


@dataclass(frozen=True, slots=True)
class _Manner:
    """How it answers now."""

    answer: Callable[[Any], Any]
    headers: dict[str, str]
    status: int = 200
    body: bytes | None = None
    slow: float = 0.0


class FakeApi:
    """A real server on a free port of the loopback; `url` is what the site's configuration gets.

        with FakeApi({"delay": 12}) as fake:
            api = Api(fake.url, key="any", timeout=0.2, fallback={"delay": None})
            assert page(api) == "12 minutes late"
            fake.fail(503)
            assert page(api) == "on time?"
            assert [call.items for call in fake.calls] == [[{"carrier": "JL"}]] * 3

    Each of `answer`, `fail`, `slow`, `garbage` and `down` holds until the next one.
    """

    def __init__(self, answer: Any = None) -> None:
        self.calls: list[Call] = []
        self._woken = threading.Event()
        self._manner: _Manner
        self.answer(answer)
        self._server: _Server | None = None
        self._port = 0
        self.up()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/fake/production"

    def answer(self, value: Any, *, release: str = RELEASE, cache_control: str = "no-store", vary: str = "") -> None:
        """Every item by this value, or by what it makes of the item if it can be called."""
        made = value if callable(value) else lambda _: value
        headers = {"mawasu-release": release, "cache-control": cache_control}
        self._behave(_Manner(made, headers | ({"vary": vary} if vary else {})))

    def fail(self, status: int = 500, message: str = "the fake fails", *, retry_after: int | None = None) -> None:
        body = json.dumps({"code": status, "message": message}).encode()
        headers = {} if retry_after is None else {"retry-after": str(retry_after)}
        self._behave(_Manner(self._manner.answer, headers, status, body))

    def slow(self, seconds: float) -> None:
        """As it answers now, but so much later."""
        now = self._manner
        self._behave(_Manner(now.answer, now.headers, now.status, now.body, seconds))

    def garbage(self, body: bytes = b"<html>Sorry!</html>") -> None:
        self._behave(_Manner(self._manner.answer, {}, 200, body))

    def down(self) -> None:
        """Connections are refused, and those that stand are cut."""
        server, self._server = self._server, None
        if server is not None:
            self._woken.set()
            server.end()

    def up(self) -> None:
        """Where it was before `down`; it answers as it was told last."""
        if self._server is None:
            self._woken = threading.Event()
            self._server = _Server(self, self._port)
            self._port = self._server.server_port
            threading.Thread(target=self._server.serve_forever, args=(0.01,), name="FakeApi", daemon=True).start()

    def close(self) -> None:
        self.down()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _behave(self, manner: _Manner) -> None:
        self._manner = manner
        woken, self._woken = self._woken, threading.Event()
        woken.set()

    def _answered(self, call: Call, many: bool) -> tuple[int, dict[str, str], bytes]:
        self.calls.append(call)
        manner = self._manner
        if manner.slow:
            self._woken.wait(manner.slow)
        if manner.body is not None:
            return manner.status, manner.headers, manner.body
        values = [manner.answer(item) for item in call.items]
        return 200, manner.headers, json.dumps(values if many else values[0]).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, fake: FakeApi, port: int) -> None:
        self.fake = fake
        self._standing: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._standing.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._standing.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller who left is what is tested, not an error to print."""

    def end(self) -> None:
        self.shutdown()
        self.server_close()
        for one in list(self._standing):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:  # it has just ended by itself
                continue


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        said = json.loads(self.rfile.read(int(self.headers.get("content-length", "0"))))
        headers = {name.lower(): value for name, value in self.headers.items()}
        path = self.path.removeprefix("/fake/production")
        many = isinstance(said, list)
        call = Call(path, said if many else [said], headers)
        status, more, body = cast("_Server", self.server).fake._answered(call, many)
        self.send_response(status)
        told = {"content-type": "application/json", "x-request-id": headers.get("x-request-id", ""), **more}
        for name, value in {**told, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: `calls` has it."""
