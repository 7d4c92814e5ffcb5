"""The cache of answers, before either application: in this process first, then in Redis, then whoever knows.

An answer is a function of the release and the request, so its key is both (`spelling.py`), and it is asked for once
however many callers want it at that moment. Handlers and servers of the user's own are cached by the same rules.
"""

from __future__ import annotations

import asyncio
import math
import time
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from mawasu.serving.config import Config
from mawasu.serving.errors import RequestError
from mawasu.serving.http_cache import FAILED, PLAIN, UNKEPT, Life, Wish, life, matches, wish
from mawasu.serving.memory import Asked, Entry, Memory, Packed
from mawasu.serving.message import JSON, App, Headers, Request, Response, dispose, gathered, refused, unread
from mawasu.serving.metrics import Family, counter, gauge
from mawasu.serving.patience import PATIENCE
from mawasu.serving.redis import Redis
from mawasu.serving.spelling import READING, Spelling, anonymous, digest, keyed_headers, spelling
from mawasu.words import Caching

KEPT = 256 * 1024  # bytes of a request, and of an answer, that is kept at most
PARTS = frozenset((b"if-match", b"if-modified-since", b"if-range", b"if-unmodified-since", b"range"))
"""Requests with these are for something else than the whole answer."""
AGAIN = 1.0  # seconds between attempts to renew an answer that is given stale meanwhile
CHECK = 16  # bytes of the checksum before every value in Redis
STATUS = b"cache-status"
COUNTED = {
    "hits": "Fresh answers that were known, here or in Redis.",
    "stale": "Answers past their time, because that is allowed or the model failed.",
    "misses": "Requests that the model was asked.",
    "collapsed": "Requests that shared the answer to an equal one under way.",
    "bypassed": "Requests that the cache has nothing to do with.",
    "redis_hits": "Answers from Redis.",
    "redis_misses": "Questions to Redis that it had no answer to.",
    "redis_garbage": "Values in Redis that are not what was written there.",
}

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Packed).decode


class Question(NamedTuple):
    request: Request
    spelled: Spelling
    key: bytes
    told: Wish
    patience: tuple[bytes, ...] = ()  # the values of PATIENCE, after their names


class Outcome(NamedTuple):
    response: Response
    shared: bool  # whether others who asked the same may have it


class Flight:
    """One call that several wait for. Each by a future of its own: who leaves must not take it from the others."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[Outcome | None]] = []

    def landing(self) -> asyncio.Future[Outcome | None]:
        """Its outcome; None: whoever made it left."""
        waiting: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        return waiting

    def land(self, outcome: Outcome | None) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(outcome)


class CachedApp:
    """`app`, asked only for what is not known. `redis` is None where there is none."""

    def __init__(self, app: App, config: Config, rules: Caching, redis: Redis | None) -> None:
        self.counts = dict.fromkeys(COUNTED, 0)
        self.memory = Memory(rules.memory)
        self._app = app
        self._redis = redis
        self._warm = rules.warm
        self._life = Life(rules.ttl, rules.stale_while_revalidate, rules.stale_if_error)
        self._methods = frozenset(rules.methods)
        self._keyed = keyed_headers(rules.vary, command=config.command)
        self._varies = frozenset(self._keyed)
        self._vary = (b"vary", ", ".join(rules.vary).encode()) if rules.vary else None
        self._as_json = not config.command
        self._release = (b"mawasu-release", config.release.encode())
        self._scope = f"{config.site} {config.release}".encode()
        self._flights: dict[tuple[bytes, Wish | None, tuple[bytes, ...]], Flight] = {}
        self._renewing: set[asyncio.Task[object]] = set()
        self._reachable_by_us_alone = bool(config.listen)

    async def __call__(self, request: Request) -> Response:
        if request.path.startswith(b"/-/"):
            return await self._own(request)
        told, etag = PLAIN, b""
        patience: tuple[bytes, ...] = ()
        for name, value in request.headers:
            if name == b"cache-control":
                told = wish(value)
            elif name == b"if-none-match":
                etag = value
            elif name in PATIENCE:
                patience = (*patience, name, value)
            elif name in PARTS:
                return await self._past(request, b"bypass")
        if request.method not in self._methods:
            return await self._past(request, b"method")
        expected = request.body.expected
        if told.no_store or expected is None or expected > KEPT:
            return await self._past(request, b"request" if told.no_store else b"bypass")
        body = await request.body.read(KEPT) if expected else b""
        spelled = spelling(request, body, self._keyed)
        now = time.time()
        entry = self.memory.spelled(spelled)
        if entry is not None and told is PLAIN and now < entry.fresh:
            self.counts["hits"] += 1
            response = entry.hit(now)
        else:
            response = await self._find(request, spelled, told, patience, entry, now)
        return unless_known(response, etag) if etag and request.method in ("GET", "HEAD") else response

    def measure(self) -> list[Family]:
        found = [counter(f"cache_{name}", COUNTED[name], value) for name, value in self.counts.items()]
        found += [
            counter("cache_evictions", "Answers that made room for others.", self.memory.evictions),
            gauge("cache_entries", "Answers kept in this process.", len(self.memory)),
            gauge("cache_bytes", "What they take, about.", self.memory.size),
        ]
        if self._redis is not None:
            found += [
                counter("cache_redis_failures", "Times that Redis did not answer as it should.", self._redis.failures),
                gauge("cache_redis_ready", "Whether Redis is asked.", int(self._redis.ready)),
            ]
        return found

    # ------------------------------------------------------------------------------------ what is known

    async def _find(
        self,
        request: Request,
        spelled: Spelling,
        told: Wish,
        patience: tuple[bytes, ...],
        entry: Entry | None,
        now: float,
    ) -> Response:
        """All but a fresh answer to a plain request that was spelled like this before."""
        key = entry.key if entry is not None else digest(self._scope, spelled, as_json=self._as_json)
        entry = entry or self.memory.find(key, spelled)
        question = Question(request, spelled, key, told, patience)
        if entry is not None and (known := self._usable(entry, question, now)) is not None:
            return known
        if told.no_cache:
            return (await self._fill(question, entry)).response
        return await self._together(question, entry)

    def _usable(self, entry: Entry, question: Question, now: float) -> Response | None:
        """RFC 9111 §4.2; stale ones by RFC 5861 §3, which are renewed while they are given."""
        told, left = question.told, entry.fresh - now
        if told.no_cache or (told.max_age is not None and now - entry.created > told.max_age):
            return None
        if left > told.min_fresh:
            self.counts["hits"] += 1
            return entry.hit(now)
        late = entry.life.stale_while_revalidate
        if told.max_stale is not None and not entry.life.strict:
            late = max(late, told.max_stale)
        if told.min_fresh or told.max_age is not None or -left >= late:
            return None
        self.counts["stale"] += 1
        if now >= entry.refresh and -left < entry.life.stale_while_revalidate:
            entry.refresh = now + AGAIN
            task = asyncio.create_task(self._renew(question))
            self._renewing.add(task)
            task.add_done_callback(self._renewing.discard)
        return entry.hit(now)

    async def _shared(self, question: Question) -> Entry | None:
        """From Redis, within its budget; whatever is not an answer to this very key is none."""
        asked = self._redis.get(b"mawasu:" + question.key) if self._redis is not None else None
        value = await asked if asked is not None else None
        if value is None:
            self.counts["redis_misses"] += asked is not None
            return None
        try:
            if not isinstance(value, bytes) or value[:CHECK] != checksum(question.key, value[CHECK:]):
                raise ValueError("not what was written there")
            packed = _unpack(value[CHECK:])
        except ValueError:  # msgspec's errors are ValueErrors
            self.counts["redis_garbage"] += 1
            return None
        self.counts["redis_hits"] += 1
        entry = Entry(question.key, packed, self._asked(question))
        self.memory.put(entry, question.spelled)
        return entry

    # ------------------------------------------------------------------------------------ asking

    async def _together(self, question: Question, entry: Entry | None) -> Response:
        """One call for all who want it now, would take the same and wait equally long."""
        flight_key = (question.key, question.told, question.patience)
        while (flight := self._flights.get(flight_key)) is not None:
            outcome = await flight.landing()
            if outcome is None:
                continue
            if not outcome.shared:
                return await self._past(again(question), b"uri-miss")
            self.counts["collapsed"] += 1
            return noted(outcome.response, b"mawasu; fwd=uri-miss; collapsed")
        flight = self._flights[flight_key] = Flight()
        outcome = None
        try:
            outcome = await self._fill(question, entry)
        finally:
            del self._flights[flight_key]
            flight.land(outcome)
        return outcome.response

    async def _fill(self, question: Question, entry: Entry | None, *, renewing: bool = False) -> Outcome:
        """From Redis, else from who knows; when that fails, `entry` (or Redis') for as long as it may be used."""
        now = time.time()
        if not question.told.no_cache and (found := await self._shared(question)) is not None:
            if now < found.fresh or not renewing:
                known = self._usable(found, question, now)
                if known is not None:
                    return Outcome(known, shared=True)
            entry = found
        if question.told.only_if_cached:
            error = RequestError(504, "no answer is kept, and the request asked for no other (only-if-cached)")
            said = refused(error)
            said.headers.append(self._release)
            return Outcome(noted(said, b"mawasu; fwd=request"), shared=True)
        self.counts["misses"] += 1
        why = b"mawasu; fwd=" + (b"request" if question.told is not PLAIN else b"stale" if entry else b"uri-miss")
        response, made = await self._keep(question, await self._app(again(question)))
        if made is not None:
            return Outcome(Response(200, made.told(0, why + b"; stored"), made.body), shared=True)
        if entry is not None and response.status in FAILED and self._forgivable(entry, question.told):
            await dispose(response)
            self.counts["stale"] += 1
            now = time.time()
            told = b"mawasu; hit; ttl=%d; detail=failed-%d" % (math.floor(entry.fresh - now), response.status)
            return Outcome(Response(200, entry.told(int(now - entry.created), told), entry.body), shared=True)
        whole = isinstance(response.body, bytes) and response.status >= 400
        return Outcome(noted(response, why), shared=whole)

    def _forgivable(self, entry: Entry, told: Wish) -> bool:
        """RFC 5861 §4."""
        allowed = entry.life.stale_if_error
        if not entry.life.strict:
            allowed = max(allowed, told.stale_if_error)
        return not told.no_cache and time.time() < entry.fresh + allowed

    async def _renew(self, question: Question) -> None:
        """In the background, for as long as it takes: nobody waits for it."""
        request = question.request
        headers = [pair for pair in request.headers if pair[0] not in PATIENCE]
        patient = Request(request.method, request.path, request.query, headers, request.body)
        flight_key = (question.key, None, ())
        if flight_key in self._flights:
            return
        flight = self._flights[flight_key] = Flight()
        try:
            plain = Question(patient, question.spelled, question.key, PLAIN)
            await dispose((await self._fill(plain, None, renewing=True)).response)
        finally:
            del self._flights[flight_key]
            flight.land(None)

    async def _keep(self, question: Question, response: Response) -> tuple[Response, Entry | None]:
        """The answer, whole if it is short and says how long it is, and its entry if it may be kept."""
        lived = life(response.headers, self._life, self._varies) if response.status == 200 else None
        if lived is None:
            return response, None
        response = await gathered(response, KEPT)
        if response.status != 200 or not isinstance(response.body, bytes) or len(response.body) > KEPT:
            return response, None
        passed = next((float(value) for name, value in response.headers if name == b"age" and value.isdigit()), 0.0)
        headers = [pair for pair in response.headers if pair[0] not in UNKEPT]
        if self._vary is not None and not any(name == b"vary" for name, _ in headers):
            headers.append(self._vary)
        packed = Packed(time.time() - passed, lived, headers, response.body)
        entry = Entry(question.key, packed, self._asked(question))
        self.memory.put(entry, question.spelled)
        if self._redis is not None:
            value = _pack(entry.packed())
            self._redis.set(b"mawasu:" + question.key, checksum(question.key, value) + value, lived.kept - passed)
        return response, entry

    async def _past(self, request: Request, why: bytes) -> Response:
        """Nothing is read from the cache, and nothing kept."""
        self.counts["bypassed"] += 1
        return noted(await self._app(request), b"mawasu; fwd=" + why)

    # ------------------------------------------------------------------------------------ our own paths

    async def _own(self, request: Request) -> Response:
        if request.path == b"/-/top" and self._reachable_by_us_alone:
            return Response(200, [JSON], msgspec.json.encode(self.memory.top(self._warm)))
        return await self._app(request)

    def _asked(self, question: Question) -> Asked | None:
        """What a new release is warmed with. Never what was asked by somebody in particular."""
        if not self._warm or not anonymous(question.spelled, self._keyed):
            return None
        request = question.request
        kept = [(name, value) for name, value in request.headers if name in READING or name in self._varies]
        return Asked(request.method, request.path, request.query, kept, body_of(question))


def again(question: Question) -> Request:
    """The request with its body, which was read, as if it had not been."""
    found = unread(question.request, body_of(question))
    found.headers = [pair for pair in found.headers if pair[0] != b"if-none-match"]  # that is for us to answer
    return found


def body_of(question: Question) -> bytes:
    body = question.spelled[3]
    assert isinstance(body, bytes)
    return body


def unless_known(response: Response, asked: bytes) -> Response:
    """RFC 9110 §13.1.2: 304 for who has it already."""
    etag = next((value for name, value in response.headers if name == b"etag"), b"")
    if response.status != 200 or not etag or not matches(etag, asked) or not isinstance(response.body, bytes):
        return response
    return Response(304, [pair for pair in response.headers if pair[0] != b"content-type"])


def noted(response: Response, status: bytes) -> Response:
    """With this `Cache-Status` of ours (RFC 9211)."""
    headers: Headers = [pair for pair in response.headers if pair[0] != STATUS or not pair[1].startswith(b"mawasu")]
    return Response(response.status, [*headers, (STATUS, status)], response.body)


def checksum(key: bytes, value: bytes) -> bytes:
    """Of a value under its key: one that was written for another key is as wrong as a broken one."""
    return blake2b(value, key=key, digest_size=CHECK).digest()
