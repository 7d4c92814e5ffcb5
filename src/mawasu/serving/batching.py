"""Adaptive batching: what arrives while the worker is busy goes together; nothing ever waits for an idle worker."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from mawasu.serving.errors import RequestError
from mawasu.serving.worker import BAD, OK, REFUSED, Part

Call = Callable[[Sequence[bytes]], asyncio.Future[list[Part]]]


class Ask(msgspec.Struct, eq=False):
    """One caller's items, waiting."""

    body: bytes  # a JSON array
    count: int
    answer: asyncio.Future[bytes]  # a JSON array
    arrived: float  # the loop's time


class Batcher:
    """Hands asks to `call` in batches of at most `max_batch` items.

    One batch is under way at a time, a second one only when it is full anyway: sending earlier would make batches
    small, sending later would leave the worker idle. At most `queue` items wait; more are refused at once.
    """

    def __init__(self, call: Call, *, max_batch: int, queue: int, deadline: float) -> None:
        self.batches = 0
        self.items = 0
        self.refused = 0
        self.queued = 0
        self._call = call
        self._max_batch = max_batch
        self._limit = queue
        self._deadline = deadline
        self._loop = asyncio.get_running_loop()
        self._asks: deque[Ask] = deque()
        self._under_way = 0
        self._planned = False

    async def ask(self, items: Sequence[bytes]) -> list[bytes]:
        """One JSON value per item in, JSON arrays out that joined hold one answer per item. Raises RequestError.

        More items than fit a batch go as several; the first that fails speaks for all.
        """
        if self._asks and self.queued + len(items) > self._limit:
            self.refused += 1
            raise RequestError(503, "too many requests are waiting", retry_after=1)
        now = self._loop.time()
        answers = []
        for start in range(0, len(items), self._max_batch):
            chunk = items[start : start + self._max_batch]
            ask = Ask(b"[" + b",".join(chunk) + b"]", len(chunk), self._loop.create_future(), now)
            self._asks.append(ask)
            answers.append(ask.answer)
        self.queued += len(items)
        if not self._planned and (not self._under_way or self.queued >= self._max_batch):
            self._planned = True
            self._loop.call_soon(self._flush)  # soon, not now: callers that arrived in the same instant go along
        if len(answers) == 1:
            return [await answers[0]]
        return await asyncio.gather(*answers)

    def _flush(self) -> None:
        self._planned = False
        while self._asks and (self._under_way == 0 or (self._under_way == 1 and self.queued >= self._max_batch)):
            batch = self._take()
            if not batch:
                continue
            self._under_way += 1
            self.batches += 1
            reply = self._call([ask.body for ask in batch])
            reply.add_done_callback(partial(self._settle, batch))

    def _take(self) -> list[Ask]:
        """The next batch, without those whose caller has left or waited too long."""
        batch: list[Ask] = []
        size = 0
        oldest = self._loop.time() - self._deadline
        while self._asks and size + self._asks[0].count <= self._max_batch:
            ask = self._asks.popleft()
            self.queued -= ask.count
            if ask.answer.done():
                continue
            if ask.arrived < oldest:
                ask.answer.set_exception(RequestError(504, f"the model was busy for {self._deadline:g} seconds"))
                continue
            batch.append(ask)
            size += ask.count
        self.items += size
        return batch

    def _settle(self, batch: list[Ask], reply: asyncio.Future[list[Part]]) -> None:
        self._under_way -= 1
        error = reply.exception()
        parts = reply.result() if error is None else []
        if error is None and len(parts) != len(batch):
            error = RequestError(500, "the worker answered another question")
        for index, ask in enumerate(batch):
            if ask.answer.done():
                continue
            if error is not None:
                ask.answer.set_exception(error)
            else:
                settle(ask.answer, parts[index])
        self._flush()


def settle(answer: asyncio.Future[bytes], part: Part) -> None:
    status, data = part
    if status == OK:
        answer.set_result(data)
    elif status == BAD:
        answer.set_exception(RequestError(400, f"the body cannot be read: {data.decode()}"))
    elif status == REFUSED:
        code, _, message = data.decode().partition(" ")
        answer.set_exception(RequestError(int(code), message))
    else:
        trace = data.decode()
        answer.set_exception(RequestError(500, f"the model failed; the log says why under {trace}", trace=trace))
