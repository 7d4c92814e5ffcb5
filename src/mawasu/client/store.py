"""Redis, which may be slow or away: then it is as good as empty, and left alone for a while.

`do` takes no longer than its effect's timeout, and raises nothing for what Redis does. A connection that comes too late
for who asked for it serves the next.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time

from mawasu.client.aside import Aside
from mawasu.client.breaker import Breaker
from mawasu.client.effects import Read, Write
from mawasu.client.resp import Address, Answers, commands

MOST = 32  # connections of one Api
CONNECT = 1.0  # seconds for a connection, with TLS and password: nobody waits for it that long
CHUNK = 65536
log = logging.getLogger("mawasu.client")


class Store:
    """For threads."""

    def __init__(self, url: str) -> None:
        self._address = Address(url)
        self._guard = _Guard()
        self._room = threading.BoundedSemaphore(MOST)
        self._idle: list[socket.socket] = []  # append and pop are safe for threads
        self._closed = False

    def do(self, effect: Read | Write) -> object:
        permit = self._guard.permit()
        if not permit:
            return effect.late()
        until = time.monotonic() + effect.timeout
        try:
            if not self._room.acquire(timeout=effect.timeout):
                raise TimeoutError
            try:
                answers = self._answers(commands(effect), until)
            finally:
                self._room.release()
        except (OSError, ValueError) as error:
            self._guard.wrong(permit, error)
            return effect.late()
        self._guard.right(permit, answers)
        return answers.found

    def close(self) -> None:
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _keep(self, line: socket.socket) -> None:
        self._idle.append(line)
        if self._closed:
            self.close()

    def _answers(self, asked: list[bytes], until: float) -> Answers:
        while True:
            used = bool(self._idle)
            line = self._idle.pop() if used else self._connected(until - time.monotonic())
            try:
                answers = _talk(line, asked, until)
            except ConnectionError:
                line.close()
                if not used:  # else it ended while nobody looked
                    raise
            except BaseException:
                line.close()
                raise
            else:
                self._keep(line)
                return answers

    def _connected(self, timeout: float) -> socket.socket:
        """Aside, because a name's look-up cannot be told to stop."""
        return Aside(lambda: _connect(self._address), self._keep).result(max(0.0, timeout))


def _connect(to: Address) -> socket.socket:
    until = time.monotonic() + CONNECT
    line = _plain(to)
    try:
        if to.tls is not None:
            line = to.tls.wrap_socket(line, server_hostname=to.host)
        _greeted(_talk(line, to.greeting, until))
    except BaseException:
        line.close()
        raise
    return line


def _plain(to: Address) -> socket.socket:
    if not to.path:
        line = socket.create_connection((to.host, to.port), CONNECT)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return line
    line = socket.socket(socket.AF_UNIX)
    try:
        line.settimeout(CONNECT)
        line.connect(to.path)
    except BaseException:
        line.close()
        raise
    return line


def _talk(line: socket.socket, asked: list[bytes], until: float) -> Answers:
    answers = Answers(len(asked))
    line.settimeout(_left(until))
    line.sendall(b"".join(asked))
    while not answers.whole:
        line.settimeout(_left(until))
        answers.feed(line.recv(CHUNK))
    return answers


def _left(until: float) -> float:
    """At least a moment, as a socket takes 0 for no waiting at all."""
    return max(0.001, until - time.monotonic())


class AsyncStore:
    """For one event loop."""

    def __init__(self, url: str) -> None:
        self._address = Address(url)
        self._guard = _Guard()
        self._room = asyncio.Semaphore(MOST)
        self._idle: list[_Streams] = []
        self._opening: set[asyncio.Task[_Streams]] = set()

    async def do(self, effect: Read | Write) -> object:
        permit = self._guard.permit()
        if not permit:
            return effect.late()
        try:
            async with asyncio.timeout(effect.timeout), self._room:
                answers = await self._answers(commands(effect))
        except (OSError, ValueError) as error:
            self._guard.wrong(permit, error)
            return effect.late()
        except BaseException:  # the caller left
            self._guard.forget(permit)
            raise
        self._guard.right(permit, answers)
        return answers.found

    async def close(self) -> None:
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        while self._idle:
            await self._idle.pop().close()

    async def _answers(self, asked: list[bytes]) -> Answers:
        while True:
            used = bool(self._idle)
            line = self._idle.pop() if used else await self._connected()
            try:
                answers = await line.talk(asked)
            except ConnectionError:
                line.drop()
                if not used:
                    raise
            except BaseException:
                line.drop()
                raise
            else:
                self._idle.append(line)
                return answers

    async def _connected(self) -> _Streams:
        task = asyncio.create_task(_Streams.connect(self._address))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(self._late)
            raise

    def _late(self, task: asyncio.Task[_Streams]) -> None:
        if not task.cancelled() and task.exception() is None:
            self._idle.append(task.result())


class _Streams:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, to: Address) -> _Streams:
        async with asyncio.timeout(CONNECT):
            if to.path:
                line = cls(*await asyncio.open_unix_connection(to.path))
            else:
                line = cls(*await asyncio.open_connection(to.host, to.port, ssl=to.tls))
            try:
                _greeted(await line.talk(to.greeting))
            except BaseException:
                line.drop()
                raise
            return line

    async def talk(self, asked: list[bytes]) -> Answers:
        answers = Answers(len(asked))
        self._writer.write(b"".join(asked))
        await self._writer.drain()
        while not answers.whole:
            answers.feed(await self._reader.read(CHUNK))
        return answers

    def drop(self) -> None:
        self._writer.transport.abort()

    async def close(self) -> None:
        self.drop()
        try:
            await self._writer.wait_closed()
        except OSError:  # it ended by itself
            return


# ---------------------------------------------------------------------------------------- what both have


def _greeted(answers: Answers) -> None:
    if answers.refused:
        raise OSError(f"it refuses us: {answers.refused}")


class _Guard(Breaker):
    """Redis' own breaker, which says what is wrong once and not with each page."""

    def __init__(self) -> None:
        super().__init__()
        self._said = ""

    def wrong(self, permit: int, error: Exception) -> None:
        rest = self.bad(permit)
        why = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        if rest:
            log.warning("Redis is left alone for %.1f s: %s", rest, why)

    def right(self, permit: int, answers: Answers) -> None:
        """It answers in time, though perhaps with an error (full, read-only): that costs nobody anything."""
        self.good(permit)
        if answers.refused != self._said and answers.refused:
            log.warning("Redis refuses: %s", answers.refused)
        self._said = answers.refused
