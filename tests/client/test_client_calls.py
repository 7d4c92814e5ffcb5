"""What a site sees of a call, by threads and in a loop alike, while a real server does what servers do."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any

import pytest

from mawasu.client import Api, ApiError, AsyncApi, Event, Memory
from mawasu.client.testing import RELEASE, FakeApi
from tests.client.conftest import Made

LATE = 5.0  # seconds: far more than any time-out here, far less than what hangs


@dataclass(frozen=True)
class Delay:
    delay: int


def delay(value: Any) -> Delay:
    return Delay(**value)


def test_a_live_answer_says_which_release_gave_it(fake: FakeApi, caller: Made) -> None:
    answer = caller(fake.url, key="k").predict({"carrier": "JL"})
    assert (answer.value, answer.source, answer.release, answer.error) == ({"delay": 12}, "live", RELEASE, None)


def test_the_api_sees_key_unit_deadline_and_an_id_that_the_answer_has_too(fake: FakeApi, caller: Made) -> None:
    answer = caller(fake.url, key="secret", timeout=2).predict({"b": 1, "a": "東"}, unit="visitor-7")
    (call,) = fake.calls
    assert (call.path, call.items, call.unit) == ("/predict", [{"a": "東", "b": 1}], "visitor-7")
    assert call.headers["x-api-key"] == "secret"
    assert call.headers["content-type"] == "application/json"
    assert 1000 < int(call.headers["mawasu-deadline"]) <= 2000
    assert call.headers["x-request-id"] == answer.request_id


def test_a_list_goes_in_and_a_list_comes_out(fake: FakeApi, caller: Made) -> None:
    fake.answer(lambda item: item["n"] * 2)
    answers = caller(fake.url).predict_many([{"n": 1}, {"n": 2}, {"n": 3}])
    assert [one.value for one in answers] == [2, 4, 6]
    assert len(fake.calls) == 1
    assert caller(fake.url).predict_many([]) == []


def test_an_answer_becomes_what_decode_makes_of_it(fake: FakeApi, caller: Made) -> None:
    api = caller(fake.url, decode=delay, fallback=Delay(0))
    assert api.predict({}).value == Delay(12)
    fake.answer({"dealy": 1})
    answer = api.predict({})
    assert answer.value == Delay(0)
    assert answer.error is not None
    assert answer.error.code == "garbage"


def test_types_follow_decode(fake: FakeApi) -> None:
    with Api(fake.url, decode=delay) as typed, Api(fake.url) as plain:
        minutes: int = typed.predict({}).value.delay
        anything: str | int = plain.predict({}).value["delay"]  # of an Any
    assert (minutes, anything) == (12, 12)


@pytest.mark.parametrize(
    ("status", "code", "calls"),
    [
        (400, "refused", 1),
        (401, "refused", 1),
        (404, "refused", 1),
        (500, "broken", 1),
        (502, "broken", 2),
        (503, "busy", 2),
    ],
)
def test_a_refusal_becomes_the_fall_back_and_says_why(
    fake: FakeApi, caller: Made, status: int, code: str, calls: int
) -> None:
    fake.fail(status, "because")
    answer = caller(fake.url, fallback={"delay": None}).predict({})
    assert (answer.value, answer.source, answer.release) == ({"delay": None}, "fallback", "")
    assert answer.error is not None
    assert (answer.error.code, answer.error.status, answer.error.message) == (code, status, f"{status} because")
    assert len(fake.calls) == calls


def test_without_a_fall_back_the_error_is_raised(fake: FakeApi, caller: Made) -> None:
    fake.fail(500, "because")
    with pytest.raises(ApiError, match="broken: 500 because"):
        caller(fake.url).predict({})
    with pytest.raises(ApiError, match="broken"):
        caller(fake.url).predict_many([{}, {}])


def test_each_page_gets_a_fall_back_of_its_own(fake: FakeApi, caller: Made) -> None:
    fake.down()
    api = caller(fake.url, fallback={"delay": None})
    api.predict({}).value["delay"] = 5
    assert api.predict({}).value == {"delay": None}


def test_a_second_try_helps_where_the_first_connection_was_cut(fake: FakeApi, caller: Made) -> None:
    api = caller(fake.url)
    api.predict({"n": 1})
    fake.down()
    fake.up()  # the connection in the pool is dead
    assert api.predict({"n": 2}).source == "live"


def test_a_request_that_is_not_safe_twice_is_sent_once(fake: FakeApi, caller: Made) -> None:
    fake.fail(502)
    api = caller(fake.url, fallback=None)
    api.predict({}, safe=False)
    assert len(fake.calls) == 1


def test_an_api_that_asks_to_wait_a_little_is_asked_again_then(fake: FakeApi, caller: Made) -> None:
    fake.fail(429, retry_after=0)
    api = caller(fake.url, fallback=None)
    assert api.predict({}).source == "fallback"
    assert len(fake.calls) == 2


def test_a_spent_quota_is_not_asked_for_until_its_time(fake: FakeApi, caller: Made) -> None:
    fake.fail(429, retry_after=30)
    api = caller(fake.url, fallback=None)
    errors = [api.predict({"n": n}).error for n in range(5)]
    assert [one.code for one in errors if one] == ["busy", *["resting"] * 4]
    assert len(fake.calls) == 1


def test_a_slow_api_costs_the_page_its_time_and_no_more(fake: FakeApi, caller: Made) -> None:
    fake.slow(60)
    began = time.monotonic()
    answer = caller(fake.url, timeout=0.2, fallback=None).predict({})
    assert 0.15 < time.monotonic() - began < LATE
    assert answer.error is not None
    assert answer.error.code == "timeout"
    assert len(fake.calls) == 1


def dripping(server: socket.socket, stop: threading.Event) -> None:
    connection, _ = server.accept()
    with connection:
        while not stop.wait(0.05):
            try:
                connection.sendall(b"H")
            except OSError:
                return


def test_an_answer_that_drips_costs_no_more_either(caller: Made) -> None:
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=dripping, args=(server, stop))
        thread.start()
        began = time.monotonic()
        answer = caller(f"http://127.0.0.1:{server.getsockname()[1]}", timeout=0.3, fallback=None).predict({})
        stop.set()
        thread.join()
    assert time.monotonic() - began < LATE
    assert answer.error is not None


def test_a_name_that_nobody_answers_for_costs_no_more_either(caller: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()

    def hangs(*_: object, **__: object) -> Any:
        asked.wait(20)
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    began = time.monotonic()
    answer = caller("http://nowhere.example", timeout=0.2, fallback=None).predict({})
    took = time.monotonic() - began
    asked.set()
    assert took < LATE
    assert answer.source == "fallback"


def test_an_api_that_failed_too_often_rests_and_is_found_again(fake: FakeApi, caller: Made) -> None:
    fake.fail(500)
    api = caller(fake.url, fallback=None)
    sources = [api.predict({"n": n}) for n in range(20)]
    assert {one.source for one in sources} == {"fallback"}
    assert len(fake.calls) == 5
    assert api.api.breaker == "open"
    fake.answer(1)
    give_up = time.monotonic() + 20
    while api.predict({"n": 0}).source != "live":
        assert time.monotonic() < give_up
        time.sleep(0.02)
    assert len(fake.calls) == 6


def test_what_is_not_json_is_the_sites_fault_also_with_a_fall_back(fake: FakeApi, caller: Made) -> None:
    api = caller(fake.url, fallback=None)
    for item in ({"x": float("nan")}, {"x": object()}):
        with pytest.raises((ValueError, TypeError)):
            api.predict(item)
    for unit in ("ü", "a\r\nx-api-key: b"):
        with pytest.raises(ValueError, match="unit"):
            api.predict({}, unit=unit)
    with pytest.raises(ValueError, match="path"):
        api.predict({}, path="predict")
    assert not fake.calls


@pytest.mark.parametrize("url", ["ml.example.com", "ftp://a/b", "http://", "https://a/b?key=1", "https://u:p@a/b"])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        Api(url)


def test_a_key_and_a_token_are_one_too_many() -> None:
    with pytest.raises(ValueError, match="two"):
        Api("http://a", key="k", token=lambda: "t")


def test_nothing_secret_stands_in_a_log_or_an_error(
    fake: FakeApi, caller: Made, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    api = caller(fake.url, key="verysecret", fallback=None)
    api.predict({"diagnosis": "private"})
    for do in (fake.fail, fake.garbage, fake.down):
        do()
        for n in range(4):
            answer = api.predict({"diagnosis": "private", "n": n})
    assert caplog.records
    seen = caplog.text + repr(answer) + repr(api.api) + repr(api.api._core.settings)
    assert "verysecret" not in seen
    assert "private" not in seen


def test_metrics_hear_of_every_call_and_cannot_break_a_page(fake: FakeApi, caller: Made) -> None:
    heard: list[Event] = []

    def hook(event: Event) -> None:
        heard.append(event)
        raise RuntimeError("the metrics are down")

    fake.answer(1, cache_control="max-age=60")
    api = caller(fake.url, fallback=None, on_call=hook)
    api.predict({"n": 1})
    api.predict_many([{"n": 1}, {"n": 2}])
    fake.down()
    api.predict({"n": 3})
    assert [one.sources for one in heard] == [{"live": 1}, {"cache": 1, "live": 1}, {"fallback": 1}]
    assert [one.attempts for one in heard] == [1, 1, 2]
    assert heard[2].error is not None
    assert all(0 <= one.seconds < LATE for one in heard)


def test_threads_share_an_api(fake: FakeApi) -> None:
    fake.answer(lambda item: item)
    wrong: list[object] = []
    with Api(fake.url, timeout=LATE) as api:

        def ask(start: int) -> None:
            for n in range(start, start + 25):
                if api.predict({"n": n}).value != {"n": n}:
                    wrong.append(n)

        threads = [threading.Thread(target=ask, args=(start,)) for start in range(0, 200, 25)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong
    assert len(fake.calls) == 200


def test_a_server_may_fork_with_an_api(fake: FakeApi) -> None:
    fake.answer(lambda item: item)
    with Api(fake.url, timeout=LATE) as api:
        api.predict({"n": 0})  # a connection stands
        child = os.fork()
        if child == 0:
            os._exit(0 if all(api.predict({"n": n}).value == {"n": n} for n in range(1, 20)) else 1)
        for n in range(100, 120):
            assert api.predict({"n": n}).value == {"n": n}
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_page_that_is_given_up_gives_its_place_to_the_next(fake: FakeApi) -> None:
    async def scene() -> str:
        async with AsyncApi(fake.url, timeout=30, connections=1) as api:
            fake.slow(30)
            page = asyncio.create_task(api.predict({"n": 1}))
            while not fake.calls:
                await asyncio.sleep(0.01)
            page.cancel()
            with pytest.raises(asyncio.CancelledError):
                await page
            fake.answer(1)
            return (await api.predict({"n": 2})).source

    assert asyncio.run(scene()) == "live"


def test_a_proxy_is_asked_where_the_environment_says_so(
    fake: FakeApi, caller: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", fake.url.removesuffix("/fake/production"))
    monkeypatch.delenv("no_proxy", raising=False)
    answer = caller("http://models.example/x").predict({})
    assert answer.value == {"delay": 12}
    assert fake.calls[0].path == "http://models.example/x/predict"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert caller(fake.url).predict({"n": 1}).source == "live"


def test_a_memory_of_nothing_keeps_nothing(fake: FakeApi, caller: Made) -> None:
    fake.answer(1, cache_control="max-age=60")
    api = caller(fake.url, cache=Memory(0))
    assert [api.predict({}).source for _ in range(2)] == ["live", "live"]
