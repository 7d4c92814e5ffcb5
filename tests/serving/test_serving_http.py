"""HTTP itself, byte by byte: what is refused, what is kept apart, and what waits for whom."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.serving.replica import Replica, eventually, request

ECHO = "def predict(model, batch): return batch"
ASK = b'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 7\r\n\r\n{"n":%d}'


@contextmanager
def connected(replica: Replica) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(replica.listen))
        yield connection


def exchange(replica: Replica, sent: bytes) -> bytes:
    """All that comes until the server ends the connection."""
    with connected(replica) as connection:
        connection.sendall(sent)
        answer = b""
        while data := connection.recv(65536):
            answer += data
        return answer


@pytest.mark.parametrize(
    "sent",
    [
        b"POST / HTTP/1.1\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"POST / HTTP/1.1\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: 1\r\n 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nx : 1\r\n\r\n",
        b"GET / HTTP/1.1\nhost: x\n\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_two_servers_could_read_differently_is_refused(replica: Replica, sent: bytes) -> None:
    replica.ready(ECHO)
    answer = exchange(replica, sent)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"connection: close" in answer
    assert replica.ask({"x": 1}).json == {"x": 1}


def test_requests_sent_ahead_are_answered_in_their_order(replica: Replica) -> None:
    replica.ready(ECHO)
    with connected(replica) as connection:
        connection.sendall(b"".join(ASK % n for n in range(10)) * 5)
        answer = b""
        while answer.count(b"HTTP/1.1 200 OK") < 50 or not answer.endswith(b'{"n":9}'):
            answer += connection.recv(65536)
    assert [int(found[0:1]) for found in answer.split(b'{"n":')[1:]] == [*range(10)] * 5


def test_a_request_in_single_bytes_is_read(replica: Replica) -> None:
    replica.ready(ECHO)
    with connected(replica) as connection:
        for byte in ASK % 5:
            connection.sendall(bytes([byte]))
        answer = b""
        while not answer.endswith(b'{"n":5}'):
            answer += connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_head_without_end_is_cut_off(replica: Replica) -> None:
    replica.ready(ECHO)
    with connected(replica) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n" + b"x: " + b"y" * 70_000)
        assert connection.recv(65536).startswith(b"HTTP/1.1 431 ")


def test_who_waits_for_a_100_gets_it_or_the_refusal(replica: Replica) -> None:
    replica.ready(ECHO, max_body=100)
    head = b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: %d\r\n\r\n"
    with connected(replica) as connection:
        connection.sendall(head % 2)
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"{}")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK")
    with connected(replica) as connection:
        connection.sendall(head % 101)
        answer = connection.recv(1000)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"connection: close" in answer


def test_an_offer_of_another_protocol_is_answered_as_plain_http(replica: Replica) -> None:
    replica.ready(ECHO)
    offer = b"GET /-/ready HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n"
    assert exchange(replica, offer + b"\r\n").endswith(b'{"ready":true}')
    with_body = exchange(replica, offer + b"content-length: 2\r\n\r\n{}")
    assert with_body.startswith(b"HTTP/1.1 400 ")
    assert b"it offers another protocol" in with_body


def test_old_callers_are_answered_and_left(replica: Replica) -> None:
    replica.ready("def predict(model, item):\n    yield 1\n    yield 2")
    answer = exchange(replica, b"POST / HTTP/1.0\r\ncontent-length: 2\r\n\r\n{}")
    assert b"transfer-encoding" not in answer
    assert answer.endswith(b"\r\n\r\n1\n2\n")


def test_trailers_never_become_headers(replica: Replica) -> None:
    replica.ready("import time\ndef predict(model, batch): return batch")
    sent = b"POST / HTTP/1.1\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    sent += b"2\r\n{}\r\n0\r\nmawasu-deadline: x\r\n\r\n"
    assert exchange(replica, sent).startswith(b"HTTP/1.1 200 OK")


def test_a_caller_who_leaves_in_the_middle_costs_nothing(replica: Replica) -> None:
    replica.ready(ECHO)
    for sent in (b"POST", b"POST / HTTP/1.1\r\nx", b"POST / HTTP/1.1\r\ncontent-length: 100\r\n\r\n{", ASK % 1):
        with connected(replica) as connection:
            connection.sendall(sent)
    assert replica.ask({"x": 1}).json == {"x": 1}
    assert "Traceback" not in replica.server_log.read_text()


def test_the_server_is_small(replica: Replica) -> None:
    replica.ready(ECHO)
    replica.ask_all([{"x": "y" * 1000}] * 500)
    assert replica.server is not None
    pages = Path(f"/proc/{replica.server.pid}/statm").read_text().split()[1]
    resident = int(pages) * os.sysconf("SC_PAGE_SIZE")
    assert resident < 80 * 2**20


def test_ready_is_said_within_half_a_second_of_the_model(replica: Replica) -> None:
    gate = replica.directory / "gate"
    code = f"import os, time\ndef load(d):\n    while not os.path.exists({str(gate)!r}): time.sleep(0.002)\n" + ECHO
    replica.start(code)
    eventually(lambda: replica.health() == 503)
    gate.touch()
    began = time.monotonic()
    eventually(replica.is_ready)
    assert time.monotonic() - began < 0.5


def test_head_is_answered_without_a_body(replica: Replica) -> None:
    replica.ready(ECHO)
    answer = request(replica.listen, "HEAD", "/-/ready")
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "14")
