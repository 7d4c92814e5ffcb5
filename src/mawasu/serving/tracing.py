"""The server's part of a trace: a span of each request whose caller traces it, and those of what it waited for.

Which requests are traced is said in their `traceparent` (W3C Trace Context), by the gateway or by its callers; a server
begins no trace. Attributes are OpenTelemetry's conventions for HTTP servers. No header, query or body is in them.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable
from functools import lru_cache, partial
from random import getrandbits
from typing import NamedTuple

from msgspec import Raw

from mawasu.serving.config import Config
from mawasu.serving.errors import RequestError
from mawasu.serving.message import App, CallerLeftError, Headers, Request, Response
from mawasu.serving.metrics import OTHER, PATHS, Operations
from mawasu.serving.otlp import ERROR, FAILED, INTERNAL, NONE, SERVER, UNSET, Exporter, Span, Status, attributes

TRACEPARENT = b"traceparent"
STATUS = b"cache-status"
LONGEST = 256  # characters of a path

_FORM = re.compile(rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


def parent(value: bytes) -> tuple[str, str] | None:
    """Trace and span that a `traceparent` names; None when it is none, or says that nobody records the trace.

    Later versions may say more, after what this one says (W3C Trace Context, 4.1).
    """
    found = _FORM.fullmatch(value)
    if found is None or (found[1] == b"00" and found[5]) or not int(found[4], 16) & 1:
        return None
    return found[2].decode(), found[3].decode()


class Description(NamedTuple):
    """What a server's span says besides its times."""

    name: str
    attributes: Raw
    status: Status


@lru_cache(1024)
def of_batch(items: int, requests: int) -> Raw:
    return attributes({"mawasu.batch_items": items, "mawasu.batch_requests": requests})


class Trace:
    """One request's span while it is answered. `began` and all times here are on the loop's clock, in seconds."""

    __slots__ = ("_exporter", "_parent", "_shift", "began", "id", "trace")

    def __init__(self, exporter: Exporter, above: tuple[str, str], now: float) -> None:
        self.began = now
        self.trace, self._parent = above
        self.id = new_id()
        self._exporter = exporter
        self._shift = time.time_ns() - int(now * 1e9)

    @property
    def traceparent(self) -> bytes:
        """`traceparent` for whoever is asked next."""
        return f"00-{self.trace}-{self.id}-01".encode()

    def batch(self, began: float, ended: float, items: int, requests: int, failed: str) -> None:
        """The worker was with the batch that this request was part of. `failed`: why it has no answer, or ""."""
        self.note("predict", began, ended, of_batch(items, requests), failed)

    def note(self, name: str, began: float, ended: float, told: Raw = NONE, failed: str = "") -> None:
        """Something that this request waited for, and what is told of it."""
        status = Status(ERROR, failed) if failed else UNSET
        times = self._time(began), self._time(ended)
        self._exporter.put(Span(self.trace, new_id(), self.id, name, INTERNAL, *times, told, status))

    def end(self, what: Description, now: float) -> None:
        times = self._time(self.began), self._time(now)
        span = Span(self.trace, self.id, self._parent, what.name, SERVER, *times, what.attributes, what.status)
        self._exporter.put(span)

    def _time(self, moment: float) -> str:
        return str(self._shift + int(moment * 1e9))


class TracedApp:
    """`app`, and a span of what it is asked."""

    def __init__(self, config: Config, exporter: Exporter, app: App) -> None:
        self._app = app
        self._exporter = exporter
        self._operations = Operations(config.operations, config.prefix)
        self._described = lru_cache(PATHS)(self._describe)
        self._loop = asyncio.get_running_loop()

    async def __call__(self, request: Request) -> Response:
        above = parent(request.header(TRACEPARENT))
        if above is None:
            return await self._app(request)
        request.trace = trace = Trace(self._exporter, above, self._loop.time())
        try:
            response = await self._app(request)
        except BaseException as error:
            self._ended(request, trace, Response(status_of(error)))
            raise
        if isinstance(response.body, bytes):
            self._ended(request, trace, response)
        else:
            response.body = Pieces(response.body, partial(self._ended, request, trace, response))
        return response

    def _ended(self, request: Request, trace: Trace, response: Response) -> None:
        scheme = "https" if request.header(b"x-forwarded-proto") == b"https" else "http"
        cache = cache_of(response.headers)
        what = self._described(request.method, scheme, request.path[:LONGEST], response.status, cache)
        trace.end(what, self._loop.time())

    def _describe(self, method: str, scheme: str, path: bytes, status: int, cache: str) -> Description:
        operation = self._operations.of(method, path)
        told: dict[str, str | int] = {
            "http.request.method": method,
            "url.scheme": scheme,
            "url.path": path.decode("latin-1"),
            "http.response.status_code": status,
        }
        if operation != OTHER:
            told["http.route"] = operation.partition(" ")[2]
        if cache:
            told["mawasu.cache"] = cache
        if status >= 500:
            told["error.type"] = str(status)
        name = method if operation == OTHER else operation
        return Description(name, attributes(told), FAILED if status >= 500 else UNSET)


class Pieces:
    """An answer in pieces; `ended` is called once nobody reads it any more."""

    def __init__(self, pieces: AsyncIterable[bytes], ended: Callable[[], None]) -> None:
        self._pieces = pieces
        self._ended = ended

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._pieces:
            yield piece

    async def aclose(self) -> None:
        self._ended()
        close = getattr(self._pieces, "aclose", None)
        if close is not None:
            await close()


def exporter(url: str, config: Config) -> Exporter:
    """For the spans of one server. Its resource is OpenTelemetry's, and ours. Raises ValueError."""
    told = {
        "service.name": config.labels.get("feature", "mawasu"),
        "service.namespace": "mawasu",
        "service.version": config.release,
        "deployment.environment.name": config.labels.get("environment", ""),
        "mawasu.release": config.release,
    }
    return Exporter(url, told | {f"mawasu.{name}": value for name, value in config.labels.items()})


def cache_of(headers: Headers) -> str:
    """What our cache did, by its `Cache-Status` (RFC 9211): hit, collapsed, miss or bypass; "" where there is none."""
    status = next((value for name, value in headers if name == STATUS and value.startswith(b"mawasu")), b"")
    if not status:
        return ""
    if b"; hit" in status:
        return "hit"
    if b"; collapsed" in status:
        return "collapsed"
    return "bypass" if b"=bypass" in status or b"=method" in status else "miss"


def status_of(error: BaseException) -> int:
    """What the server answers to it."""
    if isinstance(error, RequestError):
        return error.status
    return CallerLeftError.status if isinstance(error, CallerLeftError | asyncio.CancelledError) else 500


def new_id() -> str:
    return f"{getrandbits(64) or 1:016x}"
