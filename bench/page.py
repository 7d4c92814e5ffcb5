"""A page that calls an API, each a process of its own: what may happen to the API is done to it, and the page is asked.

`python bench/page.py FILE PORT` is the API: it answers as the word in FILE says, and adds a line to FILE.calls for each
request. `bench.page:app` is the page (WSGI), which calls it by the client's library or by plain httpx.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BUDGET = 0.2  # seconds that the page gives its model
SLOW = 1.0  # seconds that a slow API takes
DRIP = 0.05  # seconds between two bytes of an answer that drips
FALLBACK = {"delay": None}
MODES = ("well", "killed", "stopped", "slow", "dripping", "500", "garbage")
READERS = 4
PATIENCE = 30.0


# ---------------------------------------------------------------------------------------- the page's process


def ask_mawasu(url: str) -> Callable[[object], str]:
    from mawasu.client import Api

    api = Api(url, key="key", timeout=BUDGET, fallback=FALLBACK)
    return lambda item: api.predict(item).source


def ask_naive(url: str) -> Callable[[object], str]:
    """What one writes first: one client, a time-out, and the fall-back for every error."""
    import httpx

    http_client = httpx.Client(timeout=BUDGET)

    def ask(item: object) -> str:
        try:
            answer = http_client.post(f"{url}/predict", json=item, headers={"x-api-key": "key"})
            answer.raise_for_status()
            answer.json()
        except (httpx.HTTPError, ValueError):
            return "fallback"
        return "live"

    return ask


CALLERS = {"mawasu": ask_mawasu, "naive": ask_naive}
_ask: Callable[[object], str] | None = None


def app(environ: dict[str, Any], start: Callable[[str, list[tuple[str, str]]], object]) -> Iterable[bytes]:
    global _ask
    if _ask is None:
        _ask = CALLERS[os.environ["PAGE_CALLER"]](os.environ["PAGE_API"])
    source = _ask({"visit": environ["QUERY_STRING"]})
    start("200 OK", [("content-type", "text/plain")])
    return [source.encode()]


# ---------------------------------------------------------------------------------------- the API's process


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mode: Path) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n")[0]))
            with mode.with_suffix(".calls").open("a") as calls:
                calls.write(".")
            now = mode.read_text()
            if now == "slow":
                await asyncio.sleep(SLOW)
            body = b"<html>Sorry!</html>" if now == "garbage" else json.dumps({"delay": 12}).encode()
            status = b"500 Internal Server Error" if now == "500" else b"200 OK"
            head = b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n" % (status, len(body))
            if now == "dripping":
                for byte in head + body:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(DRIP)
            else:
                writer.write(head + body)
    writer.close()


async def serve(mode: Path, port: int) -> None:
    server = await asyncio.start_server(lambda reader, writer: answer(reader, writer, mode), "127.0.0.1", port)
    async with server:
        await server.serve_forever()


# ---------------------------------------------------------------------------------------- who starts and asks them


@dataclass(frozen=True)
class Seen:
    """What readers of the page saw: seconds of each, and by where its answer came from."""

    seconds: list[float]
    sources: Counter[str]
    calls: int  # that reached the API

    @property
    def p99(self) -> float:
        return statistics.quantiles(self.seconds, n=100)[98] if len(self.seconds) > 1 else self.seconds[0]


class World:
    def __init__(self, top: Path, caller: str) -> None:
        self._mode = top / f"{caller}.mode"
        self._calls = self._mode.with_suffix(".calls")
        self._calls.touch()
        self._api_port, self._port = free_port(), free_port()
        self._api: subprocess.Popen[bytes] | None = None
        self._counted = 0
        self._start_api()
        told = {"PAGE_CALLER": caller, "PAGE_API": f"http://127.0.0.1:{self._api_port}"}
        command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--no-ws"]
        command += ["--port", str(self._port), "--blocking-threads", "8", "--log-level", "error", "bench.page:app"]
        root = Path(__file__).parents[1]
        path = os.pathsep.join((str(root), str(root / "src")))
        self._page = subprocess.Popen(command, env={**os.environ, **told, "PYTHONPATH": path})
        listening(self._port)

    def become(self, mode: str) -> None:
        """From now on the API is one of MODES."""
        self._mode.write_text(mode)
        if mode == "killed":
            self.close_api()
            return
        self._start_api()
        assert self._api is not None
        self._api.send_signal(signal.SIGSTOP if mode == "stopped" else signal.SIGCONT)

    def recover(self) -> None:
        """Until the page has live answers again."""
        self.become("well")
        give_up = time.monotonic() + PATIENCE
        while self.visit() != "live":
            if time.monotonic() > give_up:
                raise SystemExit("the page never had a live answer again")
            time.sleep(0.02)

    def read(self, *, seconds: float = 0.0, visits: int = 0) -> Seen:
        """READERS read the page, each for so long or so often, without a rest but for a moment after each visit."""
        took: list[float] = []
        sources: Counter[str] = Counter()
        before = self.calls

        def reader() -> None:
            until, left = time.monotonic() + seconds, visits
            while left > 0 or time.monotonic() < until:
                began = time.perf_counter()
                source = self.visit()
                took.append(time.perf_counter() - began)
                sources[source] += 1
                left -= 1
                time.sleep(0.01)

        threads = [threading.Thread(target=reader) for _ in range(READERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return Seen(took, sources, self.calls - before)

    def visit(self) -> str:
        """Where the page's answer came from."""
        self._counted += 1
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        try:
            connection.request("GET", f"/?{self._counted}-{threading.get_ident()}")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    @property
    def calls(self) -> int:
        """That ever reached the API."""
        return self._calls.stat().st_size

    def close_api(self) -> None:
        if self._api is not None:
            self._api.kill()  # also one that is stopped
            self._api.wait()
            self._api = None

    def close(self) -> None:
        self._page.terminate()
        self._page.wait()
        self.close_api()

    def _start_api(self) -> None:
        if self._api is None:
            if not self._mode.exists():
                self._mode.write_text("well")
            command = [sys.executable, __file__, str(self._mode), str(self._api_port)]
            self._api = subprocess.Popen(command)
            listening(self._api_port)


@contextlib.contextmanager
def living(top: Path, caller: str) -> Iterator[World]:
    world = World(top, caller)
    try:
        yield world
    finally:
        world.close()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def listening(port: int) -> None:
    give_up = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
