"""What a user's code raises, and when it hangs or dies in the middle of an answer: told to whom it concerns, and nobody
else pays for it. The replicas are shared: a test leaves its worker as it found it."""

from __future__ import annotations

import http.client
import io
import os
import re
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from mawasu.serving.link import GRACE
from tests.serving.replica import Answer, Replica, UnixConnection, eventually, request

DEADLINE = 1.0
RAISE = """
import asyncio, os, sys, time
from dataclasses import dataclass

class Panic(BaseException): pass  # as libraries written in Rust have it

def trouble(kind):
    if kind == "panic": raise Panic("index out of bounds")
    if kind == "exit": sys.exit("bad input")
    if kind == "cancel": raise asyncio.CancelledError
    if kind == "refused": raise ConnectionRefusedError("the feature store")
    if kind == "block": time.sleep(60)
"""
MANY = (
    RAISE
    + """
def predict(model, batch):
    if "slow" in batch[0]: time.sleep(0.2)
    for item in batch: trouble(item.get("kind"))
    return [item.pop("x") for item in batch]
"""
)
WAITING = (
    RAISE
    + """
async def predict(model, item):
    trouble(item.get("kind"))
    try:
        await asyncio.sleep(60 if "hang" in item else 0)
    except asyncio.CancelledError:
        print("told to end", flush=True)
        raise
    return os.getpid()
"""
)
PIECES = (
    RAISE
    + """
{kind} predict(model, item):
    yield os.getpid()
    trouble(item.get("kind"))
    try:
        while "long" in item:
            yield "more"
            {pause}
    finally:
        if "close" in item: raise KeyError("while it was closed")
    if "die" in item: os._exit(9)
"""
)
SYNC = PIECES.format(kind="def", pause="time.sleep(0.01)")
ASYNC = PIECES.format(kind="async def", pause="await asyncio.sleep(0.01)")
HINTED = (
    RAISE
    + """
@dataclass
class Seat:
    row: int
    def __post_init__(self):
        if self.row < 0: raise ValueError("no such row")
        if self.row > 90: trouble("panic")
        if self.row > 50: {}[self.row]

def predict(model, item: Seat): return item.row
"""
)


@contextmanager
def serving(code: str) -> Iterator[Replica]:
    with tempfile.TemporaryDirectory(prefix="mw-") as directory:
        replica = Replica(Path(directory))
        try:
            yield replica.ready(code, deadline=DEADLINE)
        finally:
            replica.close()


@pytest.fixture(scope="module")
def replicas() -> Iterator[dict[str, Replica]]:
    codes = {"many": MANY, "waiting": WAITING, "def": SYNC, "async def": ASYNC}
    with ExitStack() as stack:
        yield {name: stack.enter_context(serving(code)) for name, code in codes.items()}


def counted(replica: Replica, status: int) -> int:
    text = request(replica.listen, "GET", "/-/metrics").body.decode()
    return sum(int(count) for count in re.findall(rf'^mawasu_requests_total{{.*status="{status}"}} (\d+)$', text, re.M))


def told(replica: Replica, answer: Answer, what: str) -> None:
    """A 500 that says nothing but where to look; the log says why."""
    assert (answer.status, set(answer.json)) == (500, {"code", "message", "id"})
    assert f"error {answer.json['id']}: {what}" in replica.log.read_text()


@pytest.mark.parametrize(
    ("name", "kind", "what"),
    [
        ("many", "exit", "SystemExit: bad input"),
        ("many", "cancel", "AnswerError: the handler raised CancelledError, which is no Exception"),
        ("many", "panic", "AnswerError: the handler raised Panic, which is no Exception: index out of bounds"),
        ("waiting", "panic", "AnswerError: the handler raised Panic, which is no Exception: index out of bounds"),
        ("waiting", "exit", "SystemExit: bad input"),
        ("waiting", "cancel", "AnswerError: predict was cancelled, by nobody who asked it"),
        ("waiting", "refused", "ConnectionRefusedError: the feature store"),
    ],
)
def test_whatever_a_handler_raises_is_a_500_and_ends_no_worker(
    replicas: dict[str, Replica], name: str, kind: str, what: str
) -> None:
    replica = replicas[name]
    losses = replica.metric("worker_losses_total")
    told(replica, replica.ask({"kind": kind}), what)
    assert replica.ask({"x": 1}).status == 200
    assert replica.metric("worker_losses_total") == losses


def test_a_call_that_failed_halfway_does_not_spoil_the_items_of_others(replicas: dict[str, Replica]) -> None:
    """They wait for a slow call, so they go together, and all before the wrong one have lost their `x` by then."""
    replica = replicas["many"]
    asked = [{"slow": 1, "x": 0}, *({"x": n} if n != 7 else {"y": n} for n in range(1, 12))]
    answers = replica.ask_all(list(asked), callers=12)
    assert [answer.status for answer in answers] == [500 if "y" in one else 200 for one in asked]


def test_what_the_type_of_an_item_raises_is_the_callers_fault_or_the_logs() -> None:
    with serving(HINTED) as replica:
        wrong = replica.ask({"row": -1})
        assert (wrong.status, wrong.json["message"]) == (400, "the body cannot be read: no such row")
        told(replica, replica.ask({"row": 51}), "KeyError: 51")
        told(replica, replica.ask({"row": 91}), "AnswerError: the handler raised Panic")
        assert replica.ask([{"row": 1}, {"row": 2}]).json == [1, 2]
        assert replica.metric("worker_losses_total") == 0


def test_what_is_no_array_is_the_callers_fault() -> None:
    file = io.BytesIO()
    np.save(file, np.ones((3, 4)))
    whole = file.getvalue()
    with serving("import numpy as np\ndef predict(model, batch: np.ndarray): return batch.sum(axis=1)") as replica:
        huge = whole.replace(b"(3, 4)", b"(3, 99999999999999)").replace(b" " * 14 + b"\n", b"\n")
        for body in (b"[[1, 2], [3]]", b'[[1], {"x": 2}]', whole[:6], whole[:40], whole[:-1], huge):
            answer = replica.post(body)
            assert (answer.status, answer.json["code"]) == (400, 400), body
        assert replica.ask([[1, 2], [3, 4]]).json == [3, 7]
        assert replica.metric("worker_losses_total") == 0


# ------------------------------------------------------------------------------------------ streams

KINDS = pytest.mark.parametrize("kind", ["def", "async def"])


@contextmanager
def streamed(replica: Replica, item: bytes, accept: str = "*/*") -> Iterator[http.client.HTTPResponse]:
    with closing(UnixConnection(replica.listen, 10)) as connection:
        connection.request("POST", "/", item, {"accept": accept})
        yield connection.getresponse()


@KINDS
@pytest.mark.parametrize(
    ("trouble", "said"),
    [(b"refused", "ConnectionRefusedError: the feature store"), (b"panic", "Panic: index out of bounds")],
)
def test_a_stream_that_cannot_reach_something_or_panics_is_cut_and_counted_as_failed(
    replicas: dict[str, Replica], kind: str, trouble: bytes, said: str
) -> None:
    """Its own lost connection is not taken for ours, which would make half an answer look whole."""
    replica = replicas[kind]
    before, losses = counted(replica, 500), replica.metric("worker_losses_total")
    with streamed(replica, b'{"kind": "%b"}' % trouble) as response, pytest.raises(http.client.IncompleteRead) as cut:
        response.read()
    assert cut.value.partial.endswith(b"\n")
    assert said in replica.log.read_text()
    assert (counted(replica, 500), replica.metric("worker_losses_total")) == (before + 1, losses)


@KINDS
def test_a_generator_that_fails_while_it_is_closed_costs_the_next_caller_nothing(
    replicas: dict[str, Replica], kind: str
) -> None:
    replica = replicas[kind]
    losses = replica.metric("worker_losses_total")
    with streamed(replica, b'{"long": 1, "close": 1}') as response:
        assert response.readline()
    eventually(lambda: "KeyError: 'while it was closed'" in replica.log.read_text())
    assert replica.ask({}).status == 200
    assert replica.metric("worker_losses_total") == losses


@KINDS
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_stream_whose_worker_is_lost_never_looks_whole(
    replicas: dict[str, Replica], kind: str, number: signal.Signals
) -> None:
    replica = replicas[kind]
    before = counted(replica, 503)
    with streamed(replica, b'{"long": 1}') as response:
        os.kill(int(response.readline()), number)
        with pytest.raises(http.client.IncompleteRead):
            response.read()
    assert replica.ask({}).status == 200
    with streamed(replica, b'{"die": 1}', "text/event-stream") as response:
        said = response.read().decode()
    assert said.startswith("data: ")
    assert said.endswith(
        '\n\nevent: error\ndata: {"code":503,"message":"the model is not available at the moment"}\n\n'
    )
    assert replica.ask({}).status == 200
    eventually(lambda: counted(replica, 503) == before + 2)


# ------------------------------------------------------------------------------------------ hanging


def test_one_that_hangs_among_others_is_ended_alone(replicas: dict[str, Replica]) -> None:
    replica, stop = replicas["waiting"], threading.Event()
    pids: set[int] = set()

    def ask() -> None:
        while not stop.wait(0.05):
            pids.add(replica.ask({}).json)

    others = threading.Thread(target=ask)
    others.start()
    hung = replica.ask({"hang": 1})
    stop.set()
    others.join()
    assert (hung.status, hung.json["message"]) == (504, f"the model did not answer within {DEADLINE:g} seconds")
    eventually(lambda: "told to end" in replica.log.read_text())
    assert pids == {replica.ask({}).json}


def test_one_that_lets_nothing_else_happen_is_ended_with_its_worker(replicas: dict[str, Replica]) -> None:
    replica = replicas["waiting"]
    before = replica.ask({}).json
    assert replica.ask({"kind": "block"}).status == 504
    assert eventually(lambda: one.json if (one := replica.ask({})).status == 200 else None, 5 + GRACE) != before
