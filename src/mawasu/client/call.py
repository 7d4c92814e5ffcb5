"""One call, decided: cache, permit, request, retry, stale answer, fall-back. It does nothing itself: it yields effects
(`effects.py`) and is sent their results, so that `Api` and `AsyncApi` are one thing with two ways of waiting."""

from __future__ import annotations

import copy
import json
import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic

from mawasu.client import retry
from mawasu.client.answer import Answer, ApiError, Event, Source, T
from mawasu.client.breaker import Breaker
from mawasu.client.cache import Memory, Redis
from mawasu.client.credentials import Tokens
from mawasu.client.effects import Lost, Pause, Renew, RenewSoon, Reply, Send, Steps
from mawasu.client.judge import judge
from mawasu.client.kept import Asked, Found, Kept

ABSENT: Any = object()
CACHE_SHARE = 0.25  # of a call's time, at most, for asking Redis once
log = logging.getLogger("mawasu.client")


@dataclass(frozen=True)
class Settings(Generic[T]):
    """What an Api was told. `who` stands for its credential in the keys of a cache; times in seconds."""

    base: str
    headers: Mapping[str, str] = field(repr=False)
    tokens: Tokens | None
    who: str
    timeout: float
    retries: int
    fallback: Any
    decode: Callable[[Any], T]
    cache: Memory | Redis
    on_call: Callable[[Event], None] | None


@dataclass
class _Call:
    """What one call knows of itself. `until` on the core's clock."""

    asked: Asked
    many: bool
    safe: bool
    began: float
    until: float
    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    attempts: int = 0
    renewed: bool = False  # its token, because the API refused it


@dataclass(frozen=True)
class _Live(Generic[T]):
    """What the API answered: `texts` as they are kept, `values` as the caller wants them."""

    reply: Reply
    texts: list[str]
    values: list[T]


class Core(Generic[T]):
    """What is decided for all calls of one Api, and remembered between them. Safe for threads."""

    def __init__(self, settings: Settings[T], clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self.breaker = Breaker(clock)
        self._budget = retry.Budget()
        self._kept = Kept(settings.cache, settings.base, settings.who)
        self._clock = clock

    def predict(
        self, items: Sequence[Any], *, many: bool, path: str, unit: str, safe: bool, timeout: float | None
    ) -> Steps[list[Answer[T]]]:
        """An answer for each item. Raises ApiError where one has neither a live, a kept nor a fall-back answer;
        TypeError or ValueError for what is not JSON."""
        began = self._clock()
        until = began + (self.settings.timeout if timeout is None else timeout)
        call = _Call(Asked(path, unit, tuple(map(_json, items))), many, safe, began, until)
        found = yield from self._find(call)
        missing = [number for number, one in enumerate(found) if one is None or one.source == "stale"]
        came = (yield from self._ask(call, missing)) if missing else []
        error = came if isinstance(came, ApiError) else None
        if isinstance(came, ApiError):
            instead = {number: self._instead(call, found[number], came) for number in missing}
        else:
            instead = dict(zip(missing, came, strict=True))
        answers = [instead.get(number, one) for number, one in enumerate(found)]
        whole = [one for one in answers if one is not None]
        self._tell(call, whole, error)
        if error is not None and len(whole) < len(answers):
            raise error
        return whole

    # ------------------------------------------------------------------------------------ kept answers

    def _find(self, call: _Call) -> Steps[list[Answer[T] | None]]:
        """Fresh ones have the source cache; stale ones are for when no other comes."""
        found = yield from self._kept.find(call.asked, self._cache_time(call))
        return [self._kept_answer(call, one) if one is not None else None for one in found]

    def _cache_time(self, call: _Call) -> float:
        cache, left = self.settings.cache, call.until - self._clock()
        most = (call.until - call.began) * CACHE_SHARE
        return min(cache.timeout, most, left) if isinstance(cache, Redis) else most

    def _kept_answer(self, call: _Call, one: Found) -> Answer[T] | None:
        value = self._decoded(one.value)
        if isinstance(value, ApiError):
            return None  # it was kept by another version of the site's code
        return Answer(value, "cache" if one.fresh else "stale", one.release, None, call.request_id, one.age)

    def _instead(self, call: _Call, stale: Answer[T] | None, error: ApiError) -> Answer[T] | None:
        if stale is not None:
            return replace(stale, error=error)
        if self.settings.fallback is ABSENT:
            return None
        return Answer(copy.deepcopy(self.settings.fallback), "fallback", "", error, call.request_id, 0.0)

    # ------------------------------------------------------------------------------------ the API

    def _ask(self, call: _Call, missing: list[int]) -> Steps[list[Answer[T]] | ApiError]:
        """The live answers, or why there are none."""
        asked = replace(call.asked, texts=tuple(call.asked.texts[number] for number in missing))
        self._budget.earn()
        last = ApiError("resting", "not asked: it failed too often, or said when to ask again")
        while permit := self.breaker.permit():
            try:
                came, token = yield from self._send(call, asked)
            except BaseException:  # the caller left (GeneratorExit): what became of the request is not known
                self.breaker.forget(permit)
                raise
            if isinstance(came, ApiError):  # nothing was sent, so nothing is known of the API
                self.breaker.forget(permit)
                return came
            outcome = self._judged(call, asked, came)
            self._account(permit, outcome, came)
            if isinstance(outcome, _Live):
                age = yield from self._kept.keep(asked, outcome.texts, outcome.reply.headers, self._cache_time(call))
                release = outcome.reply.headers.get("mawasu-release", "")
                return [Answer(value, "live", release, None, call.request_id, age) for value in outcome.values]
            last = outcome
            if self._with_another_token(call, token, outcome):
                continue
            wait = self._pause(call, came)
            if wait is None:
                break
            yield Pause(wait)
        return last

    def _send(self, call: _Call, asked: Asked) -> Steps[tuple[Reply | Lost | ApiError, str]]:
        """What came, and the token it was asked with. An ApiError: nothing was sent."""
        headers = {**self.settings.headers, "x-request-id": call.request_id}
        if asked.unit:
            headers["mawasu-unit"] = asked.unit
        token = ""
        if self.settings.tokens is not None:
            token, why = yield from self._token(call, self.settings.tokens)
            if not token:
                return ApiError("token", why, request_id=call.request_id), ""
            headers["authorization"] = f"Bearer {token}"
        left = call.until - self._clock()
        if left <= 0:
            return ApiError("timeout", "no time was left to ask", request_id=call.request_id), token
        headers["mawasu-deadline"] = str(max(1, int(left * 1000)))  # the server drops what nobody waits for
        call.attempts += 1
        body = f"[{','.join(asked.texts)}]" if call.many else asked.texts[0]
        came: Reply | Lost = yield Send(asked.path, headers, body.encode(), left)
        return came, token

    def _token(self, call: _Call, tokens: Tokens) -> Steps[tuple[str, str]]:
        """("", why) when none can be had in time."""
        token, soon = tokens.token()
        if soon:
            yield RenewSoon()
        if token:
            return token, ""
        why = tokens.failure()
        if not why:
            why = yield Renew(max(0.001, call.until - self._clock()))
        return tokens.token()[0], why or "the token that came is over already"

    def _judged(self, call: _Call, asked: Asked, came: Reply | Lost) -> _Live[T] | ApiError:
        if isinstance(came, Reply):
            call.request_id = came.headers.get("x-request-id", call.request_id)
        texts = judge(came, len(asked.texts) if call.many else None, call.request_id)
        if isinstance(texts, ApiError):
            return texts
        values: list[T] = []
        for text in texts:
            value = self._decoded(text)
            if isinstance(value, ApiError):
                return ApiError(value.code, value.message, status=200, request_id=call.request_id)
            values.append(value)
        assert isinstance(came, Reply)
        return _Live(came, texts, values)

    def _decoded(self, text: str) -> T | ApiError:
        try:
            return self.settings.decode(json.loads(text))
        except Exception as error:  # noqa: BLE001 - whatever `decode` raises: it is not the answer the site expects
            return ApiError("garbage", f"the answer is not what decode expects: {type(error).__name__}")

    def _account(self, permit: int, outcome: _Live[T] | ApiError, came: Reply | Lost) -> None:
        """Tell the breaker. An API that refuses a request, or counts them (429), is well."""
        ill = isinstance(outcome, ApiError) and (isinstance(came, Lost) or came.status == 200 or came.status >= 500)
        if not ill:
            if self.breaker.good(permit):
                log.info("%s answers again", self.settings.base)
        elif rest := self.breaker.bad(permit):
            log.warning("%s is left alone for %.1f s: %s", self.settings.base, rest, outcome)
        if isinstance(came, Reply) and came.status == 429:
            self.breaker.hold(retry.retry_after(came) or 0.0)

    def _with_another_token(self, call: _Call, token: str, error: ApiError) -> bool:
        tokens = self.settings.tokens
        if tokens is None or error.status != 401 or call.renewed:
            return False
        call.renewed = tokens.refused(token)
        return call.renewed

    def _pause(self, call: _Call, came: Reply | Lost) -> float | None:
        if call.attempts > self.settings.retries:
            return None
        wait = retry.pause(came, attempt=call.attempts, left=call.until - self._clock(), safe=call.safe)
        return wait if wait is not None and self._budget.spend() else None

    def _tell(self, call: _Call, answers: Sequence[Answer[T]], error: ApiError | None) -> None:
        seconds = self._clock() - call.began
        if error is not None:
            level = logging.DEBUG if error.code == "resting" else logging.WARNING
            log.log(level, "%s%s: %s (request %s)", self.settings.base, call.asked.path, error, call.request_id)
        if self.settings.on_call is None:
            return
        sources: dict[Source, int] = dict(Counter(one.source for one in answers))
        try:
            self.settings.on_call(Event(call.asked.path, seconds, call.attempts, sources, error, call.request_id))
        except Exception:
            log.exception("on_call failed")  # the site's metrics must not cost it its page


def _json(item: Any) -> str:
    """Equal requests are equal texts."""
    return json.dumps(item, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
