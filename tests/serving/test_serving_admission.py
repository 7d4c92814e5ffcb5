"""Who is let in: deadlines, callers who left, and a queue that does not stand."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.serving.replica import Replica, UnixConnection, eventually, request

SLOW = "import time\ndef predict(model, batch): time.sleep(0.2); return batch"


@pytest.mark.parametrize("header", ["Mawasu-Deadline", "X-Envoy-Expected-Rq-Timeout-Ms"])
def test_a_caller_is_told_when_its_time_is_up(replica: Replica, header: str) -> None:
    replica.ready("import time\ndef predict(model, item): time.sleep(item.get('seconds', 0))", workers=2)
    eventually(lambda: replica.metric("workers") == 2)
    began = time.monotonic()
    answer = request(replica.listen, "POST", "/", b'{"seconds": 10}', {header: "50"})
    assert (answer.status, answer.json["message"]) == (504, "the model was busy for longer than the caller waits")
    assert time.monotonic() - began < 5
    assert request(replica.listen, "POST", "/", b"{}", {header: "5000"}).status == 200
    assert request(replica.listen, "POST", "/", b"{}", {header: "soon"}).status == 400
    assert replica.metric("late_total") == 1


def test_who_does_not_wait_at_all_is_told_so(replica: Replica) -> None:
    replica.ready(SLOW)
    assert request(replica.listen, "POST", "/", b"{}", {"Mawasu-Deadline": "0"}).status == 504


def test_envoys_zero_is_no_deadline(replica: Replica) -> None:
    replica.ready(SLOW)
    assert request(replica.listen, "POST", "/", b"{}", {"X-Envoy-Expected-Rq-Timeout-Ms": "0"}).status == 200


def test_what_cannot_be_done_in_time_is_not_begun(replica: Replica) -> None:
    replica.ready("import time\ndef predict(model, batch): time.sleep(0.2); return batch", max_batch=1)
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            thread = threading.Thread(target=replica.ask, args=({},))
            thread.start()
            stack.callback(thread.join)
        eventually(lambda: replica.metric("queued") >= 1)
        answer = request(replica.listen, "POST", "/", b'{"late": 1}', {"Mawasu-Deadline": "60"})
        assert answer.status in (503, 504)
    assert replica.metric("items_total") == 3


def test_work_for_callers_who_left_is_dropped(replica: Replica) -> None:
    replica.ready(
        "import time\ndef predict(model, item):\n    time.sleep(0.2)\n    open('calls', 'a').write(item['who'] + ' ')",
        max_batch=1,
    )

    def leave(who: str) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(replica.listen))
            connection.sendall(b'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 15\r\n\r\n{"who": "%b"}' % who.encode())
            before = replica.metric("queued")
            eventually(lambda: replica.metric("queued") > before or replica.metric("batches_total") == 1)

    stay = threading.Thread(target=replica.ask, args=({"who": "first"},))
    stay.start()
    eventually(lambda: replica.metric("batches_total") == 1)
    for _ in range(3):
        leave("left!")
    stay.join()
    assert replica.ask({"who": "last"}).status == 200
    assert (replica.directory / "calls").read_text().split()[0] == "first"
    assert (replica.directory / "calls").read_text().count("left!") <= 1


def test_a_handler_that_waits_is_told_to_stop_when_its_caller_leaves(replica: Replica) -> None:
    replica.ready(
        "import asyncio, pathlib\nasync def predict(model, item):\n    pathlib.Path('began').touch()\n"
        "    try: await asyncio.sleep(item.get('seconds', 0))\n"
        "    except asyncio.CancelledError:\n        pathlib.Path('stopped').touch()\n        raise"
    )
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(replica.listen))
        connection.sendall(b'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 15\r\n\r\n{"seconds": 60}')
        eventually(lambda: (replica.directory / "began").exists())
    eventually(lambda: (replica.directory / "stopped").exists())
    assert replica.ask({}).status == 200
    assert replica.metric("worker_losses_total") == 0


class Crowd:
    """Callers that never stop asking, and what they were told, how fast."""

    def __init__(self, path: Path, callers: int) -> None:
        self.answered: list[float] = []
        self.refused: list[float] = []
        self._path = path
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(callers)]

    def run(self, seconds: float) -> None:
        for thread in self._threads:
            thread.start()
        self._stop.wait(seconds)
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        connection = UnixConnection(self._path, 20)
        with contextlib.closing(connection):
            while not self._stop.is_set():
                began = time.monotonic()
                connection.request("POST", "/", b"{}")
                response = connection.getresponse()
                response.read()
                took = time.monotonic() - began
                if response.status == http.client.OK:
                    self.answered.append(took)
                else:
                    assert response.status == http.client.SERVICE_UNAVAILABLE
                    assert int(response.getheader("retry-after", "0")) >= 1
                    self.refused.append(took)
                    self._stop.wait(0.05)


TWO_AT_A_TIME = "import time\ndef predict(model, batch): time.sleep(0.02); return batch"


def test_a_burst_may_wait(replica: Replica) -> None:
    """On connections that stand already: sixty threads may take so long to begin that it is none."""
    replica.ready(TWO_AT_A_TIME, max_batch=2)
    with contextlib.ExitStack() as stack:
        callers = [stack.enter_context(contextlib.closing(UnixConnection(replica.listen, 20))) for _ in range(100)]
        for caller in callers:
            caller.connect()
        for caller in callers:
            caller.sock.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
        for caller in callers:
            response = http.client.HTTPResponse(caller.sock)
            response.begin()
            assert response.status == 200
    assert replica.metric("refused_total") == 0


def test_a_queue_may_not_stand(replica: Replica) -> None:
    """A batch of two takes 20 ms; a hundred callers are far more than that can serve."""
    replica.ready(TWO_AT_A_TIME, max_batch=2)
    few = Crowd(replica.listen, 4)
    few.run(0.5)
    many = Crowd(replica.listen, 100)
    many.run(2)
    assert len(many.answered) / 2 > 0.6 * len(few.answered) / 0.5
    assert len(many.refused) > 20
    assert sorted(many.answered)[int(0.95 * len(many.answered))] < 1.5
