"""The HTTP face of `api.command`: every request is handed to the user's own server, byte for byte. An ASGI application.

ASGI here, RSGI in `handler.py`: only ASGI gives the path as it was sent (`raw_path`), and a proxy must not decode it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import httpcore

from mawasu.serving.config import Config
from mawasu.serving.errors import RequestError

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


class ProxyApp:
    """Healthy when the user's server answers `GET /healthz` with 200."""

    def __init__(self, config: Config) -> None:
        self.active = 0
        self.draining = False
        self._release = (b"mawasu-release", config.release.encode())
        self._deadline = config.deadline
        self._pool = httpcore.AsyncConnectionPool(uds=config.worker, max_connections=POOL, keepalive_expiry=4.0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
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
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        headers = end_to_end(scope["headers"])
        request = httpcore.Request(
            scope["method"],
            httpcore.URL(scheme=b"http", host=b"worker", port=None, target=target),
            headers=headers,
            content=body_of(receive) if has_body(scope["headers"]) else None,
            extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), self._deadline)},
        )
        started = False
        try:
            response = await self._pool.handle_async_request(request)
            try:
                await self._start(send, response.status, end_to_end(response.headers))
                started = True
                async for chunk in response.aiter_stream():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            finally:
                await response.aclose()
            await send({"type": "http.response.body", "body": b""})
        except httpcore.TimeoutException:
            await self._fail(send, started, RequestError(504, f"no answer within {self._deadline:g} seconds"))
        except (httpcore.NetworkError, httpcore.ProtocolError):
            await self._fail(send, started, RequestError(503, "the API is not available at the moment", retry_after=1))

    async def _fail(self, send: Send, started: bool, error: RequestError) -> None:
        if started:  # half an answer is out: cut the connection, so that the caller does not take it for a whole one
            raise ConnectionAbortedError(error.message)
        headers = [(name.encode(), value.encode()) for name, value in error.headers()]
        await self._start(send, error.status, [(b"content-type", b"application/json"), *headers])
        await send({"type": "http.response.body", "body": error.body()})

    async def _start(self, send: Send, status: int, headers: Headers) -> None:
        headers.append(self._release)
        if self.draining:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})

    async def _own(self, path: str, send: Send) -> None:
        if path != "/-/healthz":
            await self._fail(send, False, RequestError(404, "there is nothing at this address"))
            return
        ready = not self.draining and await self._healthy()
        await self._start(send, 200 if ready else 503, [(b"content-type", b"application/json")])
        await send({"type": "http.response.body", "body": b'{"ready":true}' if ready else b'{"ready":false}'})

    async def _healthy(self) -> bool:
        timeout = dict.fromkeys(("connect", "read", "write", "pool"), min(self._deadline, 5.0))
        try:
            answer = await self._pool.request("GET", "http://worker/healthz", extensions={"timeout": timeout})
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


def has_body(headers: Headers) -> bool:
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in headers)


async def body_of(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise httpcore.ReadError("the caller left")
        if message.get("body"):
            yield message["body"]
        more = message.get("more_body", False)
