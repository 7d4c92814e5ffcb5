"""Answers stream as they are written, trailers do no harm, over HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import h2.events
import pytest

from mawasu.gateway.edge import Edge
from tests.gateway.http2 import Http2
from tests.gateway.machinery import raw, request
from tests.gateway.world import AT, World, served, until_closed

CHUNK = b"6\r\ndata:%d\r\n"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with served(Edge()) as world:
        yield world


@pytest.fixture
def streaming(world: World) -> Iterator[threading.Event]:
    """The back end answers in two chunks, the second only once this is set, and then a trailer."""
    go = threading.Event()

    def answer(write: Callable[[bytes], object]) -> None:
        write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n" + CHUNK % 1)
        assert go.wait(10)
        write(CHUNK % 2 + b"0\r\nx-trailer: end\r\n\r\n")

    world.backend.answer = answer
    yield go
    go.set()
    world.backend.answer = None


def test_an_answer_streams_as_it_is_written(world: World, streaming: threading.Event) -> None:
    with socket.create_connection(("127.0.0.1", world.port), timeout=10) as connection:
        connection.sendall(request("POST", f"{AT}/things", {}, b"abc"))
        got = b""
        while b"data:1" not in got:
            got += connection.recv(65536)
        assert b"data:2" not in got
        streaming.set()
        got += until_closed(connection)
    assert b"data:2" in got
    assert got.endswith(b"0\r\n\r\n")


def test_an_answer_streams_over_http2(world: World, streaming: threading.Event) -> None:
    said = b""
    with Http2(world.port) as client:
        for event in client.events("POST", f"{AT}/things", body=b"abc"):
            if isinstance(event, h2.events.DataReceived):
                said += event.data or b""
                streaming.set()
            ended = event
    assert said == b"data:1data:2"
    assert isinstance(ended, h2.events.StreamEnded)


def test_trailers_of_a_request_do_no_harm_and_say_nothing_to_the_back_end(world: World) -> None:
    forged = ("x-endpoint-api-userinfo", "forged")
    head = f"POST {AT}/things HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    chunked = f"{head}3\r\nabc\r\n0\r\n{': '.join(forged)}\r\n\r\n"
    assert raw(world.port, chunked.encode()).status == 200
    one = world.backend.seen[-1]
    with Http2(world.port) as client:
        assert client.ask("POST", f"{AT}/things", body=b"abc", trailers=[forged]).status == 200
    two = world.backend.seen[-1]
    for seen in (one, two):
        assert seen.values("content-length") == ["3"]
        assert seen.values(forged[0]) == []


def test_many_requests_share_one_http2_connection(world: World) -> None:
    with Http2(world.port) as client:
        assert [client.ask("GET", f"{AT}/open").body for _ in range(50)] == ["flights"] * 50
