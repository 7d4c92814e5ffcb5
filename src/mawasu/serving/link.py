"""The server's end of the line to its worker: frames out, replies in, and a new connection when the worker is new."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import struct
import sys
from collections import deque
from collections.abc import Sequence

from mawasu.serving.errors import RequestError
from mawasu.serving.socketfile import no_link
from mawasu.serving.worker import HEADER, Part, pack, unpack

RETRY = 0.005  # seconds between attempts to connect: a worker binds within tens of milliseconds

Reply = asyncio.Future[list[Part]]


class Link(asyncio.Protocol):
    """Keeps one connection. `ready` is true while the worker at its other end has its model loaded.

    A worker that holds its oldest request for longer than `deadline` seconds is killed; whoever runs it starts the
    next one.
    """

    def __init__(self, path: str, deadline: float) -> None:
        self.ready = False
        self.losses = 0
        self._path = path
        self._deadline = deadline
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._waiting: deque[tuple[int, Reply]] = deque()
        self._number = 0
        self._since = 0.0  # when the worker began with the oldest request
        self._watch: asyncio.TimerHandle | None = None
        self._lost = asyncio.Event()

    async def keep(self) -> None:
        """Connect, and connect again; runs until cancelled."""
        try:
            while True:
                try:
                    with no_link(self._path) as path:
                        await self._loop.create_unix_connection(lambda: self, path)
                except OSError:  # no worker yet, or between two
                    await asyncio.sleep(RETRY)
                    continue
                await self._lost.wait()
        finally:
            if self._transport is not None:
                self._transport.abort()

    def call(self, groups: Sequence[bytes]) -> Reply:
        """Send one batch: each caller's JSON array. The future gives one part per caller, or raises RequestError."""
        reply: Reply = self._loop.create_future()
        if self._transport is None or not self.ready:
            reply.set_exception(unavailable())
            return reply
        self._number = self._number % 0xFFFFFFFF + 1
        if not self._waiting:
            self._since = self._loop.time()
            if self._watch is None:
                self._watch = self._loop.call_later(self._deadline, self._check)
        self._waiting.append((self._number, reply))
        self._transport.write(pack(self._number, [(0, group) for group in groups]))
        return reply

    # ------------------------------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._buffer.clear()
        self._lost.clear()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        while len(buffer) >= HEADER.size:
            length, number, count = HEADER.unpack_from(buffer)
            if len(buffer) < HEADER.size + length:
                return
            body = bytes(memoryview(buffer)[HEADER.size : HEADER.size + length])
            del buffer[: HEADER.size + length]
            if number == 0:
                self.ready = True
            else:
                self._settle(number, body, count)

    def connection_lost(self, exc: Exception | None) -> None:
        self.losses += self.ready  # not those that ended before they were of use
        self.ready = False
        self._transport = None
        waiting, self._waiting = self._waiting, deque()
        for _, reply in waiting:
            if not reply.done():
                reply.set_exception(unavailable())
        self._lost.set()

    # ------------------------------------------------------------------------------------ inside

    def _settle(self, number: int, body: bytes, count: int) -> None:
        """A worker that answers what was not asked, or not in order, cannot be trusted with the next question."""
        try:
            expected, reply = self._waiting.popleft()
            parts = unpack(body, count)
        except (IndexError, struct.error):
            self._abandon()
            return
        if expected != number:
            reply.set_exception(unavailable())
            self._abandon()
            return
        self._since = self._loop.time()
        if not reply.done():
            reply.set_result(parts)

    def _check(self) -> None:
        self._watch = None
        if not self._waiting:
            return
        left = self._since + self._deadline - self._loop.time()
        if left > 0:
            self._watch = self._loop.call_later(left, self._check)
            return
        _, reply = self._waiting[0]
        if not reply.done():
            reply.set_exception(RequestError(504, f"the model did not answer within {self._deadline:g} seconds"))
        print(f"mawasu: the worker did not answer within {self._deadline:g} s; ending it", file=sys.stderr, flush=True)
        self._abandon()

    def _abandon(self) -> None:
        """Kill the worker, whatever it hangs in, and let go of the connection."""
        transport = self._transport
        if transport is None:
            return
        pid = peer(transport.get_extra_info("socket"))
        if pid > 1:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        transport.abort()


def unavailable() -> RequestError:
    return RequestError(503, "the model is not available at the moment", retry_after=1)


def peer(connection: socket.socket) -> int:
    """The process that listens at the other end of a Unix socket; 0 where that cannot be known (unix(7), SO_PEERCRED).

    In a sandbox with its own process numbers the kernel translates it to ours.
    """
    if sys.platform == "darwin":
        return int(connection.getsockopt(0, 2))  # SOL_LOCAL, LOCAL_PEERPID
    size = struct.calcsize("3i")
    pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return int(pid)
