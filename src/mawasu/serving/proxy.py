"""The HTTP face of `api.command`: every request is handed to the user's own server, byte for byte."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterable
from urllib.parse import urlsplit

import httpcore

from mawasu.serving.behind import arrived
from mawasu.serving.config import Config
from mawasu.serving.errors import RequestError
from mawasu.serving.message import JSON, Headers, Request, Response, Traffic, refused
from mawasu.serving.patience import patience
from mawasu.serving.socketfile import no_link

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
        self.traffic = Traffic()
        self._release = (b"mawasu-release", config.release.encode())
        self._deadline = config.deadline
        self._prefix = config.prefix
        address = urlsplit(config.worker)  # of the user's own server, or the path of a socket
        self._origin = (address.hostname or "worker").encode(), address.port
        self._pool = httpcore.AsyncConnectionPool(
            uds=None if address.hostname else config.worker,
            max_connections=POOL,
            keepalive_expiry=4.0,
            network_backend=_NoLinks(),
        )

    async def __call__(self, request: Request) -> Response:
        try:
            response = await (self._own(request) if request.path.startswith(b"/-/") else self.answer(request))
        except RequestError as error:
            response = refused(error)
        response.headers.append(self._release)
        return response

    async def close(self) -> None:
        await self._pool.aclose()

    async def answer(self, request: Request) -> Response:
        """What the user's server says. Raises RequestError."""
        waits = patience(request.headers)
        try:
            async with asyncio.timeout(waits if waits < math.inf else None):
                found = await self._pool.handle_async_request(self._request(request))
        except TimeoutError:
            raise RequestError(504, "the API did not begin to answer while its caller waits") from None
        except httpcore.TimeoutException:
            raise RequestError(504, f"no answer within {self._deadline:g} seconds") from None
        except httpcore.ConnectError:
            raise RequestError(503, "the API is not available at the moment", retry_after=1) from None
        except (httpcore.NetworkError, httpcore.ProtocolError):  # it may have done what it was asked
            raise RequestError(502, "the API ended the connection without an answer") from None
        answered = [pair for pair in end_to_end(found.headers) if pair[0] != b"date"]  # every answer gets ours
        return Response(found.status, answered, Pieces(found))

    def _request(self, request: Request) -> httpcore.Request:
        path, headers = request.path, end_to_end(request.headers)
        if self._prefix:
            path, headers = arrived(self._prefix, path, headers)
        if request.trace is not None:
            headers = [pair for pair in headers if pair[0] != b"traceparent"]
            headers.append((b"traceparent", request.trace.traceparent))
        target = path + (b"?" + request.query if request.query else b"")
        told = request.header(b"content-length") or request.header(b"transfer-encoding")
        if told and not request.header(b"content-length"):
            headers.append((b"transfer-encoding", b"chunked"))  # this hop's own
        return httpcore.Request(
            request.method,
            httpcore.URL(scheme=b"http", host=self._origin[0], port=self._origin[1], target=target),
            headers=headers,
            content=request.body if told else None,
            extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), self._deadline)},
        )

    async def _own(self, request: Request) -> Response:
        if request.path != b"/-/ready":
            raise RequestError(404, "there is nothing at this address")
        ready = not self.traffic.draining and await self._healthy()
        return Response(200 if ready else 503, [JSON], b'{"ready":true}' if ready else b'{"ready":false}')

    async def _healthy(self) -> bool:
        timeout = dict.fromkeys(("connect", "read", "write", "pool"), min(self._deadline, 5.0))
        try:
            host, port = self._origin
            address = httpcore.URL(scheme=b"http", host=host, port=port, target=b"/healthz")
            answer = await self._pool.request("GET", address, extensions={"timeout": timeout})
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
            return False
        return answer.status == 200


class Pieces:
    """An answer as it comes in; its connection goes back to the pool however it ends."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.aiter_stream():
                yield chunk
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise RequestError(502, f"the answer broke off: {error}") from error

    async def aclose(self) -> None:
        await self._response.aclose()


def end_to_end(headers: Headers) -> Headers:
    """Without the headers that end at this hop; names in lower case, in which most servers do not write them."""
    lowered = [(name.lower(), value) for name, value in headers]
    dropped = set(HOP_BY_HOP)
    for name, value in lowered:
        if name == b"connection":
            dropped.update(token.strip().lower() for token in value.split(b","))
    return [(name, value) for name, value in lowered if name not in dropped]
