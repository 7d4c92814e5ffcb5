"""Sockets for threads that wait until a moment, and no longer.

A socket's time-out is for one read, so an answer that drips lasts for ever; a look-up of a name has none at all. Here
all that one request does ends at one moment (www.encode.io/httpcore, network backends).
"""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import httpcore

from mawasu.client.aside import Aside

_now = threading.local()


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """For all that this thread asks of a Backend's connections meanwhile."""
    _now.until = time.monotonic() + seconds
    try:
        yield
    finally:
        del _now.until


def _left(timeout: float | None) -> float | None:
    """Of what httpcore allows, and of the request's time; at least a moment, as a socket takes 0 for no waiting."""
    until: float | None = getattr(_now, "until", None)
    if until is None:
        return timeout
    left = max(0.001, until - time.monotonic())
    return left if timeout is None else min(timeout, left)


class Backend(httpcore.NetworkBackend):
    def __init__(self) -> None:
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout)

        def connect() -> httpcore.NetworkStream:
            return self._plain.connect_tcp(host, port, left, local_address, socket_options)

        try:
            return _Stream(Aside(connect, unwanted=lambda stream: stream.close()).result(left))
        except TimeoutError:
            raise httpcore.ConnectTimeout("no connection in time") from None


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _left(timeout)
        secured = Aside(lambda: self._stream.start_tls(ssl_context, server_hostname, left), lambda one: one.close())
        try:
            return _Stream(secured.result(left))
        except TimeoutError:
            self._stream.close()
            raise httpcore.ConnectTimeout("no TLS in time") from None

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
