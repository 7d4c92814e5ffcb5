"""Kept answers: fresh ones spare the API, stale ones stand in for it, and a broken Redis costs next to nothing."""

from __future__ import annotations

import contextlib
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bench.redis_server import RedisServer, valkey
from bench.world import free_port

from mawasu.client import Memory, Redis
from mawasu.client.cache import Entry, packed, unpacked
from mawasu.client.testing import FakeApi
from tests.client.conftest import Caller, Made
from tests.gateway.certificates import Authority, put

KEEP = "max-age=60, stale-if-error=600"
LATE = 5.0

Keeping = Callable[..., Caller]


@contextlib.contextmanager
def short_lived(*options: str, program: str = "") -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory() as directory, RedisServer(Path(directory), *options, program=program) as one:
        yield one


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with short_lived() as one:
        yield one


@pytest.fixture
def a_valkey() -> Iterator[RedisServer]:
    if not valkey():
        pytest.skip("there is no Valkey for this machine")
    with short_lived(program=valkey()) as one:
        yield one


@pytest.fixture(params=["memory", "redis"])
def keeping(request: pytest.FixtureRequest, caller: Made) -> Keeping:
    """Callers with a cache of their own, or one that they share."""
    if request.param == "memory":
        return lambda url, *, ttl=0.0, stale=0.0, **told: caller(url, cache=Memory(ttl=ttl, stale=stale), **told)
    server: RedisServer = request.getfixturevalue("redis")
    return lambda url, *, ttl=0.0, stale=0.0, **told: caller(
        url, cache=Redis(server.url, timeout=LATE, ttl=ttl, stale=stale), timeout=4 * LATE, **told
    )


def test_equal_requests_ask_the_api_once(fake: FakeApi, keeping: Keeping) -> None:
    fake.answer({"delay": 12}, cache_control=KEEP)
    api = keeping(fake.url)
    answers = [api.predict(item) for item in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1, "b": 3})]
    assert [one.source for one in answers] == ["live", "cache", "live"]
    assert answers[1].value == {"delay": 12}
    assert answers[1].release == answers[0].release
    assert 0 <= answers[1].age < LATE
    assert len(fake.calls) == 2


def test_a_page_that_changes_its_answer_does_not_change_the_next_ones(fake: FakeApi, keeping: Keeping) -> None:
    fake.answer({"delay": 12}, cache_control=KEEP)
    api = keeping(fake.url)
    for _ in range(3):
        value = api.predict({}).value
        assert value == {"delay": 12}
        value["delay"] = 0


def test_of_a_list_only_what_is_missing_is_asked_for(fake: FakeApi, keeping: Keeping) -> None:
    fake.answer(lambda item: item["n"], cache_control=KEEP)
    api = keeping(fake.url)
    api.predict({"n": 2})
    answers = api.predict_many([{"n": 1}, {"n": 2}, {"n": 3}])
    assert [(one.value, one.source) for one in answers] == [(1, "live"), (2, "cache"), (3, "live")]
    assert fake.calls[-1].items == [{"n": 1}, {"n": 3}]


def test_what_the_api_does_not_allow_is_not_kept(fake: FakeApi, keeping: Keeping) -> None:
    api = keeping(fake.url, ttl=60, stale=60, fallback=None)
    for said in ("no-store", "no-cache"):
        fake.answer(1, cache_control=said)
        assert [api.predict({"said": said}).source for _ in range(2)] == ["live", "live"]
    fake.down()
    assert api.predict({"said": "no-store"}).source == "fallback"


def test_an_api_that_says_nothing_is_kept_as_long_as_the_site_wishes(fake: FakeApi, keeping: Keeping) -> None:
    fake.answer(1, cache_control="")
    api = keeping(fake.url, ttl=60)
    assert [api.predict({}).source for _ in range(2)] == ["live", "cache"]


def test_a_stale_answer_stands_in_for_an_api_that_is_gone(fake: FakeApi, keeping: Keeping) -> None:
    fake.answer({"delay": 12}, cache_control="max-age=0, stale-if-error=600")
    api = keeping(fake.url, fallback=None)
    assert [api.predict({}).source for _ in range(2)] == ["live", "live"]
    for do in (fake.down, fake.up, fake.fail, fake.garbage):
        do()
        if do == fake.up:
            continue
        answer = api.predict({})
        assert (answer.value, answer.source) == ({"delay": 12}, "stale")
        assert answer.error is not None
    assert api.predict({"new": 1}).source == "fallback"


def test_a_stale_answer_needs_no_fall_back(fake: FakeApi, keeping: Keeping) -> None:
    fake.answer(1, cache_control="max-age=0, stale-if-error=600")
    api = keeping(fake.url)
    api.predict({"n": 1})
    fake.down()
    assert api.predict({"n": 1}).source == "stale"


def test_a_new_release_makes_kept_answers_stale(fake: FakeApi, keeping: Keeping) -> None:
    fake.answer("old", release="sha256:1", cache_control=KEEP)
    api = keeping(fake.url)
    api.predict({"n": 1})
    fake.answer("new", release="sha256:2", cache_control=KEEP)
    assert api.predict({"n": 1}).source == "cache"  # nobody can know yet
    assert api.predict({"n": 2}).value == "new"
    answer = api.predict({"n": 1})
    assert (answer.value, answer.source) == ("new", "live")


def test_units_share_answers_unless_the_api_divides_them(fake: FakeApi, keeping: Keeping) -> None:
    fake.answer("for all", cache_control=KEEP)
    api = keeping(fake.url)
    assert [api.predict({}, unit=unit).source for unit in ("a", "b")] == ["live", "cache"]
    fake.answer(lambda _: fake.calls[-1].unit, cache_control=KEEP, vary="mawasu-unit")
    found = [api.predict({"x": 1}, unit=unit) for unit in ("a", "b", "a", "b")]
    assert [(one.value, one.source) for one in found] == [("a", "live"), ("b", "live"), ("a", "cache"), ("b", "cache")]
    assert [api.predict({"x": 1}).source for _ in range(2)] == ["live", "cache"]  # having none is one more


def test_the_processes_of_a_site_share_a_redis_but_not_with_another_key(
    fake: FakeApi, caller: Made, redis: RedisServer
) -> None:
    fake.answer(1, cache_control=KEEP)
    shared = Redis(redis.url, timeout=LATE)
    sources = [caller(fake.url, key=key, cache=shared, timeout=20).predict({}).source for key in ("k", "k", "other")]
    assert sources == ["live", "cache", "live"]
    assert all(0 < int(redis.say("TTL", key)[1:-2]) <= 660 for key in redis.held())


def test_a_valkey_is_as_good_as_a_redis(fake: FakeApi, caller: Made, a_valkey: RedisServer) -> None:
    fake.answer(1, cache_control=KEEP)
    assert a_valkey.say("INFO", "server").find(b"valkey_version:") > 0
    shared = Redis(a_valkey.url, timeout=LATE)
    assert [caller(fake.url, cache=shared, timeout=20).predict({}).source for _ in range(2)] == ["live", "cache"]
    (key,) = a_valkey.held()
    a_valkey.say("SET", key, "x")
    assert caller(fake.url, cache=shared, timeout=20).predict({}).source == "live"


@pytest.mark.parametrize("garbage", ["x", '{"v":1}', "0123456789abcdef{}"])
def test_what_is_not_ours_in_redis_is_never_an_answer(
    fake: FakeApi, caller: Made, redis: RedisServer, garbage: str
) -> None:
    fake.answer(1, cache_control=KEEP)
    api = caller(fake.url, cache=Redis(redis.url, timeout=LATE), timeout=20)
    api.predict({})
    (key,) = redis.held()
    redis.say("SET", key, garbage)
    assert api.predict({}).source == "live"


def test_a_redis_behind_tls_and_a_password_is_used_by_those_who_know_it(
    fake: FakeApi, caller: Made, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority, port = Authority(), free_port()
    (trusted,) = authority.context().get_ca_certs(binary_form=True)
    (tmp_path / "ca.pem").write_text(ssl.DER_cert_to_PEM_cert(trusted))
    pair = put(tmp_path, authority.pair())
    told = f"--tls-port {port} --tls-auth-clients no --tls-cert-file {pair.certificate} --tls-key-file {pair.key}"
    fake.answer(1, cache_control=KEEP)
    with short_lived("--requirepass", "p@ss", *told.split()):
        url = f"rediss://:{{}}@localhost:{port}/1?ca={tmp_path}/ca.pem"
        api = caller(fake.url, cache=Redis(url.format("p%40ss"), timeout=LATE), timeout=20)
        assert [api.predict({}).source for _ in range(2)] == ["live", "cache"]
        stranger = caller(fake.url, cache=Redis(url.format("guess"), timeout=LATE), timeout=20)
        assert [stranger.predict({}).source for _ in range(6)] == ["live"] * 6
    assert "Redis is left alone" in caplog.text
    assert "WRONGPASS" in caplog.text
    assert "guess" not in caplog.text


def test_an_answer_under_another_key_is_not_taken() -> None:
    entry = Entry("1", "sha256:1", 1.0, 0.0, 60.0, 0.0)
    assert unpacked("a", packed("a", entry)) == entry
    assert unpacked("b", packed("a", entry)) is None
    assert unpacked("a", packed("a", entry)[:-1]) is None


def test_a_redis_that_hangs_costs_its_time_only_and_is_then_left_alone(
    fake: FakeApi, caller: Made, redis: RedisServer
) -> None:
    fake.answer(1, cache_control=KEEP)
    api = caller(fake.url, cache=Redis(redis.url, timeout=0.05), timeout=10)
    api.predict({"n": -1})
    redis.stall()
    began = time.monotonic()
    assert [api.predict({"n": n}).source for n in range(30)] == ["live"] * 30
    assert time.monotonic() - began < LATE
    redis.wake()
    until(lambda: api.predict({"n": 1000}).source == "cache")


def test_a_redis_that_is_gone_is_as_good_as_empty_and_found_again(
    fake: FakeApi, caller: Made, redis: RedisServer
) -> None:
    fake.answer(1, cache_control=KEEP)
    redis.close()
    api = caller(fake.url, cache=Redis(redis.url), timeout=10)
    assert [api.predict({"n": 1}).source for _ in range(10)] == ["live"] * 10
    redis.start()
    until(lambda: api.predict({"n": 1}).source == "cache")


def until(true: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 30
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def test_a_memory_forgets_what_was_not_used_for_longest() -> None:
    memory = Memory(2)
    entry = Entry("1", "", 1.0, 0.0, 60.0, 0.0)
    memory.put("a", entry)
    memory.put("b", entry)
    memory.get("a")
    memory.put("c", entry)
    assert memory.get("b") is None
    assert len(memory) == 2


def test_the_password_of_a_redis_is_not_printed() -> None:
    assert "secret" not in repr(Redis("redis://:secret@redis/0"))
