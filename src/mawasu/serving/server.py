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
from pathlib import Path

from mawasu.serving.config import Config
from mawasu.serving.http import Listener
from mawasu.serving.message import App, Traffic

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
    keeper = asyncio.create_task(app.keep())
    await run(config, port, app, app.traffic, stop)
    keeper.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await keeper


async def serve_command(config: Config, port: int, stop: asyncio.Event) -> None:
    from mawasu.serving.proxy import ProxyApp  # its HTTP client is slow to import, and only needed here

    app = ProxyApp(config)
    await run(config, port, app, app.traffic, stop)
    await app.close()


async def run(config: Config, port: int, app: App, traffic: Traffic, stop: asyncio.Event) -> None:
    os.umask(0o077)  # the socket is for this user's gateway
    listener = Listener(app, traffic)
    await listener.listen(config.listen, port)
    gc.collect()
    gc.freeze()
    await stop.wait()
    await drain(config, traffic)
    await listener.close()


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
