"""One server process: HTTP on a Unix socket, or a TCP port, in front of one worker. The HTTP itself is granian's.

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
from typing import Protocol

from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from mawasu.serving.config import Config

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
    keeper = asyncio.create_task(app.link.keep())
    server = http_server(config, port, app, Interfaces.RSGI)
    await run(config, server, app, stop)
    keeper.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await keeper


async def serve_command(config: Config, port: int, stop: asyncio.Event) -> None:
    from mawasu.serving.proxy import ProxyApp  # its HTTP client is slow to import, and only needed here

    app = ProxyApp(config)
    await run(config, http_server(config, port, app, Interfaces.ASGINL), app, stop)
    await app.close()


def http_server(config: Config, port: int, app: object, interface: Interfaces) -> Server:
    """Limits are the app's to say (with 503 and `Retry-After`), so granian's own stand far above them."""
    if config.listen:
        Path(config.listen).unlink(missing_ok=True)  # left by a server that was killed
    return Server(
        app,
        uds=Path(config.listen) if config.listen else None,
        address="0.0.0.0",  # noqa: S104 - where a container's port is reached from; unused with a socket
        port=port,
        interface=interface,
        http=HTTPModes.http1,
        websockets=False,
        log_enabled=False,
        backlog=1024,
        backpressure=16384,
    )


class App(Protocol):
    """What draining needs to see and say."""

    requests: int  # that ever came in
    active: int  # under way now
    draining: bool  # answers then say that their connection closes


async def run(config: Config, server: Server, app: App, stop: asyncio.Event) -> None:
    os.umask(0o077)  # the socket is for this user's gateway
    serving = asyncio.create_task(server.serve())
    gc.collect()
    gc.freeze()
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        await drain(config, app)
        server.stop()  # type: ignore[no-untyped-call]
    stopping.cancel()
    await serving


async def drain(config: Config, app: App) -> None:
    """Until nobody is under way and nobody comes any more."""
    app.draining = True
    if config.listen:
        Path(config.listen).unlink(missing_ok=True)
    quiet = 0
    while quiet < QUIET:
        before = app.requests
        await asyncio.sleep(TICK)
        quiet = 0 if app.active or app.requests > before else quiet + 1
