"""What is decided, without a network: when to ask again, when to leave alone, how long to keep."""

from __future__ import annotations

import pytest

from mawasu.client import retry
from mawasu.client.answer import ApiError
from mawasu.client.breaker import FIRST_REST, LAST, LONGEST_HOLD, LONGEST_REST, ROW, Breaker
from mawasu.client.effects import Lost, Reply
from mawasu.client.freshness import Lifetime, Releases, lifetime
from mawasu.client.judge import judge
from mawasu.client.resp import Address, Answers, pack

REFUSED = Lost("unreachable", "refused", sent=False)
CUT = Lost("unreachable", "cut", sent=True)
LATE = Lost("timeout", "late", sent=True)


def reply(status: int, body: bytes = b"", **headers: str) -> Reply:
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


# ---------------------------------------------------------------------------------------- asking again


@pytest.mark.parametrize(
    ("came", "safe", "unsafe"),
    [
        (REFUSED, True, True),
        (CUT, True, False),
        (LATE, False, False),
        (reply(502), True, False),
        (reply(503), True, False),
        (reply(504), True, False),
        (reply(503, retry_after="0"), True, True),
        (reply(429, retry_after="0"), True, True),
        (reply(429), False, False),
        (reply(500), False, False),
        (reply(501), False, False),
        (reply(400), False, False),
        (reply(401), False, False),
        (reply(404), False, False),
        (reply(200), False, False),
    ],
)
def test_a_request_is_sent_again_only_where_that_is_safe_and_helps(
    came: Reply | Lost, safe: bool, unsafe: bool
) -> None:
    assert (retry.pause(came, attempt=1, left=1.0, safe=True) is not None) == safe
    assert (retry.pause(came, attempt=1, left=1.0, safe=False) is not None) == unsafe


def test_what_the_api_says_of_when_to_come_back_is_kept_or_nothing_is_sent() -> None:
    assert retry.pause(reply(503, retry_after="2"), attempt=1, left=1.0, safe=True) is None
    wait = retry.pause(reply(503, retry_after="2"), attempt=1, left=5.0, safe=True)
    assert wait is not None
    assert 2 <= wait < 2.1


def test_those_who_failed_together_come_back_apart() -> None:
    waits = {retry.pause(CUT, attempt=3, left=1.0, safe=True) for _ in range(50)}
    assert len(waits) == 50
    assert all(wait is not None and 0 <= wait <= retry.MOST for wait in waits)


def test_retry_after_is_seconds_or_a_date() -> None:
    def now() -> float:
        return 784111777.0

    assert retry.retry_after(reply(429, retry_after="7"), now) == 7
    assert retry.retry_after(reply(503, retry_after="Sun, 06 Nov 1994 08:49:47 GMT"), now) == 10
    assert retry.retry_after(reply(503, retry_after="Sun, 06 Nov 1994 08:49:27 GMT"), now) == 0
    for nonsense in ("", "soon", "-1", "1.5", "٣", "Sun, 99 Nov 1994 08:49:37 GMT"):
        assert retry.retry_after(reply(503, retry_after=nonsense), now) is None
    assert retry.retry_after(reply(500, retry_after="7"), now) is None


def test_retries_are_a_tenth_of_the_calls_in_the_long_run() -> None:
    budget = retry.Budget()
    spent = 0
    for _ in range(1000):
        budget.earn()
        spent += budget.spend()
    assert 100 <= spent <= 111  # ten were saved up


# ---------------------------------------------------------------------------------------- leaving alone


def failing(breaker: Breaker, times: int) -> float:
    rest = 0.0
    for _ in range(times):
        rest = breaker.bad(breaker.permit())
    return rest


def test_five_failures_in_a_row_open_it() -> None:
    breaker = Breaker(Clock())
    assert failing(breaker, ROW - 1) == 0
    assert str(breaker.state) == "closed"
    assert failing(breaker, 1) > 0
    assert str(breaker.state) == "open"
    assert not breaker.permit()


def test_every_second_answer_missing_opens_it_too() -> None:
    breaker = Breaker(Clock())
    for number in range(LAST):
        permit = breaker.permit()
        assert permit
        (breaker.bad if number % 2 else breaker.good)(permit)
    assert str(breaker.state) == "open"


def test_after_the_rest_one_call_tries_and_the_others_do_not_wait_for_it() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    clock.now += failing(breaker, ROW)
    assert str(breaker.state) == "half-open"
    probe = breaker.permit()
    assert probe
    assert not breaker.permit()
    assert breaker.good(probe)
    assert str(breaker.state) == "closed"
    assert breaker.permit()


def test_rests_grow_while_it_stays_ill_and_begin_anew_when_it_was_well() -> None:
    clock = Clock()
    breaker = Breaker(clock, jitter=lambda: 0.5)
    rests = [failing(breaker, ROW)]
    for _ in range(7):
        clock.now += rests[-1]
        rests.append(failing(breaker, 1))
    assert rests == [FIRST_REST, 2, 4, 8, 16, LONGEST_REST, LONGEST_REST, LONGEST_REST]
    clock.now += rests[-1]
    breaker.good(breaker.permit())
    assert failing(breaker, ROW) == FIRST_REST


def test_an_answer_from_before_it_opened_does_not_close_it() -> None:
    breaker = Breaker(Clock())
    slow = breaker.permit()
    failing(breaker, ROW)
    assert not breaker.good(slow)
    assert breaker.bad(slow) == 0
    assert str(breaker.state) == "open"


def test_a_try_whose_caller_left_leaves_its_place_to_the_next() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    clock.now += failing(breaker, ROW)
    breaker.forget(breaker.permit())
    assert breaker.permit()


def test_an_api_that_says_when_to_come_back_is_left_alone_until_then_but_not_for_ever() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    breaker.hold(3)
    assert not breaker.permit()
    clock.now += 3
    assert breaker.permit()
    breaker.hold(1e9)
    clock.now += LONGEST_HOLD
    assert breaker.permit()


# ---------------------------------------------------------------------------------------- keeping


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, (0, 0)),
        ({"cache-control": "max-age=60"}, (60, 0)),
        ({"cache-control": "max-age=60", "age": "50"}, (10, 0)),
        ({"cache-control": "max-age=60", "age": "99"}, (0, 0)),
        ({"cache-control": "max-age=60", "age": "nonsense"}, (60, 0)),
        ({"cache-control": "MAX-AGE=60, stale-if-error=3600"}, (60, 3600)),
        ({"cache-control": 'max-age="60"'}, (60, 0)),
        ({"cache-control": "max-age=60, max-age=9999"}, (60, 0)),
        ({"cache-control": "max-age=-1"}, (0, 0)),
        ({"cache-control": "max-age=99999999999999999999999"}, (0, 0)),
        ({"cache-control": "private, max-age=60"}, (60, 0)),
        ({"cache-control": "s-maxage=60"}, (0, 0)),
        ({"cache-control": "no-store, max-age=60, stale-if-error=60"}, (0, 0)),
        ({"cache-control": "no-cache, max-age=60"}, (0, 0)),
        ({"cache-control": "max-age=60, must-revalidate, stale-if-error=60"}, (60, 0)),
        ({"cache-control": "max-age=60", "vary": "Accept, X-Api-Key"}, (60, 0)),
        ({"cache-control": "max-age=60", "vary": "*"}, (0, 0)),
        ({"cache-control": "max-age=60", "vary": "accept-language"}, (60, 0)),  # we never send one
        ({"cache-control": "max-age=60", "vary": "X-Request-Id"}, (0, 0)),
        ({"cache-control": "private, max-age=60, stale-while-revalidate=9, stale-if-error=30"}, (60, 30)),  # mawasu's
    ],
)
def test_the_api_says_how_long_its_answers_are_good(headers: dict[str, str], expected: tuple[float, float]) -> None:
    found = lifetime(headers, ttl=0, stale=0)
    assert (found.fresh, found.stale) == expected


def test_a_caller_may_wish_for_more_where_the_api_does_not_forbid_it() -> None:
    wish = {"ttl": 5.0, "stale": 600.0}
    assert lifetime({}, **wish) == Lifetime(5, 600, 0, by_unit=False)
    assert lifetime({"cache-control": "max-age=0"}, **wish) == Lifetime(0, 600, 0, by_unit=False)
    assert lifetime({"cache-control": "max-age=9, stale-if-error=6000"}, **wish).stale == 6000
    assert lifetime({"cache-control": "no-store"}, **wish).kept == 0
    assert lifetime({"cache-control": "max-age=9, must-revalidate"}, **wish).stale == 0


def test_answers_may_be_for_one_unit_only() -> None:
    assert lifetime({"cache-control": "max-age=9", "vary": "Mawasu-Unit"}, ttl=0, stale=0).by_unit


def test_a_new_release_makes_older_answers_stale_once() -> None:
    clock = Clock()
    releases = Releases(clock)
    releases.heard("a")
    assert releases.changed == 0
    clock.now += 1000
    releases.heard("a")
    assert releases.changed == 0  # nobody had asked for long
    clock.now += 1
    releases.heard("b")
    assert releases.changed == clock.now


def test_a_split_between_two_releases_is_one_change() -> None:
    clock = Clock()
    releases = Releases(clock)
    releases.heard("a")
    clock.now += 1
    releases.heard("b")
    changed = releases.changed
    for _ in range(20):
        clock.now += 10
        releases.heard("a")
        releases.heard("b")
    assert releases.changed == changed
    clock.now += Releases.FORGET + 1
    releases.heard("b")
    clock.now += 1
    releases.heard("a")  # a roll-back
    assert releases.changed == clock.now


# ---------------------------------------------------------------------------------------- judging


def fault(came: Reply | Lost, count: int | None = None) -> ApiError:
    found = judge(came, count, "id")
    assert isinstance(found, ApiError)
    return found


def test_an_answer_is_json_of_the_right_count() -> None:
    assert judge(reply(200, b'{"a": 1}'), None, "id") == ['{"a": 1}']
    assert judge(reply(200, b'[{"a":1},null]'), 2, "id") == ['{"a":1}', "null"]
    for body in (b"", b"<html>", b"NaN", b'{"a": Infinity}', b"\xff", b"[" * 100_000):
        assert fault(reply(200, body)).code == "garbage"
    for body in (b"{}", b"[1]", b"[1,2,3]"):
        assert fault(reply(200, body), 2).code == "garbage"


def test_a_refusal_is_told_in_the_apis_own_words_without_what_would_break_a_log() -> None:
    said = fault(reply(400, b'{"code": 400, "message": "age:\\nis \\u202e not a number"}'))
    assert (said.code, said.status, said.message) == ("refused", 400, "400 age: is   not a number")
    assert fault(reply(502, b"<html>")).message == "502"
    assert fault(reply(429)).code == fault(reply(503)).code == "busy"
    assert fault(reply(302)).code == "refused"
    assert fault(reply(500, b'{"message": ' + b'"x' * 9)).code == "broken"
    assert fault(LATE).code == "timeout"
    assert str(fault(CUT)) == "unreachable: cut"


# ---------------------------------------------------------------------------------------- Redis' protocol


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_answers_of_redis_are_read_however_they_are_cut(size: int) -> None:
    said = b"+OK\r\n$-1\r\n$4\r\na\r\nb\r\n$0\r\n\r\n-OOM command not allowed\r\n"
    answers = Answers(5)
    for at in range(0, len(said), size):
        assert not answers.whole
        answers.feed(said[at : at + size])
    assert answers.whole
    assert answers.found == [None, None, b"a\r\nb", b"", None]
    assert answers.refused == "OOM"


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"*1000000000\r\n",
        b"$99999999999\r\n",
        b"$x\r\n",
        b"?" * 2000,
        b"+OK\r\n+OK\r\n",
    ],
)
def test_what_does_not_speak_like_redis_is_left_at_once(said: bytes) -> None:
    with pytest.raises(ValueError):
        Answers(1).feed(said)


def test_the_address_of_a_redis_says_who_calls_and_which_database_and_keeps_its_secret() -> None:
    told = Address("redis://site:p%40ss@cache/3")
    assert (told.host, told.port, told.path) == ("cache", 6379, "")
    assert told.greeting == [pack("AUTH", "site", "p@ss"), pack("SELECT", "3")]
    assert Address("unix:///run/redis.sock").path == "/run/redis.sock"
    for wrong in ("http://:secret@cache", "redis://:secret@cache/zero", "redis://:secret@cache:port"):
        with pytest.raises(ValueError) as raised:
            Address(wrong)
        assert "secret" not in str(raised.value)
