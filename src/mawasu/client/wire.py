"""Does what `call.py` asks for: HTTP by httpx, Redis, tokens. Lives in one event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

import httpx

from mawasu.client.breaker import Breaker
from mawasu.client.cache import Redis
from mawasu.client.call import Settings
from mawasu.client.effects import Awaited, Lost, Read, Reply, Send, Unawaited, Write

if TYPE_CHECKING:
    from redis.asyncio import Redis as Connection

CONNECT_SHARE = 0.5  # of a request's time: a machine that is gone leaves enough to ask its neighbour
LARGEST = 32 * 2**20  # bytes of an answer
IDLE = 30.0  # seconds; less than the gateways we know wait before they close an idle connection
log = logging.getLogger("mawasu.client")


class Wire:
    """`do` never takes longer than the effect's timeout, and never raises for what the network does."""

    def __init__(self, settings: Settings[Any], connections: int) -> None:
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=IDLE)
        self._http = httpx.AsyncClient(base_url=settings.base, limits=limits)
        self._tokens = settings.tokens
        self._store = Store(settings.cache) if isinstance(settings.cache, Redis) else None
        self._renewing: asyncio.Task[str] | None = None
        self._background: set[asyncio.Task[object]] = set()

    async def do(self, effect: Awaited) -> object:
        try:
            async with asyncio.timeout(effect.timeout):
                if isinstance(effect, Send):
                    return await self._send(effect)
                if isinstance(effect, Read):
                    return await self._store.read(effect) if self._store else effect.late()
                return await asyncio.shield(self._renew())  # who comes next has the token that came too late for us
        except TimeoutError:
            return effect.late()

    def start(self, effect: Unawaited) -> None:
        """Without waiting for it; on the loop."""
        if isinstance(effect, Write):
            if self._store is not None:
                self._keep(asyncio.ensure_future(self._store.write(effect)))
        else:
            self._renew()

    async def close(self) -> None:
        if self._background:
            await asyncio.wait(self._background, timeout=1.0)
        await self._http.aclose()
        if self._store is not None:
            await self._store.close()

    async def _send(self, effect: Send) -> Reply | Lost:
        timeout = httpx.Timeout(effect.timeout, connect=effect.timeout * CONNECT_SHARE)
        try:
            async with self._http.stream(
                "POST", effect.path, content=effect.body, headers=effect.headers, timeout=timeout
            ) as response:
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > LARGEST:
                        return Lost("garbage", f"the answer is larger than {LARGEST} bytes", sent=True)
                return Reply(response.status_code, {**response.headers}, bytes(body))
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            return Lost("unreachable", f"no connection: {_why(error)}", sent=False)
        except httpx.TimeoutException:
            return effect.late()
        except httpx.DecodingError:
            return Lost("garbage", "the answer's content-encoding is broken", sent=True)
        except httpx.RequestError as error:
            return Lost("unreachable", f"the connection was cut: {_why(error)}", sent=True)

    def _renew(self) -> asyncio.Task[str]:
        """One for all who wait."""
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.ensure_future(self._renewed())
            self._keep(self._renewing)
        return self._renewing

    async def _renewed(self) -> str:
        assert self._tokens is not None
        try:
            self._tokens.got(await asyncio.to_thread(self._tokens.source))
        except Exception as error:  # noqa: BLE001 - a source is anybody's code, and the page lives on without a token
            why = f"{type(error).__name__}: {_why(error)}"
            self._tokens.failed(why)
            log.warning("no token: %s", why)
            return why
        return ""

    def _keep(self, task: asyncio.Task[Any]) -> None:
        self._background.add(task)
        task.add_done_callback(self._background.discard)


class Store:
    """Redis, which may be slow or away: then it is as good as empty, and left alone for a while."""

    def __init__(self, settings: Redis) -> None:
        try:
            from redis import asyncio as redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
            from redis.exceptions import RedisError
        except ImportError as error:
            raise ImportError("a cache in Redis needs: pip install 'mawasu-client[redis]'") from error
        self._errors: tuple[type[Exception], ...] = (RedisError, OSError, ValueError)
        self._timeout = settings.timeout
        self._redis: Connection = redis.Redis.from_url(
            settings.url, socket_timeout=1.0, socket_connect_timeout=1.0, retry=Retry(NoBackoff(), 0)
        )
        self._breaker = Breaker()

    async def read(self, effect: Read) -> list[bytes | None]:
        found = await self._try(self._redis.mget(effect.keys))
        return found if found is not None else effect.late()

    async def write(self, effect: Write) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for key, value in effect.values.items():
            pipeline.set(key, value, px=max(1, int(effect.seconds * 1000)))
        await self._try(pipeline.execute())

    async def close(self) -> None:
        await self._redis.aclose()

    async def _try(self, work: Awaitable[Any]) -> Any:
        """None when it did not work."""
        permit = self._breaker.permit()
        if not permit:
            work.close()  # type: ignore[attr-defined] # a coroutine that nobody will await
            return None
        try:
            async with asyncio.timeout(self._timeout):
                found = await work
        except self._errors as error:  # TimeoutError is an OSError
            if rest := self._breaker.bad(permit):
                log.warning("Redis is left alone for %.1f s: %s", rest, type(error).__name__)
            return None
        except asyncio.CancelledError:
            self._breaker.bad(permit)  # it was waited for as long as the call allowed
            raise
        self._breaker.good(permit)
        return found


def _why(error: Exception) -> str:
    """One line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
