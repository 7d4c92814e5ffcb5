"""Redis' protocol as far as GET and SET need it (redis.io, RESP2). Pure.

Written here because a look-up must end at one moment, which general clients do not offer, and because whoever asks for
strings need not be ready for anything else.
"""

from __future__ import annotations

import ssl
from urllib.parse import unquote, urlsplit

from mawasu.client.effects import Read, Write

LONGEST_LINE = 1024  # bytes
LARGEST = 64 * 2**20  # bytes of one value


class Address:
    """What a URL says: `redis://[user][:password]@host[:port][/db]`, `rediss://` with TLS, `unix:///path`.

    Certificates are checked against the machine's; `?ca=/path` names another authority.
    """

    def __init__(self, url: str) -> None:
        """Raises ValueError, which does not repeat the URL: it may hold a password."""
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
        user = [unquote(parts.username)] if parts.username else []
        login = [pack("AUTH", *user, unquote(parts.password))] if parts.password else []
        self.greeting = [*login, *([pack("SELECT", database)] if database else [])]


class Answers:
    """What comes back for `count` commands, in their order: `found` has a value's bytes, or None for none."""

    def __init__(self, count: int) -> None:
        self.found: list[bytes | None] = []
        self.refused = ""  # the first word of the first error, such as NOAUTH or OOM
        self._count = count
        self._rest = bytearray()

    @property
    def whole(self) -> bool:
        return len(self.found) == self._count

    def feed(self, data: bytes) -> None:
        """Raises ValueError for what is no answer to GET, SET, AUTH or SELECT; OSError for an end ahead of time."""
        if not data:
            raise ConnectionResetError("it closed the connection")
        self._rest += data
        at = 0
        while not self.whole and (found := _reply(self._rest, at)) is not None:
            at, kind, value = found
            if kind == b"-":
                self.refused = self.refused or bytes(value or b"").decode(errors="replace").partition(" ")[0]
            self.found.append(value if kind == b"$" else None)
        del self._rest[:at]
        if self.whole and self._rest:
            raise ValueError("it answers more than was asked")


def pack(*words: str | bytes) -> bytes:
    """A command."""
    encoded = [word.encode() if isinstance(word, str) else word for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded)


def commands(effect: Read | Write) -> list[bytes]:
    if isinstance(effect, Read):
        return [pack("GET", key) for key in effect.keys]
    life = str(max(1, int(effect.seconds * 1000)))
    return [pack("SET", key, value, "PX", life) for key, value in effect.values.items()]


def _reply(data: bytearray, at: int) -> tuple[int, bytes, bytes | None] | None:
    """(where it ends, its kind, its text) of the reply that begins at `at`; None while it is not whole."""
    end = data.find(b"\r\n", at, at + LONGEST_LINE)
    if end < 0:
        if len(data) - at >= LONGEST_LINE:
            raise ValueError("it does not speak Redis' protocol")
        return None
    kind, line, end = bytes(data[at : at + 1]), bytes(data[at + 1 : end]), end + 2
    if kind in (b"+", b"-"):
        return end, kind, line
    if kind != b"$" or not line.removeprefix(b"-").isdigit():
        raise ValueError("it does not speak Redis' protocol")
    size = int(line[:12])
    if size < 0:
        return end, kind, None
    if size > LARGEST:
        raise ValueError("it holds what nobody wrote")
    if len(data) < end + size + 2:
        return None
    return end + size + 2, kind, bytes(data[end : end + size])
