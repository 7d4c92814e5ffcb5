"""The HTTP face of `api.command`: every request is handed to the user's own server, byte for byte. An ASGI application.

ASGI here, RSGI in `handler.py`: only ASGI gives the path as it was sent (`raw_path`), and a proxy must not decode it.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

import httpcore

from mawasu.serving.behind import arrived
from mawasu.serving.config import Config
from mawasu.serving.errors import RequestError
from mawasu.serving.socketfile import no_link

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

# RFC 9110 §7.6.1: meant for one hop only; besides these, whatever `Connection` names.
HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
POOL = 128  # connections to the user's server; further requests wait for one


class _NoLinks(httpcore.AnyIOBackend):
    """Connects to the worker's socket, never to where a link in its place would lead."""

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None
    ) -> httpcore.AsyncNetworkStream:
        try:
            with no_link(path) as itself:
                return await super().connect_unix_socket(itself, timeout, socket_options)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error


class ProxyApp:
    """Healthy when the user's server answers `GET /healthz` with 200."""

    def __init__(self, config: Config) -> None:
        self.requests = 0
        self.active = 0
        self.draining = False
        self._release = (b"mawasu-release", config.release.encode())
        self._deadline = config.deadline
        self._max_body = config.max_body
        self._prefix = config.prefix
        address = urlsplit(config.worker)  # of the user's own server, or the path of a socket
        self._origin = (address.hostname or "worker").encode(), address.port
        self._pool = httpcore.AsyncConnectionPool(
            uds=None if address.hostname else config.worker,
            max_connections=POOL,
            keepalive_expiry=4.0,
            network_backend=_NoLinks(),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.requests += 1
        self.active += 1
        try:
            path: str = scope["path"]
            if path.startswith("/-/"):
                await self._own(path, send)
            else:
                await self._forward(scope, receive, send)
        finally:
            self.active -= 1

    async def close(self) -> None:
        await self._pool.aclose()

    async def _forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = Body(receive, scope["headers"])
        started = False
        try:
            response = await self._pool.handle_async_request(self._request(scope, body))
            try:
                await self._start(send, response.status, end_to_end(response.headers))
                started = True
                async for chunk in response.aiter_stream():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            finally:
                await response.aclose()
            await send({"type": "http.response.body", "body": b""})
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
            if started:  # half an answer is out: cut the connection, so that nobody takes it for a whole one
                raise
            await body.discard(self._max_body)
            if isinstance(error, httpcore.TimeoutException):
                await self._refuse(send, RequestError(504, f"no answer within {self._deadline:g} seconds"))
            else:
                await self._refuse(send, RequestError(503, "the API is not available at the moment", retry_after=1))

    def _request(self, scope: Scope, body: Body) -> httpcore.Request:
        path, headers = scope["raw_path"], end_to_end(scope["headers"])
        if self._prefix:
            path, headers = arrived(self._prefix, path, headers)
        target = path + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        if body.more and not any(name == b"content-length" for name, _ in headers):
            headers.append((b"transfer-encoding", b"chunked"))  # this hop's own
        return httpcore.Request(
            scope["method"],
            httpcore.URL(scheme=b"http", host=self._origin[0], port=self._origin[1], target=target),
            headers=headers,
            content=body if body.more else None,
            extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), self._deadline)},
        )

    async def _refuse(self, send: Send, error: RequestError) -> None:
        headers = [(name.encode(), value.encode()) for name, value in error.headers()]
        await self._start(send, error.status, [(b"content-type", b"application/json"), *headers])
        await send({"type": "http.response.body", "body": error.body()})

    async def _start(self, send: Send, status: int, headers: Headers) -> None:
        headers.append(self._release)
        if self.draining:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})

    async def _own(self, path: str, send: Send) -> None:
        if path != "/-/ready":
            await self._refuse(send, RequestError(404, "there is nothing at this address"))
            return
        ready = not self.draining and await self._healthy()
        await self._start(send, 200 if ready else 503, [(b"content-type", b"application/json")])
        await send({"type": "http.response.body", "body": b'{"ready":true}' if ready else b'{"ready":false}'})

    async def _healthy(self) -> bool:
        timeout = dict.fromkeys(("connect", "read", "write", "pool"), min(self._deadline, 5.0))
        try:
            host, port = self._origin
            address = httpcore.URL(scheme=b"http", host=host, port=port, target=b"/healthz")
            answer = await self._pool.request("GET", address, extensions={"timeout": timeout})
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
            return False
        return answer.status == 200


def end_to_end(headers: Headers) -> Headers:
    """Without the headers that end at this hop."""
    dropped = set(HOP_BY_HOP)
    for name, value in headers:
        if name.lower() == b"connection":
            dropped.update(token.strip().lower() for token in value.split(b","))
    return [(name, value) for name, value in headers if name.lower() not in dropped]


class Body:
    """A request's body as it comes in."""

    def __init__(self, receive: Receive, headers: Headers) -> None:
        self.more = any(name in (b"content-length", b"transfer-encoding") for name, _ in headers)
        self._receive = receive

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self.more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.more = False
                raise httpcore.ReadError("the caller left")
            self.more = message.get("more_body", False)
            if message.get("body"):
                yield message["body"]

    async def discard(self, most: int) -> None:
        """Read what is left, so that the caller, who is still sending, gets our answer and keeps the connection."""
        with contextlib.suppress(httpcore.ReadError):
            async for chunk in self:
                most -= len(chunk)
                if most < 0:
                    return
