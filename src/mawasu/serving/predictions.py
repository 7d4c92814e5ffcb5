"""Remembering a sample of answers: what was asked and said is handed to a process of its own, and never waited for.

That process (`recorder.py`) takes redacted fields out before anything reaches the disk. What it cannot take at once
waits here, up to a bound; what is beyond is not remembered, and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from hashlib import blake2b

import msgspec

from mawasu.serving.config import Config
from mawasu.serving.http import CARRIED
from mawasu.serving.message import App, Request, Response, gathered, unread
from mawasu.serving.metrics import Family, Operations, counter
from mawasu.serving.recorder import FRAME, Row, Told
from mawasu.words import Predictions

KEPT = 64 * 1024  # bytes of a request, and of an answer, that are remembered at most
WAITING = 4 * 2**20  # bytes that wait for the recorder
AGAIN = 1.0  # seconds until another recorder is started
LEAVE = 5.0  # seconds that it has to write what it was told

_pack = msgspec.msgpack.Encoder().encode


class Recorder:
    """The process that writes, as the server sees it."""

    def __init__(self, config: Config, rules: Predictions) -> None:
        self.written = self.dropped = self.skipped = 0
        names = {name: config.labels.get(name, "") for name in ("revision", "replica")}
        told = Told(config.spool, config.release, **names, redact=rules.redact, size=rules.size)
        self._argv = [sys.executable, "-P", "-m", "mawasu.serving.recorder", msgspec.json.encode(told).decode()]
        self._pipe: asyncio.WriteTransport | None = None

    async def keep(self) -> None:
        """Runs until cancelled; then the recorder has written what it was given."""
        while True:
            process = await asyncio.create_subprocess_exec(*self._argv, stdin=asyncio.subprocess.PIPE)
            assert process.stdin is not None
            self._pipe = process.stdin.transport
            try:
                await process.wait()
                print("mawasu: the prediction log's process ended; starting another", file=sys.stderr, flush=True)
                self._pipe = None
                await asyncio.sleep(AGAIN)
            except asyncio.CancelledError:
                process.stdin.close()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), LEAVE)
                raise

    def put(self, row: Row) -> None:
        pipe = self._pipe
        if pipe is None or pipe.is_closing() or pipe.get_write_buffer_size() > WAITING:
            self.dropped += 1
            return
        packed = _pack(row)
        pipe.write(FRAME.pack(len(packed)) + packed)
        self.written += 1

    def measure(self) -> list[Family]:
        return [
            counter("predictions_written", "Answers handed to the prediction log.", self.written),
            counter("predictions_dropped", "Answers that it was too slow for.", self.dropped),
            counter("predictions_skipped", "Answers too large for it, or streams.", self.skipped),
        ]


class LoggedApp:
    """`app`, whose sampled answers are remembered, whoever knew them: the model or the cache.

    Of what came through the gateway: examples and what a new release is warmed with are nobody's.
    """

    def __init__(self, config: Config, rules: Predictions, recorder: Recorder, app: App) -> None:
        self._app = app
        self._recorder = recorder
        self._sample = rules.sample
        self._operations = Operations(config.operations, config.prefix)

    async def __call__(self, request: Request) -> Response:
        number, unit = request.header(CARRIED), request.header(b"mawasu-unit")
        if not number or not sampled(unit or number, self._sample):
            return await self._app(request)
        expected = request.body.expected
        if expected is None or expected > KEPT:
            self._recorder.skipped += 1
            return await self._app(request)
        body = await request.body.read(KEPT) if expected else b""
        at, began = time.time(), time.perf_counter()
        response = await self._app(unread(request, body))
        if request.method != "HEAD":  # its answer says how long a body would be, and has none
            response = await gathered(response, KEPT)
        seconds = time.perf_counter() - began
        said = response.body
        if not isinstance(said, bytes) or len(said) > KEPT:
            self._recorder.skipped += 1
            return response
        operation = self._operations.of(request.method, request.path)
        row = Row(at, number, unit, operation, response.status, is_hit(response), seconds, request.query, body, said)
        self._recorder.put(row)
        return response


def sampled(key: bytes, share: float) -> bool:
    """The same for a key at every replica and revision, and of no experiment's doing: it hashes for itself."""
    found = blake2b(key, digest_size=8, person=b"predictions").digest()
    return int.from_bytes(found) < share * 2**64


def is_hit(response: Response) -> bool:
    return any(name == b"cache-status" and b"; hit" in value for name, value in response.headers)
