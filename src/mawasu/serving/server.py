"""One server process: HTTP on a Unix socket, or a TCP port, in front of the workers of one replica.

On SIGTERM it drains: new connections find no socket (on a port it is the platform's to send none), those that stand
are answered and closed, nothing that was accepted is lost; then it leaves with status 0. How long that may take is for
whoever sent the signal to say.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mawasu.serving.config import Config
from mawasu.serving.http import Listener
from mawasu.serving.message import App, Traffic
from mawasu.serving.metrics import Family, Requests, gauge, resident

if TYPE_CHECKING:
    from mawasu.serving.otlp import Exporter
    from mawasu.serving.redis import Redis

Measure = Callable[[], list[Family]]

TICK = 0.01
QUIET = 5  # ticks without a request before the listener closes: who connected just before is answered


async def serve(config: Config, port: int = 0) -> None:
    """Until SIGTERM or SIGINT. `port` is where to listen when the configuration names no socket."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if config.command:
        await serve_command(config, port, stop)
    else:
        await serve_handler(config, port, stop)


async def serve_handler(config: Config, port: int, stop: asyncio.Event) -> None:
    from mawasu.serving.handler import HandlerApp

    app = HandlerApp(config)
    async with kept(app.keep()):
        await run(config, port, app, app.traffic, stop, [app.measure])


async def serve_command(config: Config, port: int, stop: asyncio.Event) -> None:
    from mawasu.serving.proxy import ProxyApp  # its HTTP client is slow to import, and only needed here

    app = ProxyApp(config)
    await run(config, port, app, app.traffic, stop, [])
    await app.close()


@contextlib.asynccontextmanager
async def kept(work: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """`work` beside what is inside, and ended with it."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def run(
    config: Config, port: int, app: App, traffic: Traffic, stop: asyncio.Event, measures: Sequence[Measure]
) -> None:
    if config.predictions is not None and config.spool:
        from mawasu.serving.predictions import LoggedApp, Recorder

        recorder = Recorder(config, config.predictions)
        async with kept(recorder.keep()):
            logged = partial(LoggedApp, config, config.predictions, recorder)
            await cached(config, port, app, traffic, stop, [*measures, recorder.measure], logged)
    else:
        await cached(config, port, app, traffic, stop, measures, lambda app: app)


async def cached(
    config: Config,
    port: int,
    app: App,
    traffic: Traffic,
    stop: asyncio.Event,
    measures: Sequence[Measure],
    logged: Callable[[App], App],
) -> None:
    if config.cache is None:
        await listen(config, port, logged(app), traffic, stop, measures)
        return
    from mawasu.serving.cached import CachedApp

    redis = shared_cache()
    async with kept(redis.keep()) if redis is not None else contextlib.nullcontext():
        kept_app = CachedApp(app, config, config.cache, redis)
        await listen(config, port, logged(kept_app), traffic, stop, [*measures, kept_app.measure])


def shared_cache() -> Redis | None:
    """In the Redis of $MAWASU_REDIS_URL: in the environment, because the configuration holds no secrets."""
    url = os.environ.get("MAWASU_REDIS_URL", "")
    if not url:
        return None
    from mawasu.serving.redis import Redis

    try:
        return Redis(url)
    except (ValueError, OSError) as error:
        print(f"mawasu: the cache in Redis is not used: {error}", file=sys.stderr, flush=True)
        return None


def traces(config: Config) -> Exporter | None:
    """To the collector of $MAWASU_TRACES_URL, whole: `http://127.0.0.1:4318/v1/traces`."""
    url = os.environ.get("MAWASU_TRACES_URL", "")
    if not url:
        return None
    from mawasu.serving.tracing import exporter

    try:
        return exporter(url, config)
    except ValueError as error:
        print(f"mawasu: traces are not sent: {error}", file=sys.stderr, flush=True)
        return None


async def listen(
    config: Config, port: int, app: App, traffic: Traffic, stop: asyncio.Event, measures: Sequence[Measure]
) -> None:
    os.umask(0o077)  # the socket is for this user's gateway
    began = time.time()
    spans = traces(config)
    if spans is not None:
        from mawasu.serving.tracing import TracedApp

        app, measures = TracedApp(config, spans, app), [*measures, spans.measure]

    def measure() -> list[Family]:
        return [
            gauge("started_seconds", "When the server started, in seconds since the epoch.", began),
            gauge("server_memory_bytes", "Resident memory of the server.", resident("self")),
            gauge("requests_active", "Requests under way, this one too.", traffic.active),
            *(family for one in measures for family in one()),
        ]

    requests = Requests(config.operations, config.prefix)
    listener = Listener(app, traffic, requests, measure, config.labels)
    await listener.listen(config.listen, port)
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)  # requests make no circles; looking for them after every 700 objects cost 4 % of each
    await stop.wait()
    await drain(config, traffic)
    await listener.close()
    if spans is not None:
        await asyncio.to_thread(spans.close)


async def drain(config: Config, traffic: Traffic) -> None:
    """Until nobody is under way and nobody comes any more."""
    traffic.draining = True
    if config.listen:
        Path(config.listen).unlink(missing_ok=True)
    quiet = 0
    while quiet < QUIET:
        before = traffic.requests
        await asyncio.sleep(TICK)
        quiet = 0 if traffic.active or traffic.requests > before else quiet + 1
