"""A worker that dies, hangs or cannot start; a server that is told to leave."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.serving.replica import Answer, Replica, eventually, request

ECHO = "import os\ndef predict(model, batch):\n    return [os.getpid() if item == 'pid' else item for item in batch]"


def test_a_killed_worker_costs_503_until_the_next_one_is_there(replica: Replica) -> None:
    replica.ready(ECHO)
    assert replica.worker is not None
    (first,) = replica.ask(["pid"]).json
    replica.worker.kill()
    replica.worker.wait()
    refused = eventually(lambda: answer if "retry-after" in (answer := replica.ask({})).headers else None)
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert replica.ask("x" * 5_000_000).status == 503  # also who is still sending is answered
    assert not replica.is_ready()
    replica.start_worker()
    eventually(replica.is_ready)
    assert replica.ask(["pid"]).json != [first]
    assert replica.metric("worker_losses_total") == 1


def test_requests_under_way_are_answered_when_their_worker_dies(replica: Replica) -> None:
    replica.ready("import os, time\ndef predict(model, batch):\n    time.sleep(0.1)\n    os._exit(9)")
    answers = replica.ask_all([{}] * 8, callers=8)
    assert {answer.status for answer in answers} == {503}


def test_a_worker_that_hangs_is_ended_at_the_deadline_and_another_takes_its_place(replica: Replica) -> None:
    replica.ready(
        "import os, time\ndef predict(model, batch):\n"
        "    while 'hang' in batch: time.sleep(1)\n    return [os.getpid() for _ in batch]",
        deadline=0.5,
    )
    (first,) = replica.ask(["pid"]).json
    assert replica.ask(["hang"]).status == 504
    assert eventually(lambda: replica.ask(["pid"]).json) != [first]
    assert "worker 0 ended with status -9; starting another" in replica.log.read_text()
    assert "the worker did not answer within 0.5 s; ending it" in replica.server_log.read_text()


def test_a_batch_is_no_larger_than_its_time_allows(replica: Replica) -> None:
    """Twelve together would take 1.8 s: all of them would be given up, and the worker with them."""
    replica.ready("import time\ndef predict(model, item): time.sleep(0.15); return item", deadline=1.0)
    assert replica.ask({}).status == 200
    statuses = [answer.status for answer in replica.ask_all([{}] * 12, callers=12)]
    assert statuses.count(200) >= 4
    assert set(statuses) <= {200, 503, 504}
    assert replica.metric("worker_losses_total") == 0


def test_a_slow_answer_within_the_deadline_is_waited_for(replica: Replica) -> None:
    replica.ready("import time\ndef predict(model, batch): time.sleep(0.4); return batch", deadline=0.6, max_batch=1)
    answers = replica.ask_all([{}] * 3, callers=3)  # the third has waited longer than that, and is not begun any more
    assert sorted(answer.status for answer in answers)[:2] == [200, 200]
    assert replica.worker is not None
    assert replica.worker.poll() is None


PANIC = "class Panic(BaseException): pass\ndef predict(m, b): pass\ndef load(d): raise Panic('at the disco')"
READ = "import pickle\ndef predict(m, b): pass\ndef load(d): return pickle.load(open(d + '/model', 'rb'))"


def test_a_handler_or_a_model_that_cannot_be_loaded_ends_with_one_clear_line(replica: Replica, tmp_path: Path) -> None:
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong/model").write_text("version https://git-lfs.github.com/spec/v1")
    for code, model, said in (
        ("import nowhere_to_be_found", None, "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("def other(): pass", None, "AnswerError: api has no function predict"),
        ("def predict(:", None, "SyntaxError"),
        ("def predict(m, b): pass\ndef load(d): exit('no model')", None, "SystemExit: no model"),
        (PANIC, None, "AnswerError: the handler raised Panic, which is no Exception: at the disco"),
        (READ, tmp_path / "missing", "FileNotFoundError: [Errno 2] No such file or directory: "),
        (READ, tmp_path / "wrong", "UnpicklingError: invalid load key, 'v'."),
    ):
        replica.start(code, model=model)
        assert replica.worker is not None
        assert replica.worker.wait(10) == 1
        assert said in replica.log.read_text().splitlines()[-1]
        replica.close()


def test_a_server_that_was_killed_finds_its_worker_again(replica: Replica) -> None:
    replica.ready(ECHO)
    assert replica.server is not None
    pid = replica.ask(["pid"]).json
    replica.server.kill()
    replica.server.wait()
    replica.start_server()
    eventually(replica.is_ready)
    assert replica.ask(["pid"]).json == pid


def test_a_server_told_to_leave_answers_what_it_accepted(replica: Replica) -> None:
    gate = replica.directory / "gate"
    replica.ready(
        f"import os, time\ndef predict(model, batch):\n"
        f"    while not os.path.exists({str(gate)!r}): time.sleep(0.01)\n    return batch",
        max_batch=4,
    )
    assert replica.server is not None
    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(replica.ask, {"n": number}) for number in range(16)]
        eventually(lambda: replica.metric("items_total") + replica.metric("queued") == 16)
        replica.server.terminate()
        eventually(lambda: not replica.listen.exists())
        gate.touch()
        answers: list[Answer] = [future.result() for future in asked]
    assert [answer.json for answer in answers] == [{"n": number} for number in range(16)]
    assert answers[-1].headers["connection"] == "close"
    assert replica.server.wait(5) == 0
    assert not replica.listen.exists()


def test_draining_under_load_loses_nothing_that_was_accepted(replica: Replica) -> None:
    """Callers take a new connection each: one that finds no server was never accepted, and would go elsewhere."""
    replica.ready("import time\ndef predict(model, batch): time.sleep(0.002); return batch")
    assert replica.server is not None
    stop = threading.Event()
    statuses: list[int] = []

    def call() -> None:
        while not stop.is_set():
            try:
                statuses.append(request(replica.listen, "POST", "/", b'{"x":1}').status)
            except (FileNotFoundError, ConnectionRefusedError):
                return

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(statuses) > 100)
    replica.server.terminate()
    assert replica.server.wait(10) == 0
    stop.set()
    for thread in threads:
        thread.join()
    assert set(statuses) == {200}
