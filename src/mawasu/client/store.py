"""Redis, which may be slow or away: then it is as good as empty, and left alone for a while."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from mawasu.client.breaker import Breaker
from mawasu.client.cache import Redis
from mawasu.client.effects import Read, Write

if TYPE_CHECKING:
    from redis import Redis as Connection
    from redis.asyncio import Redis as AsyncConnection

log = logging.getLogger("mawasu.client")


class Store:
    """For threads."""

    def __init__(self, settings: Redis) -> None:
        redis = _library()
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self._redis: Connection = redis.Redis.from_url(
            settings.url,
            socket_timeout=settings.timeout,
            socket_connect_timeout=settings.timeout,
            retry=Retry(NoBackoff(), 0),
        )
        self._guard = _Guard(redis)

    def do(self, effect: Read | Write) -> object:
        permit = self._guard.breaker.permit()
        if not permit:
            return effect.late()
        try:
            if isinstance(effect, Read):
                found: object = self._redis.mget(effect.keys)
            else:
                found = _filled(self._redis.pipeline(transaction=False), effect).execute()
        except self._guard.errors as error:
            self._guard.bad(permit, error)
            return effect.late()
        self._guard.breaker.good(permit)
        return found

    def close(self) -> None:
        self._redis.close()


class AsyncStore:
    """For one event loop."""

    def __init__(self, settings: Redis) -> None:
        redis = _library()
        from redis.asyncio import Redis as AsyncConnection
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        self._redis: AsyncConnection = AsyncConnection.from_url(
            settings.url,
            socket_timeout=settings.timeout,
            socket_connect_timeout=settings.timeout,
            retry=Retry(NoBackoff(), 0),
        )
        self._guard = _Guard(redis)

    async def do(self, effect: Read | Write) -> object:
        permit = self._guard.breaker.permit()
        if not permit:
            return effect.late()
        try:
            if isinstance(effect, Read):
                found: object = await self._redis.mget(effect.keys)
            else:
                found = await _filled(self._redis.pipeline(transaction=False), effect).execute()
        except self._guard.errors as error:
            self._guard.bad(permit, error)
            return effect.late()
        except asyncio.CancelledError as error:  # it was waited for as long as the call allowed, or the caller left
            self._guard.bad(permit, error)
            raise
        self._guard.breaker.good(permit)
        return found

    async def close(self) -> None:
        await self._redis.aclose()


class _Guard:
    def __init__(self, redis: Any) -> None:
        self.breaker = Breaker()
        self.errors: tuple[type[Exception], ...] = (redis.RedisError, OSError, ValueError)

    def bad(self, permit: int, error: BaseException) -> None:
        if rest := self.breaker.bad(permit):
            log.warning("Redis is left alone for %.1f s: %s", rest, type(error).__name__)


def _filled(pipeline: Any, effect: Write) -> Any:
    for key, value in effect.values.items():
        pipeline.set(key, value, px=max(1, int(effect.seconds * 1000)))
    return pipeline


def _library() -> Any:
    try:
        import redis
    except ImportError as error:
        raise ImportError("answers in Redis need: pip install 'mawasu-client[redis]'") from error
    return redis
