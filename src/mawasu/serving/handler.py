"""The HTTP face of a handler: JSON in, a batch for the workers, JSON out; or bytes, where the handler takes them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import msgspec

from mawasu.serving.batching import SIZES, Batcher, CrowdedError
from mawasu.serving.bodies import Bodies
from mawasu.serving.config import Config
from mawasu.serving.errors import RequestError, ToldError
from mawasu.serving.link import About, Link, Stream
from mawasu.serving.message import JSON, Request, Response, Traffic, refused
from mawasu.serving.metrics import Family, Sample, buckets, counter, gauge, resident
from mawasu.serving.patience import patience
from mawasu.serving.worker import NPY, OK, RAW, Part, path_of

PAUSE = (0.015, 0.035)
"""Seconds, from and to, until a caller learns that there is no room: who asks again at once would take the server's
time from those who were let in (decisions/0034)."""

EVENTS = (b"content-type", b"text/event-stream")
LINES = (b"content-type", b"application/x-ndjson")

_whole = msgspec.json.Decoder(msgspec.Raw)
_array = msgspec.json.Decoder(list[msgspec.Raw])


class HandlerApp:
    """Every path but `/-/…` asks the model: the gateway decides which paths exist.

    `/-/ready` is not called healthz: Cloud Run keeps paths that end in z to itself
    (cloud.google.com/run/docs/known-issues, reserved URL paths).

    A JSON object is one item and its answer is one JSON value; a JSON array is many, answered by an array.
    """

    def __init__(self, config: Config) -> None:
        self.traffic = Traffic()
        self.links = [
            Link(path_of(config.worker, number), config.deadline, lambda: self._batcher.changed())
            for number in range(config.workers)
        ]
        self._batcher = Batcher(self.links, max_batch=config.max_batch, queue=config.queue, deadline=config.deadline)
        self._bodies = Bodies(config.bodies, config.prefix)
        self._max_batch = config.max_batch
        self._max_body = config.max_body
        self._release = (b"mawasu-release", config.release.encode())
        self._headers = [JSON, self._release]

    async def keep(self) -> None:
        """Keep the connections to the workers; runs until cancelled."""
        await asyncio.gather(*(link.keep() for link in self.links))

    async def __call__(self, request: Request) -> Response:
        if request.path.startswith(b"/-/"):
            return self._own(request.path)
        try:
            return await self.answer(request)
        except RequestError as error:
            said = refused(error)
            said.headers.append(self._release)
            return said

    async def answer(self, request: Request) -> Response:
        """What the model says. Raises RequestError."""
        until = asyncio.get_running_loop().time() + patience(request.headers)
        await self._admit(until)
        body = await request.body.read(self._max_body)
        about = next((link.about for link in self.links if link.ready), self.links[0].about)
        if about.raw == "bytes" or (about.raw and body.startswith(NPY)):
            (answer,) = await self._batcher.ask([((RAW, body), 1)], until, request.trace)
            return self._one(request, answer)
        items, many = split(body)
        self._bodies.check(request.method, request.path, body)
        if not items:
            return Response(200, self._headers, b"[]")
        answers = await self._batcher.ask(self._parts(items, about), until, request.trace)
        if not many:
            return self._one(request, answers[0])
        return Response(200, self._headers, joined(answers))

    # ------------------------------------------------------------------------------------ inside

    async def _admit(self, until: float) -> None:
        """Raises RequestError, when it is that too many wait only after a moment."""
        try:
            self._batcher.admit(until)
        except CrowdedError:
            pause = random.uniform(*PAUSE)  # noqa: S311 - not all at once: they would come back as one
            await asyncio.sleep(min(pause, max(0.0, until - asyncio.get_running_loop().time())))
            raise

    def _parts(self, items: list[bytes], about: About) -> list[tuple[Part, int]]:
        """More items than fit a batch go as several."""
        if about.streams and len(items) > 1:
            raise RequestError(400, "the answer is a stream, so the body must be one item")
        if len(items) <= self._max_batch:
            return [((OK, b"[" + b",".join(items) + b"]"), len(items))]
        starts = range(0, len(items), self._max_batch)
        chunks = [items[start : start + self._max_batch] for start in starts]
        return [((OK, b"[" + b",".join(chunk) + b"]"), len(chunk)) for chunk in chunks]

    def _one(self, request: Request, answer: Part | Stream) -> Response:
        if isinstance(answer, Stream):
            if b"text/event-stream" in request.header(b"accept"):
                return Response(200, [EVENTS, (b"cache-control", b"no-store"), self._release], Events(answer))
            return Response(200, [LINES, self._release], Lines(answer))
        status, data = answer
        if status == RAW:
            kind = b"application/x-npy" if data.startswith(NPY) else b"application/octet-stream"
            return Response(200, [(b"content-type", kind), self._release], data)
        return Response(200, self._headers, data[1:-1])

    def _own(self, path: bytes) -> Response:
        if path == b"/-/ready":
            ready = any(link.ready for link in self.links) and not self.traffic.draining
            return Response(200 if ready else 503, self._headers, b'{"ready":true}' if ready else b'{"ready":false}')
        return Response(404, self._headers, RequestError(404, "there is nothing at this address").body())

    def measure(self) -> list[Family]:
        batcher, links = self._batcher, self.links
        sizes = buckets(SIZES, batcher.sizes, batcher.items, {})
        held = [(str(number), resident(link.pid)) for number, link in enumerate(links)]
        memory = [Sample("", {"worker": number}, count) for number, count in held if count]
        losses = sum(link.losses for link in links)
        return [
            counter("refused", "Requests refused at once, because too many waited.", batcher.refused),
            counter("late", "Requests given up: the model was busy for longer than their callers wait.", batcher.late),
            counter("retried", "Requests asked again, because their worker was lost.", batcher.retried),
            counter("batches", "Batches handed to workers.", batcher.batches),
            counter("items", "Items in these batches.", batcher.items),
            Family("batch_items", "histogram", "Items in one batch.", sizes),
            counter("worker_losses", "Workers that died, hung, or used too much memory.", losses),
            gauge("queued", "Items that wait for a worker.", batcher.queued),
            gauge("workers", "Workers that have loaded the model.", sum(link.ready for link in links)),
            Family("worker_memory_bytes", "gauge", "Resident memory, with what workers share.", memory),
        ]


class Lines:
    """A stream as newline-delimited JSON; one that breaks off is cut, so that nobody takes it for whole."""

    def __init__(self, pieces: Stream) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._pieces:
            yield piece + b"\n"

    async def aclose(self) -> None:
        await self._pieces.aclose()


class Events(Lines):
    """A stream as server-sent events (html.spec.whatwg.org, 9.2); where it breaks off an event `error` says so."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._pieces:
                yield b"data: " + piece + b"\n\n"
        except RequestError as error:
            yield b"event: error\ndata: " + error.body() + b"\n\n"
            raise ToldError(error.status, error.message) from error


def joined(answers: list[Part | Stream]) -> bytes:
    """One JSON array of several."""
    arrays = []
    for answer in answers:
        if isinstance(answer, Stream) or answer[0] != OK:
            raise RequestError(500, "the model answered with bytes, which an array of answers cannot hold")
        arrays.append(answer[1])
    return arrays[0] if len(arrays) == 1 else b"[" + b",".join(array[1:-1] for array in arrays) + b"]"


def split(body: bytes) -> tuple[list[bytes], bool]:
    """The items of a body, each as its own JSON text, and whether it was an array. Raises RequestError (400).

    Nothing is built from the text here: the worker reads it, in the user's Python. What is checked is what would cost
    other callers of the same batch their answer: well-formed JSON (RFC 8259) in UTF-8.
    """
    first = body.lstrip(b" \t\r\n")[:1]
    try:
        body.decode()
        if first == b"[":
            return [bytes(item) for item in _array.decode(body)], True
        _whole.decode(body)
    except (ValueError, RecursionError) as error:  # msgspec's and unicode's errors are ValueErrors
        raise RequestError(400, f"the body is not JSON: {error}") from None
    if first != b"{":
        raise RequestError(400, "the body must be a JSON object (one item) or a JSON array (many)")
    return [body], False
