"""The two processes of `bench client`: a page, and the API of its model. Each is started as a script.

`python bench/page.py api FILE PORT` answers as the word in FILE says (readers.MODES), and adds a byte to FILE.calls for
each request. `python bench/page.py page CALLER PORT API REDIS` is a site's page, as people write it: a thread for each
reader or an event loop for all; it asks the API by the client's library or by plain httpx, and says where its answer
came from.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import Awaitable, Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BUDGET = 0.2  # seconds that the page gives its model
SLOW = 1.0  # seconds that a slow API takes
DRIP = 0.05  # seconds between two bytes of an answer that drips
FALLBACK = {"delay": None}
KEEP = b"max-age=0, stale-if-error=600"

Ask = Callable[[object], str]

# ---------------------------------------------------------------------------------------- the page


def by_mawasu(url: str, redis: str) -> Ask:
    from mawasu.client import Api, Memory, Redis

    cache = Redis(redis) if redis else Memory(0)
    api = Api(url, key="key", timeout=BUDGET, fallback=FALLBACK, cache=cache)
    return lambda item: api.predict(item).source


def by_httpx(url: str, _: str) -> Ask:
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


def threads(port: int, ask: Ask) -> None:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said = ask({"visit": self.path}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, format: str, *args: object) -> None: ...

    ThreadingHTTPServer(("127.0.0.1", port), Page).serve_forever()


async def loop(port: int, url: str, redis: str) -> None:
    from mawasu.client import AsyncApi, Memory, Redis

    cache = Redis(redis) if redis else Memory(0)
    async with AsyncApi(url, key="key", timeout=BUDGET, fallback=FALLBACK, cache=cache) as api:

        async def page(head: bytes, _: bytes) -> list[bytes]:
            said = (await api.predict({"visit": head.split()[1].decode()})).source.encode()
            return [b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(said), said)]

        await serve(port, page)


# ---------------------------------------------------------------------------------------- the API


async def api(port: int, mode: Path) -> None:
    async def answer(head: bytes, body: bytes) -> list[bytes]:
        with mode.with_suffix(".calls").open("a") as calls:
            calls.write(".")
        now = mode.read_text()
        if now == "slow":
            await asyncio.sleep(SLOW)
        body = b"<html>Sorry!</html>" if now == "garbage" else json.dumps({"delay": 12}).encode()
        status = b"500 Internal Server Error" if now == "500" else b"200 OK"
        whole = b"HTTP/1.1 %b\r\ncache-control: %b\r\ncontent-length: %d\r\n\r\n%b" % (status, KEEP, len(body), body)
        return [bytes([byte]) for byte in whole] if now == "dripping" else [whole]

    await serve(port, answer)


async def serve(port: int, answer: Callable[[bytes, bytes], Awaitable[list[bytes]]]) -> None:
    """The least that is HTTP. Of an answer in pieces each comes DRIP seconds after the one before."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
                pieces = await answer(head, await reader.readexactly(int(length or 0)))
                for number, piece in enumerate(pieces):
                    await asyncio.sleep(DRIP if number else 0)
                    writer.write(piece)
                    await writer.drain()
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


def main() -> None:
    logging.disable()  # what the client warns of is what is done to it here
    if sys.argv[1] == "api":
        asyncio.run(api(int(sys.argv[3]), Path(sys.argv[2])))
        return
    caller, port, url, redis = sys.argv[2], int(sys.argv[3]), *sys.argv[4:]
    if caller == "loop":
        asyncio.run(loop(port, url, redis))
    else:
        threads(port, {"threads": by_mawasu, "httpx": by_httpx}[caller](url, redis))


if __name__ == "__main__":
    main()
