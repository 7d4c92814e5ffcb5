"""Answers that are given again: by one server, from its own memory."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from mawasu.serving.memory import Asked
from mawasu.words import Caching
from tests.serving.replica import Answer, Replica, UnixConnection, eventually, request

COUNT = """
import itertools, time
count = itertools.count(1)
def predict(model, batch):
    return [{"n": next(count), "item": item} for item in batch]
"""
SLOW = COUNT.replace("return [", "time.sleep(0.3); return [")


def caching(ttl: float = 60.0, **fields: Any) -> Caching:
    return Caching(ttl, **fields)


def ask(replica: Replica, body: str, target: str = "/predict", method: str = "POST", **headers: str) -> Answer:
    return request(replica.listen, method, target, body.encode(), {k.replace("_", "-"): v for k, v in headers.items()})


def status(answer: Answer) -> str:
    return answer.headers["cache-status"]


def test_the_same_question_is_answered_once(replica: Replica) -> None:
    replica.ready(COUNT, cache=caching())
    first, second = ask(replica, '{"x": 1}'), ask(replica, '{"x": 1}')
    assert (first.json, second.json) == ({"n": 1, "item": {"x": 1}},) * 2
    assert status(first) == "mawasu; fwd=uri-miss; stored"
    assert status(second).startswith("mawasu; hit; ttl=")
    assert first.headers["cache-control"] == second.headers["cache-control"] == "private, max-age=60"
    assert first.headers["etag"] == second.headers["etag"]
    assert int(second.headers["age"]) >= 0
    assert second.headers["content-type"] == "application/json"
    assert second.headers["mawasu-release"].startswith("sha256:")
    assert (replica.metric("cache_hits_total"), replica.metric("cache_misses_total")) == (1, 1)
    assert replica.metric("items_total") == 1


def test_equal_json_is_one_question_however_it_is_written(replica: Replica) -> None:
    replica.ready(COUNT, cache=caching())
    bodies = ['{"a": 1, "b": [1.50, true]}', '{ "b":[1.5,true], "a":1 }', '{"b": [15e-1, true], "a": 1}']
    assert [ask(replica, body).json["n"] for body in bodies + bodies] == [1] * 6
    assert ask(replica, bodies[0], "/predict?x=1&y=2").json["n"] == 2
    assert ask(replica, bodies[0], "/predict?y=2&x=1").json["n"] == 2


@pytest.mark.parametrize(
    "other",
    ['{"a": 1.0}', '{"a": "1"}', '{"a": true}', '[{"a": 1}]', '{"a": 1, "b": null}', '{"A": 1}', '{"a": 2}'],
)
def test_what_a_model_could_tell_apart_is_another_question(replica: Replica, other: str) -> None:
    replica.ready(COUNT, cache=caching())
    ask(replica, '{"a": 1}')
    assert "fwd=uri-miss" in status(ask(replica, other))
    assert "fwd=uri-miss" in status(ask(replica, '{"a": 1}', "/other"))
    assert "fwd=uri-miss" in status(ask(replica, '{"a": 1}', "/predict", "GET"))


def test_numbers_too_large_for_a_double_are_not_confused(replica: Replica) -> None:
    replica.ready(COUNT, cache=caching())
    large = [2**64, 2**64 + 1, 10**30, 10**30 + 1]
    assert [ask(replica, json.dumps({"a": number})).json["n"] for number in large] == [1, 2, 3, 4]


def test_errors_are_not_kept(replica: Replica) -> None:
    replica.ready("def predict(model, batch): raise ValueError('no')", cache=caching())
    for _ in range(2):
        assert ask(replica, "{}").status == 500
        assert ask(replica, "no json").status == 400
    assert (replica.metric("cache_entries"), replica.metric("cache_misses_total")) == (0, 4)


def test_without_the_setting_nothing_is_kept(replica: Replica) -> None:
    replica.ready(COUNT)
    assert [ask(replica, "{}").json["n"] for _ in range(3)] == [1, 2, 3]
    assert "cache-status" not in ask(replica, "{}").headers


def test_five_hundred_equal_questions_at_once_are_one_call(replica: Replica) -> None:
    """All of them are under way before the model says its first word."""
    gate = replica.directory / "gate"
    wait = f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)"
    replica.ready(f"import os\n{COUNT}".replace("    return [", f"    {wait}\n    return ["), cache=caching())
    with contextlib.ExitStack() as stack:
        callers = [stack.enter_context(contextlib.closing(UnixConnection(replica.listen, 20))) for _ in range(500)]
        for caller in callers:
            caller.request("POST", "/predict", b'{"x": 1}')
        eventually(lambda: replica.metric("requests_active") == 501)  # and the one that asks for the metrics
        gate.touch()
        answers = [caller.getresponse() for caller in callers]
        assert {json.loads(answer.read())["n"] for answer in answers} == {1}
    told = [answer.headers["cache-status"] for answer in answers]
    assert told.count("mawasu; fwd=uri-miss; stored") == 1
    assert told.count("mawasu; fwd=uri-miss; collapsed") == 499
    assert replica.metric("items_total") == 1


def test_a_worker_that_dies_fails_all_who_wait_and_the_next_question_is_asked_again(replica: Replica) -> None:
    mark = replica.directory / "mark"
    die = f"import os, time\n{COUNT}".replace(
        "    return [", f"    if not os.path.exists({str(mark)!r}):\n        time.sleep(0.3); os._exit(9)\n    return ["
    )
    replica.ready(die, cache=caching())
    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(ask, replica, "{}") for _ in range(20)]
        answers = [future.result() for future in asked]
    assert {answer.status for answer in answers} == {503}
    mark.touch()
    eventually(replica.is_ready)
    assert ask(replica, "{}").json["n"] == 1


def test_who_leaves_does_not_take_the_answer_from_those_who_stay(replica: Replica) -> None:
    replica.ready(SLOW, cache=caching())
    with socket.socket(socket.AF_UNIX) as first:
        first.connect(str(replica.listen))
        first.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
        eventually(lambda: replica.metric("cache_misses_total") == 1)
        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(ask, replica, "{}") for _ in range(4)]
            eventually(lambda: replica.metric("requests_active") >= 6)
            first.close()
            answers = [future.result() for future in asked]
    assert {answer.status for answer in answers} == {200}
    assert len({answer.json["n"] for answer in answers}) == 1


def test_memory_is_bounded_and_the_oldest_goes(replica: Replica) -> None:
    replica.ready(COUNT, cache=caching(memory=64 * 1024))
    for number in range(100):
        ask(replica, json.dumps({"x": number}))
        ask(replica, '{"x": 0}')
    assert replica.metric("cache_evictions_total") > 20
    assert replica.metric("cache_bytes") <= 64 * 1024
    assert ask(replica, '{"x": 0}').json["n"] == 1
    assert "fwd=uri-miss" in status(ask(replica, '{"x": 1}'))


def test_a_stale_answer_is_given_at_once_while_a_new_one_is_made(replica: Replica) -> None:
    replica.ready(SLOW, cache=caching(0.4, stale_while_revalidate=30.0))
    assert ask(replica, "{}").json["n"] == 1
    stale = eventually(
        lambda: answer if "ttl=-" in status(answer := ask(replica, "{}")) or answer.json["n"] > 1 else None
    )
    assert eventually(lambda: ask(replica, "{}").json["n"] > 1)
    assert stale.headers["cache-control"] == "private, max-age=0, stale-while-revalidate=30"
    assert replica.metric("cache_stale_total") > 0
    assert replica.metric("cache_misses_total") < replica.metric("cache_stale_total") + 3


def test_a_stale_answer_is_given_when_the_worker_is_down(replica: Replica) -> None:
    replica.ready(COUNT, cache=caching(0.2, stale_if_error=60.0))
    assert ask(replica, "{}").json["n"] == 1
    assert replica.worker is not None
    replica.worker.kill()
    replica.worker.wait()
    answer = eventually(lambda: one if "detail=failed-503" in status(one := ask(replica, "{}")) else None)
    assert (answer.status, answer.json["n"]) == (200, 1)
    assert ask(replica, '{"never": "asked"}').status == 503
    replica.start_worker()
    eventually(replica.is_ready)
    assert ask(replica, "{}").status == 200


def test_a_fresh_answer_is_given_while_the_worker_hangs(replica: Replica) -> None:
    replica.ready(COUNT, cache=caching())
    assert replica.worker is not None
    ask(replica, "{}")
    os.kill(replica.worker.pid, signal.SIGSTOP)
    assert ask(replica, "{}").json["n"] == 1


def test_the_most_asked_questions_are_told_to_who_may_reach_the_socket(replica: Replica) -> None:
    replica.ready(COUNT, cache=caching(warm=2))
    for body, times in (('{"x": 1}', 2), ('{"x": 2}', 5), ('{"x": 3}', 3)):
        for _ in range(times):
            ask(replica, body)
    top = msgspec.json.decode(request(replica.listen, "GET", "/-/top").body, type=list[Asked])
    assert [(one.method, one.path, one.body) for one in top] == [
        ("POST", b"/predict", b'{"x": 2}'),
        ("POST", b"/predict", b'{"x": 3}'),
    ]


def test_arrays_are_kept_whole(replica: Replica) -> None:
    replica.ready(COUNT, cache=caching())
    assert [one["n"] for one in ask(replica, "[{}, {}]").json] == [1, 2]
    assert [one["n"] for one in ask(replica, "[{},{}]").json] == [1, 2]
    assert ask(replica, "{}").json["n"] == 3
