"""Does what `call.py` asks for: HTTP by httpcore, which is what httpx stands on, and tokens. Once for threads, once for
an event loop; `do` never takes longer than the effect's timeout, and never raises for what the network does."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

import httpcore

from mawasu.client.aside import Aside
from mawasu.client.call import Settings
from mawasu.client.credentials import Tokens
from mawasu.client.deadline import within
from mawasu.client.effects import Effect, Lost, Pause, Read, RenewSoon, Reply, Send, Write
from mawasu.client.pools import async_pool, pool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mawasu.client.store import AsyncStore, Store

CONNECT_SHARE = 0.5  # of a request's time: a machine that is gone leaves enough to ask its neighbour
LARGEST = 32 * 2**20  # bytes of an answer
log = logging.getLogger("mawasu.client")


class Wire:
    """For threads."""

    def __init__(self, settings: Settings[Any], connections: int, store: Store | None) -> None:
        self._pool = pool(settings.base, connections)
        self._base, self._tokens, self._store = settings.base, settings.tokens, store
        self._lock = threading.Lock()
        self._renewing: Aside[str] | None = None

    def do(self, effect: Effect) -> object:
        """Pauses are the caller's, who has his own way to wait."""
        if isinstance(effect, Send):
            return self._send(effect)
        if isinstance(effect, Read | Write):
            return self._store.do(effect) if self._store else effect.late()
        assert not isinstance(effect, Pause)
        renewing = self._renew()
        if isinstance(effect, RenewSoon):
            return None
        try:
            return renewing.result(effect.timeout)
        except TimeoutError:
            return effect.late()

    def close(self) -> None:
        self._pool.close()
        if self._store is not None:
            self._store.close()

    def _send(self, effect: Send) -> Reply | Lost:
        try:
            with (
                within(effect.timeout),
                self._pool.stream("POST", self._base + effect.path, **_request(effect)) as came,
            ):
                body = bytearray()
                for chunk in came.iter_stream():
                    body += chunk
                    if len(body) > LARGEST:
                        return _too_large()
                return _reply(came, bytes(body))
        except _ERRORS as error:
            return _lost(effect, error)

    def _renew(self) -> Aside[str]:
        """One for all who wait. Who comes next has the token that came too late for who asked."""
        tokens = self._tokens
        assert tokens is not None
        with self._lock:
            if self._renewing is None or self._renewing.done:
                self._renewing = Aside(lambda: _renewed(tokens))
            return self._renewing


class AsyncWire:
    """For one event loop."""

    def __init__(self, settings: Settings[Any], connections: int, store: AsyncStore | None) -> None:
        self._pool = async_pool(settings.base, connections)
        self._base, self._tokens, self._store = settings.base, settings.tokens, store
        self._renewing: asyncio.Future[str] | None = None

    async def do(self, effect: Effect) -> object:
        """Pauses are the caller's."""
        if isinstance(effect, RenewSoon):
            self._renew()
            return None
        if isinstance(effect, Read | Write):
            return await self._store.do(effect) if self._store else effect.late()
        assert not isinstance(effect, Pause)
        try:
            async with asyncio.timeout(effect.timeout):
                if isinstance(effect, Send):
                    return await self._send(effect)
                return await asyncio.shield(self._renew())
        except TimeoutError:
            return effect.late()

    async def close(self) -> None:
        await self._pool.aclose()
        if self._store is not None:
            await self._store.close()

    async def _send(self, effect: Send) -> Reply | Lost:
        try:
            async with self._pool.stream("POST", self._base + effect.path, **_request(effect)) as came:
                body = bytearray()
                async for chunk in came.aiter_stream():
                    body += chunk
                    if len(body) > LARGEST:
                        return _too_large()
                return _reply(came, bytes(body))
        except _ERRORS as error:
            return _lost(effect, error)

    def _renew(self) -> asyncio.Future[str]:
        """As Wire's."""
        tokens = self._tokens
        assert tokens is not None
        if self._renewing is None or self._renewing.done():
            loop = asyncio.get_running_loop()
            self._renewing = future = loop.create_future()

            def told(why: str) -> None:
                if not future.done():
                    future.set_result(why)

            def renew() -> None:
                why = _renewed(tokens)
                if not loop.is_closed():
                    loop.call_soon_threadsafe(told, why)

            threading.Thread(target=renew, name="mawasu.client", daemon=True).start()
        return self._renewing


# ---------------------------------------------------------------------------------------- what both have

_ERRORS = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError)


def _request(effect: Send) -> dict[str, Any]:
    timeout = dict.fromkeys(("read", "write", "pool"), effect.timeout)
    timeout["connect"] = effect.timeout * CONNECT_SHARE
    headers: Mapping[str, str] = effect.headers
    return {"headers": list(headers.items()), "content": effect.body, "extensions": {"timeout": timeout}}


def _reply(came: httpcore.Response, body: bytes) -> Reply:
    headers: dict[str, str] = {}
    for raw_name, raw_value in came.headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Reply(came.status, headers, body)


def _lost(effect: Send, error: Exception) -> Lost:
    if isinstance(error, httpcore.ConnectError | httpcore.ConnectTimeout | httpcore.ProxyError):
        return Lost("unreachable", f"no connection: {_why(error)}", sent=False)
    if isinstance(error, httpcore.TimeoutException):
        return effect.late()
    return Lost("unreachable", f"the connection was cut: {_why(error)}", sent=True)


def _too_large() -> Lost:
    return Lost("garbage", f"the answer is larger than {LARGEST} bytes", sent=True)


def _renewed(tokens: Tokens) -> str:
    """Why not; "" when there is a new one."""
    try:
        tokens.got(tokens.source())
    except Exception as error:  # noqa: BLE001 - a source is anybody's code, and the page lives on without a token
        why = f"{type(error).__name__}: {_why(error)}"
        tokens.failed(why)
        log.warning("no token: %s", why)
        return why
    return ""


def _why(error: Exception) -> str:
    """One line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
