"""The server's end of the line to one worker: frames out, replies in, and a new connection when the worker is new."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import struct
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec

from mawasu.serving.errors import RequestError
from mawasu.serving.socketfile import no_link
from mawasu.serving.worker import ALL, BAD, HEADER, MORE, OK, RAW, REFUSED, Part, pack, unpack

RETRY = 0.01  # seconds between attempts to connect: a worker that was lost is back within tens of milliseconds
AHEAD = 4 * 2**20  # bytes of a streamed answer that may wait for its caller
GRACE = 1.0  # seconds within which a handler that waits ends what it hangs in


_shares = msgspec.json.Decoder(list[msgspec.Raw])


class LostError(Exception):
    """The worker is gone. `begun` says whether it may have seen the batch."""

    def __init__(self, *, begun: bool) -> None:
        super().__init__()
        self.begun = begun


class About(msgspec.Struct):
    """What a worker says of its handler (`Handler.describe`)."""

    streams: bool = False
    waits: bool = False
    raw: str = ""  # "bytes": whatever was sent; "array": as numpy.save writes it, or JSON
    single: bool = False


class Stream:
    """An answer that comes in pieces, each one JSON value. Raises RequestError where it broke off."""

    def __init__(self, take_back: Callable[[], None]) -> None:
        self._take_back = take_back
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._error: RequestError | None = None
        self._more = asyncio.Event()

    def put(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._size += len(piece)
        self._more.set()
        if self._size > AHEAD:
            self.end(RequestError(504, "the answer was not read"))
            self._take_back()

    def end(self, error: RequestError | None = None) -> None:
        self._ended = True
        self._error = self._error or error
        self._more.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                self._size -= len(piece)
                yield piece
            if self._ended:
                if self._error is not None:
                    raise self._error
                return
            self._more.clear()
            await self._more.wait()

    async def aclose(self) -> None:
        if not self._ended:
            self.end()
            self._take_back()


Reply = asyncio.Future["list[Part] | Stream"]


class Call(msgspec.Struct, eq=False):
    reply: Reply
    until: float  # on the loop's clock: a worker that has said nothing of it by then, though it began, hangs in it
    stream: Stream | None = None
    taken_back: bool = False
    given_up: bool = False


class Link(asyncio.Protocol):
    """Keeps one connection. `ready` is true while the worker at its other end has its model loaded.

    A worker that holds a request for longer than `deadline` seconds is killed; whoever runs it starts the next one. A
    handler that waits is told first to end that one, since it has others under way. `changed` is called when there is
    room for another batch, or one less worker.
    """

    def __init__(self, path: str, deadline: float, changed: Callable[[], None]) -> None:
        self.ready = False
        self.about = About()
        self.losses = 0
        self.freed = 0.0  # when its last batch was settled, on the loop's clock
        self._path = path
        self._deadline = deadline
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._calls: dict[int, Call] = {}  # the oldest first
        self._number = 0
        self._watch: asyncio.TimerHandle | None = None
        self._lost = asyncio.Event()

    @property
    def pid(self) -> int:
        """The worker's process; 0 while there is none, or where that cannot be known."""
        return peer(self._transport.get_extra_info("socket")) if self._transport is not None else 0

    @property
    def under_way(self) -> int:
        return len(self._calls)

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

    def call(self, parts: Sequence[Part]) -> tuple[int, Reply]:
        """Send one batch; only to a link that is ready. The future gives one part per part, or a stream.

        Raises LostError or RequestError.
        """
        assert self._transport is not None
        reply: Reply = self._loop.create_future()
        self._number = self._number % 0xFFFFFFFF + 1
        if self._watch is None:
            self._watch = self._loop.call_later(self._deadline, self._check)
        self._calls[self._number] = Call(reply, self._loop.time() + self._deadline)
        self._transport.write(pack(self._number, parts))
        return self._number, reply

    def take_back(self, number: int) -> None:
        """Nobody waits for this one any more."""
        call = self._calls.get(number)
        if self._transport is not None and call is not None and not call.taken_back:
            call.taken_back = True
            self._transport.write(pack(number, ()))

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
            end = HEADER.size + length
            if len(buffer) < end:
                return
            body = bytes(memoryview(buffer)[HEADER.size : end])
            del buffer[:end]
            try:
                self._take(number, unpack(body, count))
            except (struct.error, ValueError, KeyError, IndexError):
                # What answers what was not asked cannot be trusted with the next question.
                self._abandon()
                return

    def connection_lost(self, exc: Exception | None) -> None:
        self.losses += self.ready  # not those that ended before they were of use
        self._gone()
        self._transport = None
        self._lost.set()

    # ------------------------------------------------------------------------------------ inside

    def _take(self, number: int, parts: list[Part]) -> None:
        if number == 0:
            self._about(parts[0])
            return
        call = self._calls[number]
        if parts[0][0] == MORE:
            if not call.taken_back:
                call.until = self._loop.time() + self._deadline
            if call.stream is None:
                call.stream = Stream(lambda: self.take_back(number))
                if not call.reply.done():
                    call.reply.set_result(call.stream)
            call.stream.put(parts[0][1])
            return
        if parts[0][0] == ALL:
            parts = [(OK, bytes(share)) for share in _shares.decode(parts[0][1])]
        del self._calls[number]
        if self._calls and not self.about.waits:  # now it begins with the next
            next(iter(self._calls.values())).until = self._loop.time() + self._deadline
        if call.stream is not None:
            call.stream.end(ended(parts[0]))
        elif not call.reply.done():
            call.reply.set_result(parts)
        self._changed()

    def _about(self, part: Part) -> None:
        if part[0] == RAW:  # it leaves, and has not begun what is still under way
            self.losses += 1
            self._gone(begun=False)
            return
        self.about = msgspec.json.decode(part[1], type=About)
        self.ready = True
        self._changed()

    def _gone(self, *, begun: bool = True) -> None:
        """Let go of all that is under way. Of these a handler that does not wait has begun the oldest only."""
        self.ready = False
        calls, self._calls = list(self._calls.values()), {}
        for place, call in enumerate(calls):
            if call.stream is not None:
                call.stream.end(unavailable())
            elif not call.reply.done():
                call.reply.set_exception(LostError(begun=begun and (place == 0 or self.about.waits)))
        self._changed()

    def _check(self) -> None:
        self._watch = None
        begun = list(self._calls.items())[: None if self.about.waits else 1]
        now = self._loop.time()
        for number, call in begun:
            if call.until <= now and not self._give_up(number, call):
                self._abandon()
                return
        if begun:
            self._watch = self._loop.call_at(min(call.until for _, call in begun), self._check)

    def _give_up(self, number: int, call: Call) -> bool:
        """Whether the worker may live on, for what else it has under way."""
        error = RequestError(504, f"the model did not answer within {self._deadline:g} seconds")
        if call.stream is not None:
            call.stream.end(error)
        elif not call.reply.done():
            call.reply.set_exception(error)
        if self.about.waits and not call.given_up:
            self.take_back(number)
            call.given_up = True
            call.until = self._loop.time() + GRACE
            return True
        print(f"mawasu: the worker did not answer within {self._deadline:g} s; ending it", file=sys.stderr, flush=True)
        return False

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


def unavailable(*, begun: bool = False) -> RequestError:
    """`begun`: the model may have done what it was asked, so nobody is told to ask again."""
    return RequestError(503, "the model is not available at the moment", retry_after=0 if begun else 1)


def ended(part: Part) -> RequestError | None:
    return None if part[0] == OK else failure(part)


def failure(part: Part) -> RequestError:
    """Why a worker did not answer, in one line: the text may be a library's, which has many (pydantic)."""
    status, said = part[0], " ".join(part[1].decode().split())
    if status == BAD:
        return RequestError(400, f"the body cannot be read: {said}")
    if status == REFUSED:
        code, _, message = said.partition(" ")
        return RequestError(int(code), message)
    return RequestError(500, f"the model failed; the log says why under {said}", trace=said)


def peer(connection: socket.socket) -> int:
    """The process that listens at the other end of a Unix socket; 0 where that cannot be known (unix(7), SO_PEERCRED).

    In a sandbox with its own process numbers the kernel translates it to ours.
    """
    if sys.platform == "darwin":
        return int(connection.getsockopt(0, 2))  # SOL_LOCAL, LOCAL_PEERPID
    size = struct.calcsize("3i")
    pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return int(pid)
