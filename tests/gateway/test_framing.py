"""Attacks on framing, and floods (37 to 45): refused before the back end sees anything, whoever else calls goes on."""

from __future__ import annotations

import contextlib
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hyperframe.frame import ContinuationFrame

from mawasu.gateway.edge import Edge
from mawasu.gateway.listener import LARGEST_BODY
from tests.gateway.http2 import (
    Http2,
    data_frame,
    exchange,
    fields,
    headers_frame,
    opening,
    reset_frame,
    status_of,
)
from tests.gateway.machinery import call, eventually, raw, read_answer, request
from tests.gateway.world import AT, World, served, until_closed

SMUGGLED = f"GET {AT}/open?smuggled HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with served(Edge()) as world:
        yield world


@pytest.fixture(scope="module")
def impatient() -> Iterator[World]:
    """A gateway that waits half a second for headers, and one for a whole request."""
    with served(Edge(header_time=0.5, request_time=1.0)) as world:
        yield world


def conversation(port: int, data: bytes) -> bytes:
    """Everything that comes back until the gateway closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(data)
        return until_closed(connection)


AMBIGUOUS = {
    "37 both lengths": ["content-length: 3", "transfer-encoding: chunked"],
    "37 both lengths, the other way round": ["transfer-encoding: chunked", "content-length: 3"],
    "38 an unknown coding": ["transfer-encoding: xchunked"],
    "38 a coding after chunked": ["transfer-encoding: chunked, identity"],
    "38 two codings": ["transfer-encoding: gzip, chunked"],
    "38 two headers": ["transfer-encoding: chunked", "transfer-encoding: identity"],
    "38 chunked twice": ["transfer-encoding: chunked", "transfer-encoding: chunked"],
    "38 a space before the colon": ["transfer-encoding : chunked"],
    "38 a vertical tab": ["transfer-encoding: \x0bchunked"],
    "38 a NUL": ["transfer-encoding: chunked\x00"],
    "38 an underscore": ["transfer_encoding: chunked"],
    "38 quoted": ['transfer-encoding: "chunked"'],
    "39 two lengths": ["content-length: 3", "content-length: 4"],
    "39 two lengths in one header": ["content-length: 3, 4"],
    "39 a sign": ["content-length: +3"],
    "39 a negative length": ["content-length: -1"],
    "39 a hexadecimal length": ["content-length: 0x3"],
    "39 a length beyond 64 bits": ["content-length: 18446744073709551619"],
    "39 no number": ["content-length: three"],
    "39 two numbers": ["content-length: 3 3"],
}


UNKNOWN_CODINGS = (
    "38 an unknown coding",
    "38 a coding after chunked",
    "38 two codings",
    "38 two headers",
    "38 chunked twice",
    "38 quoted",
)
"""RFC 9112, 6.1: 501 to a transfer coding that is not understood."""


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_a_body_of_unclear_length_is_refused_and_the_connection_closed(world: World, name: str) -> None:
    head = "\r\n".join([f"POST {AT}/things HTTP/1.1", "host: x", *AMBIGUOUS[name], "", ""])
    with world.unseen():
        got = conversation(world.port, (head + "0\r\n\r\n" + SMUGGLED).encode("latin-1"))
    assert got.startswith(b"HTTP/1.1 501 " if name in UNKNOWN_CODINGS else b"HTTP/1.1 400 ")
    assert got.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in got


def test_a_folded_line_is_unfolded_before_it_counts(world: World) -> None:
    """RFC 9112, 5.2 leaves that or a refusal; the back end sees a length in one plain line either way."""
    head = f"POST {AT}/things HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding:\r\n chunked\r\n\r\n"
    assert raw(world.port, (head + "3\r\nabc\r\n0\r\n\r\n").encode()).status == 200
    assert world.backend.seen[-1].values("content-length") == ["3"]
    assert world.backend.seen[-1].values("transfer-encoding") == []


BAD_CHUNKS = {
    "no number": b"g\r\nabc\r\n0\r\n\r\n",
    "negative": b"-1\r\nabc\r\n0\r\n\r\n",
    "hexadecimal sign": b"0x3\r\nabc\r\n0\r\n\r\n",
    "beyond 64 bits": b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "empty": b"\r\nabc\r\n0\r\n\r\n",
    "longer than it says": b"3\r\nabcdef\r\n0\r\n\r\n",
    "a space before": b" 3\r\nabc\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_40_a_bad_chunk_is_refused_and_the_connection_closed(world: World, name: str) -> None:
    head = f"POST {AT}/things HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    with world.unseen():
        got = conversation(world.port, head + BAD_CHUNKS[name] + SMUGGLED.encode())
    assert got.startswith(b"HTTP/1.1 400 ")
    assert got.count(b"HTTP/1.1 ") == 1


BAD_FIELDS = {
    "41 a space in the path": fields("GET", f"{AT}/open /x"),
    "41 CRLF in the path": fields("GET", f"{AT}/open HTTP/1.1\r\nx: y\r\n\r\n"),
    "41 a line feed in the path": fields("GET", f"{AT}/open\nx: y"),
    "41 a NUL in the path": fields("GET", f"{AT}/open\x00"),
    "an empty path": fields("GET", ""),
    "a path without a slash": fields("GET", AT[1:] + "/open"),
    "an absolute path": fields("GET", f"http://evil{AT}/open"),
    "two paths": [*fields("GET", f"{AT}/open"), (":path", f"{AT}/things")],
    "a space in the method": fields("GET /x", f"{AT}/open"),
    "CRLF in a value": fields("GET", f"{AT}/open", [("x", "a\r\nx-endpoint-api-userinfo: forged")]),
    "a NUL in a value": fields("GET", f"{AT}/open", [("x", "a\x00b")]),
    "CRLF in a name": fields("GET", f"{AT}/open", [("x\r\ny", "a")]),
    "a colon in a name": fields("GET", f"{AT}/open", [("x: y", "a")]),
    "a capital in a name": fields("GET", f"{AT}/open", [("X-Big", "a")]),
    "an underscore in a name": fields("GET", f"{AT}/open", [("x_under", "a")]),
    "a header of connections": fields("GET", f"{AT}/open", [("connection", "close")]),
    "a transfer coding": fields("POST", f"{AT}/things", [("transfer-encoding", "chunked")]),
    "CRLF in the authority": [(n, v + "\r\nx: y" * (n == ":authority")) for n, v in fields("GET", f"{AT}/open")],
    "an unknown pseudo header": [(":x", "y"), *fields("GET", f"{AT}/open")],
    "no method": fields("GET", f"{AT}/open")[1:],
}


def with_body(length: str, body: bytes) -> bytes:
    headers = fields("POST", f"{AT}/things", [("content-length", length)])
    return headers_frame(1, headers, end_stream=False) + data_frame(1, body)


BAD_STREAMS = {name: headers_frame(1, headers) for name, headers in BAD_FIELDS.items()} | {
    f"a body of another length than {length}": with_body(length, b"abc") for length in ("0", "2", "4")
}


@pytest.fixture(scope="module")
def resets(world: World) -> dict[str, int]:
    """What each bad stream is answered, none of them reaching the back end.

    All at once: Envoy closes such a connection after a second.
    """
    with world.unseen(), ThreadPoolExecutor(len(BAD_STREAMS)) as pool:
        frames = pool.map(lambda stream: exchange(world.port, opening() + stream), BAD_STREAMS.values())
        return dict(zip(BAD_STREAMS, map(status_of, frames), strict=True))


@pytest.mark.parametrize("name", BAD_STREAMS)
def test_http2_that_could_become_another_request_is_reset(resets: dict[str, int], name: str) -> None:
    assert resets[name] in (0, 400, 404)


# ------------------------------------------------------------------------------------------------ floods


def p99(port: int, during: Callable[[], bool]) -> float:
    """What the slowest hundredth of calls over one kept connection take, in seconds, while something lasts."""
    data = f"GET {AT}/open HTTP/1.1\r\nhost: x\r\n\r\n".encode()
    took: list[float] = []
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        while len(took) < 200 or during():
            began = time.perf_counter()
            connection.sendall(data)
            assert read_answer(connection).status == 200
            took.append(time.perf_counter() - began)
    return statistics.quantiles(took, n=100)[98]


def reset_rapidly(port: int, count: int) -> int:
    """Open and reset `count` streams, over as many connections as it takes; how many connections were closed on us."""
    headers = fields("GET", f"{AT}/open?storm")
    burst = [headers_frame(stream, headers) + reset_frame(stream) for stream in range(1, 2001, 2)]
    closed = 0
    for _ in range(count // len(burst)):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            try:
                connection.sendall(opening() + b"".join(burst))
            except (BrokenPipeError, ConnectionResetError):
                closed += 1
                continue
            until_closed(connection)  # TimeoutError should the gateway leave it open
            closed += 1
    return closed


def test_42_rapid_resets_are_cut_off_and_other_callers_go_on(world: World) -> None:
    calm = statistics.median(p99(world.port, lambda: False) for _ in range(3))
    stormy = []
    for _ in range(3):
        closed: list[int] = []
        attack = threading.Thread(target=lambda into=closed: into.append(reset_rapidly(world.port, 10_000)))
        attack.start()
        stormy.append(p99(world.port, attack.is_alive))
        attack.join()
        assert closed == [10], "every connection of the attack was ended by the gateway"
    assert statistics.median(stormy) < 20 * calm + 0.1
    arrived = sum("storm" in seen.line for seen in world.backend.seen)
    assert arrived < 0.25 * 30_000, "a connection is ended long before all of it has reached the back end"


def test_headers_that_go_on_for_ever_end_the_connection(world: World) -> None:
    start = headers_frame(1, fields("GET", f"{AT}/open"), end_headers=False)
    more = ContinuationFrame(1, b"\x00\x01x\x7f\x81\x7f" + b"y" * 256).serialize()
    with world.unseen():
        frames = exchange(world.port, opening() + start + more * 2000, until_closed=True)
    assert status_of(frames) in (0, 431)


def test_43_headers_that_never_end_are_given_up(impatient: World) -> None:
    with impatient.unseen(), socket.create_connection(("127.0.0.1", impatient.port), timeout=10) as connection:
        connection.sendall(f"GET {AT}/open HTTP/1.1\r\nhost: x\r\nx-slow: ".encode())
        got = until_closed(connection)
    assert got == b"" or got.startswith(b"HTTP/1.1 408 ")


def test_43_headers_that_trickle_are_given_up_all_the_same(impatient: World) -> None:
    began = time.monotonic()
    with impatient.unseen(), socket.create_connection(("127.0.0.1", impatient.port), timeout=10) as connection:
        connection.sendall(f"GET {AT}/open HTTP/1.1\r\nhost: x\r\n".encode())
        connection.settimeout(0.05)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while True:
                connection.sendall(b"x: y\r\n")
                with contextlib.suppress(TimeoutError):
                    connection.recv(65536)
                    break
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("framing", ["content-length: 100", "transfer-encoding: chunked"])
def test_43_a_body_that_never_ends_is_given_up(impatient: World, framing: str) -> None:
    start = f"POST {AT}/things HTTP/1.1\r\nhost: x\r\n{framing}\r\n\r\n3\r\nabc"
    with impatient.unseen():
        got = conversation(impatient.port, start.encode())
    assert got.startswith(b"HTTP/1.1 408 ")


def test_43_http2_headers_that_never_end_are_given_up(impatient: World) -> None:
    start = headers_frame(1, fields("GET", f"{AT}/open"), end_headers=False)
    with impatient.unseen():
        frames = exchange(impatient.port, opening() + start)
    assert status_of(frames) in (0, 408)


def test_43_an_http2_body_that_never_ends_is_given_up(impatient: World) -> None:
    start = headers_frame(1, fields("POST", f"{AT}/things"), end_stream=False)
    with impatient.unseen():
        frames = exchange(impatient.port, opening() + start + data_frame(1, b"abc", end_stream=False))
    assert status_of(frames) == 408


def test_44_a_body_over_the_cap_is_refused_however_it_comes(world: World) -> None:
    big = b"x" * (LARGEST_BODY + 1)
    chunk = b"%x\r\n%b\r\n" % (len(big), big)
    head = f"POST {AT}/things HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    with world.unseen():
        assert raw(world.port, request("POST", f"{AT}/things", {}, big)).status == 413
        assert raw(world.port, head + chunk + b"0\r\n\r\n").status == 413
        with Http2(world.port) as client:
            assert client.ask("POST", f"{AT}/things", body=big).status == 413


def test_a_body_of_just_the_cap_arrives(world: World) -> None:
    assert raw(world.port, request("POST", f"{AT}/things", {}, b"x" * LARGEST_BODY)).status == 200
    assert world.backend.seen[-1].values("content-length") == [str(LARGEST_BODY)]


@pytest.mark.parametrize(
    "headers",
    [{"x-long": "x" * 70_000}, {f"x-{number}": "y" for number in range(150)}],
    ids=["one too long", "too many"],
)
def test_45_a_header_bomb_is_refused(world: World, headers: dict[str, str]) -> None:
    with world.unseen():
        assert call(world.port, "GET", f"{AT}/open", headers).status == 431
        with Http2(world.port) as client:
            assert client.ask("GET", f"{AT}/open", list(headers.items())).status in (0, 431)


def test_45_a_bomb_of_compressed_headers_ends_the_connection(world: World) -> None:
    """One long field in HPACK's table, named again and again: a few bytes each (RFC 7541, 7.3)."""
    long = fields("GET", f"{AT}/open", [("x", "y" * 4000)])
    frame = headers_frame(1, long, end_headers=False)
    again = ContinuationFrame(1, b"\xbe" * 16_000, flags=["END_HEADERS"]).serialize()
    with world.unseen():
        frames = exchange(world.port, opening() + frame + again)
    assert status_of(frames) in (0, 431)


def test_half_a_request_is_not_passed_on(world: World) -> None:
    with world.unseen(), socket.create_connection(("127.0.0.1", world.port), timeout=10) as connection:
        connection.sendall(f"POST {AT}/things HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc".encode())
        connection.shutdown(socket.SHUT_WR)
        until_closed(connection)
    eventually(lambda: world.stand.gateway._table.envoy.active_requests() == 0, "nothing is left of it")
