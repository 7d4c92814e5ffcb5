"""`Api` for pages that wait in a thread, `AsyncApi` for those in an event loop (asyncio)."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Any, Generic, Self, cast
from urllib.parse import urlsplit

from mawasu.client.answer import Answer, Event, T
from mawasu.client.breaker import State
from mawasu.client.cache import Memory, Redis
from mawasu.client.call import ABSENT, Core, Settings
from mawasu.client.credentials import Tokens, TokenSource, name_of
from mawasu.client.effects import Pause, Steps
from mawasu.client.store import AsyncStore, Store
from mawasu.client.wire import AsyncWire, Wire


def _as_it_is(value: Any) -> Any:
    return value


class _Either(Generic[T]):
    """What both have.

    url: the address of a feature's environment, `https://ml.example.com/flight-delay/production`.
    key: an API key. token: instead of it, what gets a token (`mawasu.client.google`). timeout: seconds for a call, all
    in. fallback: the value when there is no answer; without one, ApiError is raised. decode: makes the value out of the
    answer's JSON; what it raises makes the answer garbage. cache: Memory() if you say nothing, or Redis(…). retries:
    how often a request may be sent again. connections: at most, to the API. on_call: is told an Event after each call.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str = "",
        token: TokenSource | None = None,
        timeout: float = 1.0,
        fallback: Any = ABSENT,
        decode: Callable[[Any], T] = _as_it_is,
        cache: Memory | Redis | None = None,
        retries: int = 1,
        connections: int = 100,
        on_call: Callable[[Event], None] | None = None,
    ) -> None:
        if key and token is not None:
            raise ValueError("a key or a token: the gateway refuses callers who show two")
        headers = {"content-type": "application/json", "accept": "application/json", "user-agent": _agent()}
        if key:
            headers["x-api-key"] = _header("key", key)
        self._core: Core[T] = Core(
            Settings(
                base=_base(url),
                headers=headers,
                tokens=Tokens(token) if token is not None else None,
                who=name_of(key or _named(token)),
                timeout=timeout,
                retries=retries,
                fallback=fallback,
                decode=decode,
                cache=Memory() if cache is None else cache,  # an empty Memory is false
                on_call=on_call,
            )
        )
        self._connections = connections
        self._open()  # now, and not with the first page: what TLS trusts takes a while to read

    def _open(self) -> None:
        raise NotImplementedError

    @property
    def breaker(self) -> State:
        """closed: the API is asked. open: it rests. half-open: the next call tries it."""
        return self._core.breaker.state

    def _steps(
        self, items: Sequence[Any], many: bool, path: str, unit: str, safe: bool, timeout: float | None
    ) -> Steps[list[Answer[T]]]:
        unit = _header("unit", unit) if unit else ""
        if not path.startswith("/") or not path.isascii() or not path.isprintable() or " " in path:
            raise ValueError("a path begins with / and is written as in an address")
        return self._core.predict(items, many=many, path=path, unit=unit, safe=safe, timeout=timeout)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._core.settings.base!r})"


class Api(_Either[T]):
    """For threads: any number may share one, and a server may fork with it."""

    def predict(
        self, item: Any, *, path: str = "/predict", unit: str = "", safe: bool = True, timeout: float | None = None
    ) -> Answer[T]:
        """What the model says to one item.

        unit: whom an experiment keeps on one side (a visitor, a customer), sent as `Mawasu-Unit`. safe: asking twice
        does no harm. timeout: seconds, instead of the Api's. Raises ApiError when there is neither an answer nor a
        fall-back; TypeError or ValueError for an item that is not JSON, or a unit that is not printable ASCII.
        """
        return self._run(self._steps([item], False, path, unit, safe, timeout))[0]

    def predict_many(
        self,
        items: Sequence[Any],
        *,
        path: str = "/predict",
        unit: str = "",
        safe: bool = True,
        timeout: float | None = None,
    ) -> list[Answer[T]]:
        """What the model says to each, in one request for all that are not in the cache. As `predict` else."""
        return self._run(self._steps(items, True, path, unit, safe, timeout))

    def close(self) -> None:
        """Ends the connections."""
        self._own_wire().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _open(self) -> None:
        cache = self._core.settings.cache
        self._wire = Wire(
            self._core.settings, self._connections, Store(cache.url) if isinstance(cache, Redis) else None
        )
        self._process = os.getpid()

    def _own_wire(self) -> Wire:
        if self._process != os.getpid():
            with _forked:
                if self._process != os.getpid():
                    self._open()  # the other connections are our parent's
        return self._wire

    def _run(self, steps: Steps[list[Answer[T]]]) -> list[Answer[T]]:
        wire = self._own_wire()
        result: object = None
        try:
            while True:
                effect = steps.send(result)
                if isinstance(effect, Pause):
                    time.sleep(effect.seconds)
                    result = None
                else:
                    result = wire.do(effect)
        except StopIteration as end:
            return cast("list[Answer[T]]", end.value)
        finally:
            steps.close()


class AsyncApi(_Either[T]):
    """For one event loop of asyncio. As Api else."""

    def _open(self) -> None:
        cache = self._core.settings.cache
        store = AsyncStore(cache.url) if isinstance(cache, Redis) else None
        self._wire = AsyncWire(self._core.settings, self._connections, store)

    async def predict(
        self, item: Any, *, path: str = "/predict", unit: str = "", safe: bool = True, timeout: float | None = None
    ) -> Answer[T]:
        """See Api.predict."""
        return (await self._run(self._steps([item], False, path, unit, safe, timeout)))[0]

    async def predict_many(
        self,
        items: Sequence[Any],
        *,
        path: str = "/predict",
        unit: str = "",
        safe: bool = True,
        timeout: float | None = None,
    ) -> list[Answer[T]]:
        """See Api.predict_many."""
        return await self._run(self._steps(items, True, path, unit, safe, timeout))

    async def close(self) -> None:
        """Ends the connections."""
        await self._wire.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self, steps: Steps[list[Answer[T]]]) -> list[Answer[T]]:
        result: object = None
        try:
            while True:
                effect = steps.send(result)
                if isinstance(effect, Pause):
                    await asyncio.sleep(effect.seconds)
                    result = None
                else:
                    result = await self._wire.do(effect)
        except StopIteration as end:
            return cast("list[Answer[T]]", end.value)
        finally:
            steps.close()


_forked = threading.Lock()


def _base(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        shown = f"{parts.scheme}://{parts.hostname or ''}" if "@" in url else url.partition("?")[0]  # no password
        raise ValueError(f"not the address of an API: {shown!r}; it begins with https://")
    if parts.query or parts.fragment or parts.username or parts.password:
        raise ValueError("the address of an API has no query, no fragment and no password: a key goes into key=")
    return url.rstrip("/")


def _header(what: str, value: str) -> str:
    if not (value.isascii() and value.isprintable()):
        raise ValueError(f"a {what} is printable ASCII: it travels in a header")
    return value


def _named(token: TokenSource | None) -> str:
    """Alike in all processes of a site: an address in memory must not stand in it."""
    if token is None:
        return ""
    called = getattr(token, "__qualname__", "")
    return f"{token.__module__}.{called}" if called else repr(token)


def _agent() -> str:
    try:
        return f"mawasu-client/{version('mawasu-client')}"
    except PackageNotFoundError:  # in a checkout
        return "mawasu-client"
