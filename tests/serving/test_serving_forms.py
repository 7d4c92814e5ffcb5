"""What a handler's signature says: one item or many, waiting or not, streaming, and of what types."""

from __future__ import annotations

import io
import json
import signal
import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.serving.replica import Replica, eventually, request

DATACLASS = """
from dataclasses import dataclass
from typing import Literal, Optional

@dataclass
class Seat:
    row: int
    side: Literal["window", "aisle"] = "aisle"

@dataclass
class Flight:
    hour: float
    seats: list[Seat]
    carrier: Optional[str] = None
    direct: bool = True
"""


@pytest.mark.parametrize(
    "signature",
    ["(model, item)", "(model, one: dict)", "(model, one: dict[str, int])", "(model, item: 'dict | None')"],
)
def test_a_function_of_one_item_is_asked_one_at_a_time(replica: Replica, signature: str) -> None:
    name = "item" if "item" in signature else "one"
    replica.ready(f"def predict{signature}: return {name}['x'] * 2")
    assert replica.ask({"x": 3}).json == 6
    assert replica.ask([{"x": 1}, {"x": 2}]).json == [2, 4]


@pytest.mark.parametrize("hint", ["", ": list", ": list[dict]", ": 'Sequence[dict]'"])
def test_a_function_of_many_is_given_all_that_wait(replica: Replica, hint: str) -> None:
    code = f"from collections.abc import Sequence\ndef predict(model, batch{hint}): return [len(batch) for _ in batch]"
    replica.ready(code)
    assert replica.ask([{"x": 1}, {"x": 2}]).json == [2, 2]


def test_items_are_what_the_hints_say(replica: Replica) -> None:
    replica.ready(
        DATACLASS + "def predict(model, item: Flight) -> dict:\n"
        "    return {'hour': item.hour + 0.5, 'sides': [seat.side for seat in item.seats], 'direct': item.direct}"
    )
    answer = replica.ask({"hour": 9, "seats": [{"row": 1}, {"row": 2, "side": "window"}], "unknown": 1})
    assert answer.json == {"hour": 9.5, "sides": ["aisle", "window"], "direct": True}


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"seats": []}, "body: `hour` is missing"),
        ({"hour": "nine", "seats": []}, 'body.hour: expected a number, found "nine"'),
        ({"hour": True, "seats": []}, "body.hour: expected a number, found true"),
        ({"hour": 9, "seats": {}}, "body.seats: expected a list, found {}"),
        ({"hour": 9, "seats": [{"row": 1.5}]}, "body.seats[0].row: expected a whole number, found 1.5"),
        ({"hour": 9, "seats": [{"row": 1, "side": "roof"}]}, 'body.seats[0].side: expected "window" or "aisle"'),
        ({"hour": 9, "seats": [], "carrier": 5}, "body.carrier: expected text, found 5"),
    ],
)
def test_what_the_hints_do_not_allow_is_the_callers_fault(replica: Replica, item: object, said: str) -> None:
    replica.ready(DATACLASS + "def predict(model, item: Flight): return 1")
    answer = replica.ask(item)
    assert answer.status == 400
    assert said in answer.json["message"]


def test_what_a_library_says_in_many_lines_is_told_in_one(replica: Replica) -> None:
    """As pydantic does; and a handler's own refusal may be as long."""
    replica.ready(
        "class Flight:\n"
        "    @classmethod\n    def model_validate(cls, value):\n"
        "        raise ValueError('1 validation error for Flight\\nhour\\n  Input should be a number')\n"
        "class No(Exception): mawasu_status = 422\n"
        "def predict(model, item: 'Flight | None'):\n    raise No('not\\n  today')"
    )
    wrong, refused = replica.ask({"hour": "nine"}), replica.post(b"[null]")
    assert (wrong.status, refused.status) == (400, 422)
    assert wrong.json["message"].endswith("1 validation error for Flight hour Input should be a number")
    assert refused.json["message"] == "not today"


def test_one_callers_wrong_item_never_costs_another_its_answer(replica: Replica) -> None:
    replica.ready("import time\ndef predict(model, batch: list[int]): time.sleep(0.01); return [n * 2 for n in batch]")
    answers = replica.ask_all([[n] if n % 3 else ["x"] for n in range(48)])
    assert [answer.status for answer in answers] == [200 if n % 3 else 400 for n in range(48)]
    assert [answer.json for answer in answers if answer.status == 200] == [[2 * n] for n in range(48) if n % 3]


def test_typed_dicts_name_what_is_missing(replica: Replica) -> None:
    replica.ready(
        "from typing import TypedDict\n"
        "class Flight(TypedDict):\n    hour: int\n    carrier: str\n"
        "def predict(model, batch: list[Flight]): return [item['hour'] for item in batch]"
    )
    assert replica.ask([{"hour": 1, "carrier": "AA"}]).json == [1]
    answer = replica.ask([{"hour": 1, "carrier": "AA"}, {"hour": 2}])
    assert (answer.status, "body[1]: `carrier` is missing" in answer.json["message"]) == (400, True)


def test_an_enum_says_what_it_may_be(replica: Replica) -> None:
    replica.ready(
        "import enum\nfrom typing import TypedDict\n"
        "class Cabin(enum.Enum):\n    ECONOMY = 'economy'\n    BUSINESS = 'business'\n"
        "class Flight(TypedDict):\n    cabin: Cabin\n"
        "def predict(model, batch: list[Flight]): return [item['cabin'].name for item in batch]"
    )
    assert replica.ask({"cabin": "business"}).json == "BUSINESS"
    answer = replica.ask({"cabin": "first"})
    assert answer.status == 400
    assert 'body.cabin: expected "economy" or "business", found "first"' in answer.json["message"]


def test_answers_may_be_dataclasses_dates_and_enums(replica: Replica) -> None:
    replica.ready(
        "import datetime, enum\nfrom dataclasses import dataclass\n"
        "class Kind(enum.Enum):\n    GOOD = 'good'\n"
        "@dataclass\nclass Answer:\n    kind: Kind\n    day: datetime.date\n"
        "def predict(model, item: dict) -> Answer: return Answer(Kind.GOOD, datetime.date(2026, 1, 2))"
    )
    assert replica.ask({}).json == {"kind": "good", "day": "2026-01-02"}


def test_handlers_that_wait_wait_side_by_side(replica: Replica) -> None:
    replica.ready(
        "import asyncio\nwaiting, most = 0, 0\n"
        "async def predict(model, item):\n"
        "    global waiting, most\n"
        "    waiting += 1; most = max(most, waiting)\n"
        "    await asyncio.sleep(0.05)\n"
        "    waiting -= 1\n    return most",
        max_batch=1,
    )
    answers = replica.ask_all([{}] * 24, callers=24)
    assert {answer.status for answer in answers} == {200}
    assert max(answer.json for answer in answers) > 4


def test_an_async_batch_is_one_call_and_its_errors_have_an_id(replica: Replica) -> None:
    replica.ready("async def predict(model, batch): return [1 / item['x'] for item in batch]")
    assert replica.ask([{"x": 2}, {"x": 4}]).json == [0.5, 0.25]
    answer = replica.ask({"x": 0})
    assert answer.status == 500
    assert f"error {answer.json['id']}: ZeroDivisionError" in replica.log.read_text()


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_generator_is_streamed_line_by_line(replica: Replica, kind: str) -> None:
    replica.ready(f"{kind} predict(model, item):\n    for n in range(item['n']): yield {{'n': n}}")
    answer = replica.ask({"n": 3})
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line) for line in answer.body.splitlines()] == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert replica.ask({"n": 0}).body == b""


def test_a_stream_is_events_for_who_asks_for_events(replica: Replica) -> None:
    replica.ready("def predict(model, item):\n    yield 'one\\ntwo'\n    yield 2\n    if item: 1 / 0")
    ask = {"accept": "text/event-stream"}
    answer = request(replica.listen, "POST", "/", b"{}", ask)
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.body == b'data: "one\\ntwo"\n\ndata: 2\n\n'
    broken = request(replica.listen, "POST", "/", b'{"x": 1}', ask).body
    assert broken.startswith(answer.body)
    assert b"event: error\ndata: {" in broken
    assert b"ZeroDivision" not in broken


def test_a_stream_that_fails_before_its_first_piece_is_an_ordinary_500(replica: Replica) -> None:
    replica.ready("def predict(model, item):\n    yield 1 / item['x']")
    answer = replica.ask({"x": 0})
    assert answer.status == 500
    assert f"error {answer.json['id']}: ZeroDivisionError" in replica.log.read_text()
    assert replica.ask({"x": 2}).body == b"0.5\n"


def test_half_a_stream_is_never_passed_as_a_whole_one(replica: Replica) -> None:
    replica.ready("def predict(model, item):\n    yield 1\n    1 / 0")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(replica.listen))
        connection.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
        answer = b""
        while data := connection.recv(65536):
            answer += data
    assert b"200 OK" in answer
    assert not answer.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_stream_ends_when_its_caller_leaves(replica: Replica, kind: str) -> None:
    pause = "await asyncio.sleep(0.01)" if kind == "async def" else "time.sleep(0.01)"
    replica.ready(
        "import asyncio, time, pathlib\n"
        f"{kind} predict(model, item):\n    try:\n        while item.get('long'):\n            yield 1\n"
        f"            {pause}\n    finally:\n        pathlib.Path('closed').touch()"
    )
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(replica.listen))
        connection.sendall(b'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{"long":1}')
        assert connection.recv(100)
        assert not (replica.directory / "closed").exists()
    eventually(lambda: (replica.directory / "closed").exists())
    assert replica.ask({}).status == 200


def test_bytes_come_and_go_as_they_are(replica: Replica) -> None:
    replica.ready("def predict(model, batch: list[bytes]): return [item[::-1] for item in batch]")
    sent = bytes(range(256)) * 1000
    answer = request(replica.listen, "POST", "/", sent, {"content-type": "image/png"})
    assert (answer.body, answer.headers["content-type"]) == (sent[::-1], "application/octet-stream")


def test_arrays_come_as_numpy_saves_them_or_as_json(replica: Replica) -> None:
    replica.ready(
        "import numpy as np\ndef predict(model, item: np.ndarray): return {'sum': item.sum(), 'n': item.ndim}"
    )
    file = io.BytesIO()
    np.save(file, np.ones((300, 400)))
    assert replica.post(file.getvalue()).json == {"sum": 120000.0, "n": 2}
    assert replica.post(b"[[1, 2]]").json == [{"sum": 3, "n": 1}]
    unsafe = io.BytesIO()
    np.save(unsafe, np.array([{}]), allow_pickle=True)
    assert replica.post(unsafe.getvalue()).status == 400


def test_a_batch_may_be_an_array(replica: Replica) -> None:
    replica.ready("import numpy as np\ndef predict(model, batch: np.ndarray): return batch.sum(axis=1)")
    assert replica.ask([[1, 2], [3, 4]]).json == [3, 7]


def test_a_function_without_a_batch_cannot_be_loaded(replica: Replica) -> None:
    replica.start("def predict(model): return 1")
    assert replica.worker is not None
    assert replica.worker.wait(10) == 1
    assert "predict takes the model and a batch" in replica.log.read_text().splitlines()[-1]


def test_hints_that_cannot_be_read_are_told_and_not_used(replica: Replica) -> None:
    replica.ready("def predict(model, batch: 'list[Nowhere]'): return batch")
    assert replica.ask([1]).json == [1]
    assert "the type hints of predict are not used: name 'Nowhere' is not defined" in replica.log.read_text()


def test_several_streams_share_one_waiting_worker(replica: Replica) -> None:
    replica.ready(
        "import asyncio\nstarted = 0\n"
        "async def predict(model, item):\n    global started\n    started += 1\n"
        "    while started < 4: await asyncio.sleep(0.01)\n    yield started"
    )
    with ThreadPoolExecutor(4) as pool:
        answers = [future.result() for future in [pool.submit(replica.ask, {}) for _ in range(4)]]
    assert {answer.body for answer in answers} == {b"4\n"}
    assert replica.worker is not None
    replica.worker.send_signal(signal.SIGTERM)
