"""Adaptive batching over the workers of one replica, and who is let in.

What arrives while the workers are busy goes together; nothing ever waits for an idle worker. A burst may wait in the
queue; a crowd may only fill one batch for each worker, or a second one where that makes batches cheaper. More would
make nobody's answer sooner: all who wait are late then, and the work done for those who gave up is lost to the others.
"""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from mawasu.serving.crowd import Crowd
from mawasu.serving.errors import RequestError
from mawasu.serving.link import Link, LostError, Reply, Stream, failure, unavailable
from mawasu.serving.worker import OK, RAW, Part

if TYPE_CHECKING:
    from mawasu.serving.tracing import Trace

SIDE_BY_SIDE = 32  # batches that a handler which waits (`async def`) has under way
FEW = 64  # items that are always let in, when the others are no reason to refuse them
SLOW = 0.02  # seconds of a batch; in less the server's own turns weigh more than what the model does with its size
LONG = 1.0  # seconds that nobody waits when there are too many
GRACE = 1.0  # seconds within which a lost worker should be back
TICK = 0.02  # seconds between looks at whose time is up
SIZES = tuple(2**power for power in range(13))  # bounds of how many items a batch has, as they are counted


class Ask(msgspec.Struct, eq=False):
    """One caller's items, waiting. Times are on the loop's clock."""

    part: Part
    count: int
    answer: asyncio.Future[Part | Stream]
    since: float  # it waits
    begin: float  # until when a worker must have begun with it
    until: float  # until when the caller waits
    trace: Trace | None = None
    tried: bool = False  # a worker was lost over it; it goes alone now, and not a third time


class CrowdedError(RequestError):
    """Another one would make all the others wait too long, or has no time to wait itself."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(503, "too many requests are waiting", retry_after=retry_after)


class Pace:
    """How long a batch of n items takes: a line through what was seen, old sights counting less."""

    def __init__(self) -> None:
        self._n = self._t = self._nn = self._nt = 0.0
        self.seen = False

    def saw(self, n: int, t: float) -> None:
        weight = 0.1 if self.seen else 1.0
        self.seen = True
        self._n += weight * (n - self._n)
        self._t += weight * (t - self._t)
        self._nn += weight * (n * n - self._nn)
        self._nt += weight * (n * t - self._nt)

    def of(self, n: int) -> float:
        """Seconds."""
        spread = self._nn - self._n * self._n
        slope = (self._nt - self._n * self._t) / spread if spread > 0.5 else self._t / max(self._n, 1.0)
        return max(0.0, self._t + max(0.0, slope) * (n - self._n))


def depth(pace: Pace, most: int) -> float:
    """How many batches (of `most` items) for each worker a crowd may fill, 1 to 2.

    A second one makes everybody late, and is only of use where a batch takes hardly longer when it is larger: there it
    keeps batches large.
    """
    half, whole = pace.of(most // 2), pace.of(most)
    if half < SLOW:
        return 1.0
    gain = 2.0 - whole / half  # 0: twice the items take twice as long; 1: no longer
    return 1.0 + min(1.0, max(0.0, 2.0 * gain - 1.0))


class Batcher:
    """Hands asks to links in batches of at most `max_batch` items. At most `queue` items wait."""

    def __init__(self, links: Sequence[Link], *, max_batch: int, queue: int, deadline: float) -> None:
        self.batches = 0
        self.items = 0
        self.sizes = [0] * (len(SIZES) + 1)
        self.refused = 0
        self.retried = 0
        self.late = 0
        self.queued = 0
        self.pace = Pace()
        self._links = links
        self._max_batch = max_batch
        self._limit = queue
        self._deadline = deadline
        self._loop = asyncio.get_running_loop()
        self._asks: deque[Ask] = deque()
        self._out: dict[Reply, tuple[list[Ask], Link, int, int]] = {}  # with a worker: its number, and how many items
        self._held = 0  # items that workers have
        self._planned = False
        self._crowd = Crowd()
        self._served = -math.inf  # when a worker was last there
        self._sweeper: asyncio.TimerHandle | None = None

    def admit(self, until: float) -> None:
        """Raises RequestError (503) when another caller would wait too long: for the others, or for itself."""
        now = self._loop.time()
        workers = len([link for link in self._links if link.ready])
        if workers:
            self._served = now
        elif now - self._served > GRACE:
            raise RequestError(503, "the model is not loaded yet, or is being restarted", retry_after=1)
        share = self._max_batch * max(1, workers)
        load = self.queued + (0 if self._links[0].about.waits else self._held)  # one who waits takes many batches
        self._crowd.came(now, alone=not load)
        wait = self.queued / share * self.pace.of(min(self._max_batch, self.queued)) if self.queued else 0.0
        many = load >= max(share, FEW) and load >= share * depth(self.pace, self._max_batch)
        many = many or (wait > LONG and wait > 2 * self.pace.of(self._max_batch))
        if (many and self._crowd.stands(now)) or self.queued >= self._limit or 0.0 < wait > until - now:
            self.refused += 1
            raise CrowdedError(max(1, math.ceil(wait)))

    async def ask(
        self, parts: Sequence[tuple[Part, int]], until: float, trace: Trace | None = None
    ) -> list[Part | Stream]:
        """What each part, of so many items, is answered. Raises RequestError; the first that fails speaks for all."""
        now = self._loop.time()
        begin = min(until, now + self._deadline)
        asks = [Ask(part, count, self._loop.create_future(), now, begin, until, trace) for part, count in parts]
        self._asks.extend(asks)
        self.queued += sum(ask.count for ask in asks)
        self._plan()
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(TICK, self._sweep)
        if len(asks) == 1:
            return [await asks[0].answer]
        return await asyncio.gather(*(ask.answer for ask in asks))

    def changed(self) -> None:
        """A link has room, or is gone."""
        if any(link.ready for link in self._links):
            self._served = self._loop.time()
        if self._asks:
            self._flush()

    # ------------------------------------------------------------------------------------ sending

    def _plan(self) -> None:
        if not self._planned and self._room() is not None:
            self._planned = True
            self._loop.call_soon(self._flush)  # soon, not now: callers that arrived in the same instant go along

    def _room(self) -> Link | None:
        """An idle worker; or a busy one, when what waits fills a batch anyway: sending earlier would make batches
        small, sending later would leave the worker idle."""
        second = None
        for link in self._links:
            if not link.ready:
                continue
            if link.under_way == 0 or (link.about.waits and link.under_way < SIDE_BY_SIDE):
                return link
            if link.under_way == 1 and not link.about.streams:
                second = second or link
        return second if self.queued >= self._max_batch else None

    def _flush(self) -> None:
        self._planned = False
        while self._asks and (link := self._room()) is not None:
            batch = self._take(1 if link.about.streams else self._fit(link))
            if not batch:
                continue
            items = self._count(batch, 1)
            number, reply = link.call([ask.part for ask in batch])
            self._out[reply] = batch, link, number, items
            self._held += items
            reply.add_done_callback(partial(self._settle, self._loop.time(), link.under_way == 1))

    def _fit(self, link: Link) -> int:
        """Items of a batch that has its answer well within its time: one that has not costs all its callers theirs,
        and the worker. Handlers that wait have their items side by side."""
        most = self._max_batch
        while most > 1 and self.pace.of(most) > self._deadline / 2 and not link.about.waits:
            most //= 2
        return most

    def _take(self, most: int) -> list[Ask]:
        """The next batch, without those whose caller has left or waited too long."""
        batch: list[Ask] = []
        size = 0
        now = self._loop.time()
        while self._asks and (not batch or size + self._asks[0].count <= most):
            if batch and (self._asks[0].tried or batch[0].tried):
                break
            ask = self._asks.popleft()
            self.queued -= ask.count
            if ask.answer.done():
                continue
            if ask.begin < now:
                self._too_late(ask)
                continue
            batch.append(ask)
            size += ask.count
        return batch

    def _count(self, batch: list[Ask], times: int) -> int:
        items = sum(ask.count for ask in batch)
        self.batches += times
        self.items += times * items
        self.sizes[bisect_left(SIZES, items)] += times
        return items

    # ------------------------------------------------------------------------------------ settling

    def _settle(self, sent: float, first: bool, reply: Reply) -> None:
        batch, link, _, items = self._out.pop(reply)
        self._crowd.left(self._loop.time())
        self._held -= items
        error = reply.exception()
        self._note(batch, link, sent, "" if error is None else str(error) or "the worker was lost")
        if isinstance(error, LostError):
            self._again(batch, begun=error.begun)
        elif error is not None:
            for ask in batch:
                fail(ask, error)
        else:
            found = reply.result()
            if first and not isinstance(found, Stream):
                self.pace.saw(items, self._loop.time() - sent)
            self._hand_out(batch, found)
        self.changed()

    def _note(self, batch: list[Ask], link: Link, sent: float, failed: str) -> None:
        """For those who are traced: how long they waited, and how long the worker was with their batch. One that comes
        before another is answered waits at the worker, unless the handler takes several."""
        now = self._loop.time()
        begun = sent if link.about.waits else max(sent, link.freed)
        link.freed = now
        traced = [(ask, ask.trace) for ask in batch if ask.trace is not None]
        items = sum(ask.count for ask in batch) if traced else 0
        for ask, trace in traced:
            trace.note("queue", ask.since, begun)
            trace.batch(begun, now, items, len(batch), failed)

    def _hand_out(self, batch: list[Ask], found: list[Part] | Stream) -> None:
        parts: Sequence[Part | Stream] = [found] if isinstance(found, Stream) else found
        for ask, part in zip(batch, parts, strict=False):
            if not ask.answer.done():
                settle(ask.answer, part)
            elif isinstance(part, Stream):
                self._loop.create_task(part.aclose())
        for ask in batch[len(parts) :]:
            fail(ask, RequestError(500, "the worker answered another question"))

    def _again(self, batch: list[Ask], *, begun: bool) -> None:
        """A lost worker's batch goes to the next one, once (decisions/0023). Whose batch it had begun goes alone: what
        killed one worker should not cost the others of its batch their second chance."""
        self._count(batch, -1)
        for ask in reversed(batch):
            if ask.answer.done():
                continue
            if begun and ask.tried:
                fail(ask, unavailable(begun=True))
                continue
            ask.tried = ask.tried or begun
            ask.since = self._loop.time()
            self.retried += begun
            self._asks.appendleft(ask)
            self.queued += ask.count

    def _too_late(self, ask: Ask) -> None:
        self.late += 1
        fail(ask, RequestError(504, "the model was busy for longer than the caller waits"))

    def _sweep(self) -> None:
        """Whose time is up is told so; what waits for a worker that does not come back is refused."""
        self._sweeper = None
        now = self._loop.time()
        lost = now - self._served > GRACE and not any(link.ready for link in self._links)
        for ask in self._asks:
            if ask.begin < now and not ask.answer.done():
                self._too_late(ask)
            elif lost:
                fail(ask, unavailable(begun=ask.tried))
        if all(ask.answer.done() for ask in self._asks):
            self._asks.clear()
            self.queued = 0
        for batch, link, number, _ in self._out.values():
            for ask in batch:
                if ask.until < now and not ask.answer.done():
                    self._too_late(ask)
            if link.about.waits and all(ask.answer.done() for ask in batch):
                link.take_back(number)
        if self._asks or self._out:
            self._sweeper = self._loop.call_later(TICK, self._sweep)


def fail(ask: Ask, error: BaseException) -> None:
    if not ask.answer.done():
        ask.answer.set_exception(error)


def settle(answer: asyncio.Future[Part | Stream], part: Part | Stream) -> None:
    if isinstance(part, Stream) or part[0] in (OK, RAW):
        answer.set_result(part)
    else:
        answer.set_exception(failure(part))
