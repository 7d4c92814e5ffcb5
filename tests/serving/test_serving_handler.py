"""What callers of a handler see."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

from tests.serving.replica import RELEASE, Replica, eventually, request

DOUBLE = "def predict(model, batch): return [2 * item['x'] for item in batch]"


def test_an_object_is_one_item_and_an_array_is_many(replica: Replica) -> None:
    replica.ready(DOUBLE)
    one = replica.ask({"x": 3})
    assert (one.status, one.json) == (200, 6)
    assert replica.ask([{"x": 1}, {"x": 2}]).json == [2, 4]
    assert replica.ask([]).json == []


def test_every_answer_says_which_release_gave_it(replica: Replica) -> None:
    replica.ready(DOUBLE)
    for body in (b'{"x": 1}', b"no"):
        assert replica.post(body).headers["mawasu-release"] == RELEASE


def test_the_model_is_loaded_once_and_given_to_predict(replica: Replica, tmp_path: Path) -> None:
    (tmp_path / "factor").write_text("7")
    code = """
        calls = []
        def load(directory):
            calls.append(directory)
            return int(open(directory + "/factor").read())
        def predict(model, batch):
            return [[model, len(calls)] for _ in batch]
    """
    replica.ready(dedent(code), model=tmp_path)
    assert [replica.ask({}).json for _ in range(3)] == [[7, 1]] * 3


def test_without_load_the_model_is_its_directory(replica: Replica, tmp_path: Path) -> None:
    code = "import os\ndef predict(model, batch): return [[model, os.environ['MAWASU_MODEL']] for _ in batch]"
    replica.ready(code, model=tmp_path)
    assert replica.ask({}).json == [str(tmp_path), str(tmp_path)]


def test_the_handler_imports_from_its_own_directory_only(replica: Replica) -> None:
    (replica.directory / "worker.py").write_text("name = 'mine'")
    replica.ready("import sys, worker\ndef predict(model, batch): return [[worker.name, sys.path[0]]]")
    assert replica.ask({}).json == ["mine", str(replica.directory.resolve())]


def test_it_is_not_ready_before_the_model_is_loaded(replica: Replica) -> None:
    gate = replica.directory / "gate"
    replica.start(
        f"import os, time\ndef load(d):\n    while not os.path.exists({str(gate)!r}): time.sleep(0.01)\n" + DOUBLE
    )
    assert eventually(replica.health) == 503
    refused = replica.ask({"x": 1})
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    gate.touch()
    eventually(replica.is_ready)
    assert replica.ask({"x": 1}).json == 2


def test_what_is_not_json_is_refused_with_one_line(replica: Replica) -> None:
    replica.ready(DOUBLE)
    bad = (b"", b"{", b"{'x': 1}", b'{"x": NaN}', b'{"x": "\xff"}', b"[" * 100_000, b'{"x":1} x', b"\x00", b"[1,]")
    for body in bad:
        answer = replica.post(body)
        assert answer.status == 400, body
        assert answer.json["code"] == 400
        assert "\n" not in answer.json["message"]
    for body in (b"1", b'"text"', b"null"):
        assert "object" in replica.post(body).json["message"]
    assert replica.ask({"x": 1}).json == 2


def test_what_only_the_users_python_cannot_read_is_refused_too(replica: Replica) -> None:
    replica.ready(DOUBLE)
    answer = replica.post(b'{"x": ' + b"9" * 5000 + b"}")  # int() reads 4300 digits
    assert answer.status == 400


def test_a_body_over_the_limit_is_refused(replica: Replica) -> None:
    replica.ready(DOUBLE, max_body=1000)
    assert replica.post(b'{"x": 1}'.ljust(1000)).status == 200
    assert replica.post(b'{"x": 1}'.ljust(1001)).status == 413
    chunked = request(replica.listen, "POST", "/", iter([b'{"x":', b"1" * 2000, b"}"]))  # type: ignore[arg-type]
    assert chunked.status == 413


def test_a_chunked_body_is_read_to_its_end(replica: Replica) -> None:
    replica.ready(DOUBLE)
    answer = request(replica.listen, "POST", "/", iter([b'{"x"', b": 21", b"}"]))  # type: ignore[arg-type]
    assert answer.json == 42


def test_numbers_of_numpy_are_json(replica: Replica) -> None:
    replica.ready(
        """
import numpy
def predict(model, batch):
    return numpy.array([[1.5, 2.0]] * len(batch)) if batch[0] == "array" else [
        {"a": numpy.float32(0.5), "b": numpy.int64(3), "c": numpy.arange(2), "d": numpy.bool_(True)} for _ in batch
    ]
"""
    )
    assert replica.ask({}).json == {"a": 0.5, "b": 3, "c": [0, 1], "d": True}
    assert replica.ask(["array"]).json == [[1.5, 2.0]]


def test_an_exception_gives_an_id_and_its_trace_stays_in_the_log(replica: Replica) -> None:
    replica.ready("def predict(model, batch): return [1 / item['hidden'] for item in batch]")
    answer = replica.ask({"hidden": 0})
    assert answer.status == 500
    assert set(answer.json) == {"code", "message", "id"}
    assert b"Traceback" not in answer.body
    assert b"ZeroDivision" not in answer.body
    log = replica.log.read_text()
    assert f"error {answer.json['id']}: ZeroDivisionError: division by zero" in log
    assert "item['hidden']" in log


def test_one_callers_bad_item_never_fails_anothers_request(replica: Replica) -> None:
    replica.ready("import time\ndef predict(model, batch): time.sleep(0.01); return [item['x'] for item in batch]")
    answers = replica.ask_all([{"x": number} if number % 4 else {"y": 0} for number in range(64)])
    assert [answer.status for answer in answers] == [200 if number % 4 else 500 for number in range(64)]
    assert [answer.json for answer in answers if answer.status == 200] == [n for n in range(64) if n % 4]
    assert replica.log.read_text().count("KeyError: 'x'\n") == 2 * 16  # told once per failed request: line and trace


def test_an_answer_of_the_wrong_length_is_an_error(replica: Replica) -> None:
    replica.ready("def predict(model, batch): return [1, 2, 3]")
    assert replica.ask({}).status == 500
    assert "predict gave 3 answers for 1 items" in replica.log.read_text()
    assert replica.ask([{}, {}, {}]).json == [1, 2, 3]


def test_answers_that_are_not_json_are_named_in_the_log(replica: Replica) -> None:
    replica.ready(
        "kinds = {'object': object(), 'nan': float('nan'), 'key': {(1, 2): 3}}\n"
        "def predict(model, batch): return 5 if batch[0] == {} else [kinds[item['kind']] for item in batch]"
    )
    for kind, said in (("object", "object, which is not JSON"), ("nan", "Out of range float"), ("key", "keys must be")):
        assert replica.ask({"kind": kind}).status == 500
        assert said in replica.log.read_text()
    assert replica.ask({}).status == 500
    assert "predict gave a int, not a list" in replica.log.read_text()


def test_text_of_every_language_comes_back_as_it_went(replica: Replica) -> None:
    replica.ready("def predict(model, batch): return batch")
    value = {"text": "回す — ünï \U0001f40d \u2028", "number": 1e-300, "deep": [[[[{}]]]]}
    assert replica.ask(value).json == value
    assert replica.post(json.dumps(value, ensure_ascii=False).encode()).json == value


def test_what_the_handler_prints_is_in_the_log(replica: Replica) -> None:
    replica.ready("def predict(model, batch): print('asked for', batch); return batch")
    replica.ask({"x": 1})
    assert "asked for [{'x': 1}]" in replica.log.read_text()


def test_addresses_of_our_own_do_not_reach_the_model(replica: Replica) -> None:
    replica.ready("def predict(model, batch): raise SystemExit")
    assert request(replica.listen, "GET", "/-/other").status == 404
