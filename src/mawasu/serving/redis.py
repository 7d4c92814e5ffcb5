"""Redis (or Valkey) as a place that servers share: GET and SET, which cost at most their time budget whatever it does.

Written here because a client for everything costs more than our server does (decisions/0025), and because who asks for
strings need not be ready to read an array of a billion. All that is asked in one turn of the loop goes out in one
write, answers come back in the order of the questions, and one timer watches the oldest. Whoever is late, garbled or
gone is left at once; nobody asks again until a new connection has said PONG within the budget.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections import deque
from typing import Any
from urllib.parse import unquote, urlsplit

PAUSE, LONGEST = 0.05, 5.0  # seconds until the first, and between the last attempts to connect
HEALTHY = 5.0  # seconds after which a connection counts as good, and the next pause is the first again
CONNECT = 1.0  # seconds for a connection, with TLS and password: nobody waits for it
BACKLOG = 4 * 2**20  # bytes that may wait to be sent; more are not written


LONGEST_LINE = 1024  # bytes
LARGEST = 4 * 2**20  # bytes of one answer
STRANGER = "it does not speak Redis' protocol"


class Address:
    """What a URL says: `redis://[user][:password]@host[:port][/db]`, `rediss://` with TLS, `unix:///path`.

    Certificates are checked against the machine's; `?ca=/path` names another authority. The URL is a secret: it is in
    no message.
    """

    def __init__(self, url: str) -> None:
        """Raises ValueError, which does not repeat the URL."""
        try:
            parts = urlsplit(url)
            self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 6379
        except ValueError:
            raise ValueError("the Redis URL cannot be read: is the password percent-encoded?") from None
        if parts.scheme not in ("redis", "rediss", "unix"):
            raise ValueError("a Redis URL begins with redis://, rediss:// or unix://")
        self.path = parts.path if parts.scheme == "unix" else ""
        database = "" if self.path else parts.path.strip("/")
        if database and not database.isdigit():
            raise ValueError("the path of a Redis URL is the number of a database, such as /0")
        self.tls: ssl.SSLContext | None = None
        if parts.scheme == "rediss":
            authority = next((unquote(one[3:]) for one in parts.query.split("&") if one.startswith("ca=")), None)
            self.tls = ssl.create_default_context(cafile=authority)
        self.greeting: list[tuple[str | bytes, ...]] = []
        if parts.password:
            user = (unquote(parts.username),) if parts.username else ()
            self.greeting.append(("AUTH", *user, unquote(parts.password)))
        if database and database != "0":
            self.greeting.append(("SELECT", database))
        self.greeting.append(("PING",))


class RefusedError(Exception):
    """What Redis said instead of an answer."""


class _Line(asyncio.Protocol):
    """One connection."""

    def __init__(self, budget: float) -> None:
        self.lost = asyncio.Event()
        self.why = ""
        self._loop = asyncio.get_running_loop()
        self._budget = budget
        self._rest = b""  # of an answer whose end has not come in yet
        self._waiting: deque[tuple[float, asyncio.Future[Any] | None]] = deque()
        self._out: list[bytes] = []
        self._watch: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    def ask(self, command: bytes, *, wanted: bool = True) -> asyncio.Future[Any] | None:
        """The answer's future, which gets None when the connection ends first."""
        answer = self._loop.create_future() if wanted else None
        if self.lost.is_set():
            if answer is not None:
                answer.set_result(None)
            return answer
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(command)
        now = self._loop.time()
        self._waiting.append((now, answer))
        if self._watch is None:
            self._watch = self._loop.call_at(now + self._budget, self._look)
        return answer

    @property
    def full(self) -> bool:
        return self._transport is None or self._transport.get_write_buffer_size() > BACKLOG

    def end(self, why: str) -> None:
        self.why = self.why or why
        if self._transport is not None:
            self._transport.abort()
        self._fail()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        at = 0
        try:
            while (found := reply(data, at)) is not None:
                at, value = found
                _, answer = self._waiting.popleft()
                if answer is not None and not answer.done():
                    answer.set_result(value)
        except (ValueError, IndexError):
            self.end(STRANGER)
        self._rest = data[at:]

    def connection_lost(self, exc: Exception | None) -> None:
        self.why = self.why or "it closed the connection"
        self._fail()

    def _fail(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        waiting, self._waiting = self._waiting, deque()
        for _, answer in waiting:
            if answer is not None and not answer.done():
                answer.set_result(None)
        self.lost.set()

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._transport is not None and not self.lost.is_set():
            self._transport.write(b"".join(out))

    def _look(self) -> None:
        self._watch = None
        if not self._waiting:
            return
        due = self._waiting[0][0] + self._budget
        if due <= self._loop.time():
            self.end(f"it did not answer within {self._budget * 1000:.0f} ms")
        else:
            self._watch = self._loop.call_at(due, self._look)


class Redis:
    """`keep` runs for as long as it is used. Nothing here raises for what Redis does."""

    def __init__(self, url: str, budget: float = 0.02) -> None:
        self.failures = 0
        self._address = Address(url)
        self._budget = budget
        self._line: _Line | None = None
        self._said = ""

    @property
    def ready(self) -> bool:
        return self._line is not None

    def get(self, key: bytes) -> asyncio.Future[Any] | None:
        """A future of the value: bytes, or anything else for none. None at once while nobody would answer."""
        line = self._line
        return None if line is None else line.ask(b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (len(key), key))

    def set(self, key: bytes, value: bytes, ttl: float) -> None:
        """Does not wait, and is not heard when it fails."""
        line = self._line
        if line is not None and not line.full:
            line.ask(pack("SET", key, value, "PX", str(max(1, int(ttl * 1000)))), wanted=False)

    async def keep(self) -> None:
        """Connect, and connect again; runs until cancelled."""
        loop = asyncio.get_running_loop()
        pause = PAUSE
        try:
            while True:
                line = _Line(self._budget)
                why = await self._connect(line)
                began = loop.time()
                if not why:
                    self._line = line
                    self._say("")
                    await line.lost.wait()
                    why = line.why
                self._line = None
                self.failures += 1
                self._say(why)
                line.end(why)
                pause = PAUSE if loop.time() - began > HEALTHY else min(LONGEST, pause * 2)
                await asyncio.sleep(pause)
        finally:
            if self._line is not None:
                self._line.end("")
                self._line = None

    async def _connect(self, line: _Line) -> str:
        """Why not, or ""."""
        loop, to = asyncio.get_running_loop(), self._address
        try:
            async with asyncio.timeout(CONNECT):
                if to.path:
                    await loop.create_unix_connection(lambda: line, to.path)
                else:
                    await loop.create_connection(lambda: line, to.host, to.port, ssl=to.tls)
        except TimeoutError:
            return f"no connection within {CONNECT:g} s"
        except (OSError, ssl.SSLError) as error:
            return f"no connection: {error.strerror or type(error).__name__}"
        for command in to.greeting:
            answer = line.ask(pack(*command))
            assert answer is not None
            said = await answer
            if isinstance(said, RefusedError):
                return f"it refuses {command[0]!s}: {str(said).partition(' ')[0]}"
            if said != (b"PONG" if command[0] == "PING" else b"OK"):
                return line.why or STRANGER
        return ""

    def _say(self, why: str) -> None:
        """Once for each thing that is wrong, not once for each attempt."""
        if why != self._said and (why or self._said):
            print(f"mawasu: the cache in Redis is {f'not used: {why}' if why else 'used again'}", file=sys.stderr)
            sys.stderr.flush()
        self._said = why


def pack(*words: str | bytes) -> bytes:
    """A command in Redis' protocol (RESP2)."""
    encoded = [word.encode() if isinstance(word, str) else word for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded)


def reply(data: bytes, at: int) -> tuple[int, bytes | int | RefusedError | None] | None:
    """The answer that begins at `at`, after where it ends; None while it is not whole. Raises ValueError for all else.

    Simple strings, errors, integers and bulk strings (redis.io, RESP2): what these commands are answered with.
    """
    end = data.find(b"\r\n", at, at + LONGEST_LINE)
    if end < 0:
        if len(data) - at >= LONGEST_LINE:
            raise ValueError("a line without end")
        return None
    kind, line, end = data[at : at + 1], data[at + 1 : end], end + 2
    if kind == b"$":
        size = int(line)
        if size < 0:
            return end, None
        if size > LARGEST:
            raise ValueError("larger than what was written")
        if len(data) < end + size + 2:
            return None
        return end + size + 2, data[end : end + size]
    if kind == b"+":
        return end, line
    if kind == b"-":
        return end, RefusedError(line.decode(errors="replace"))
    if kind == b":":
        return end, int(line)
    raise ValueError("no answer of these commands")
