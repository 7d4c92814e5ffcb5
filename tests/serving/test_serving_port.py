"""The server as Cloud Run starts it: on the port that $PORT names, in front of a socket or of the user's own server."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import pytest

from mawasu.serving.config import Config
from tests.serving.replica import RELEASE, ROOT, Replica, eventually
from tests.serving.test_serving_command import PYTHON

SLOW = """
import time
def predict(model, batch):
    time.sleep(0.3)
    return [{"answer": item} for item in batch]
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def ready(port: int, status: int = 200) -> bool:
    try:
        return get(port, "GET", "/-/ready")[0] == status
    except ConnectionError:
        return False


@contextmanager
def server(config: Config, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    told = msgspec.json.encode(config).decode()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "mawasu.serving", "--config", told],
        env={"PATH": os.defpath, "PYTHONPATH": str(ROOT), **environ},
        stderr=subprocess.PIPE,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def slow(replica: Replica) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A server on a port in front of a handler that takes its time."""
    (replica.directory / "api.py").write_text(SLOW)
    replica._arguments = ["--handler", "api:predict"]
    replica.start_worker()
    port = free_port()
    with server(Config("", str(replica.directory / "w"), RELEASE), PORT=str(port)) as process:
        eventually(lambda: ready(port))
        yield process, port


def test_a_handler_answers_on_the_port(slow: tuple[subprocess.Popen[bytes], int]) -> None:
    assert get(slow[1], "POST", "/predict", b'{"x": 1}') == (200, b'{"answer":{"x":1}}')


def test_told_to_end_it_answers_what_it_has_and_leaves_within_ten_seconds(
    slow: tuple[subprocess.Popen[bytes], int],
) -> None:
    process, port = slow
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", "/predict", b'{"x": 1}')
    eventually(lambda: b"mawasu_batches_total 1" in get(port, "GET", "/-/metrics")[1])
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    response = connection.getresponse()
    assert (response.status, response.getheader("connection")) == (200, "close")
    response.read()
    connection.close()
    assert process.wait(10) == 0
    assert time.monotonic() - began < 10


def test_a_server_of_the_users_is_reached_by_its_address(tmp_path: Path) -> None:
    (tmp_path / "site.py").write_text(PYTHON)
    theirs, port = free_port(), free_port()
    config = Config("", f"http://127.0.0.1:{theirs}", RELEASE, command=True)
    with ExitStack() as stack:
        stack.enter_context(server(config, PORT=str(port)))
        eventually(lambda: ready(port, 503))
        environ = {"PATH": os.environ["PATH"], "PORT": str(theirs)}
        site = stack.enter_context(subprocess.Popen(["python3", "-S", "site.py"], cwd=tmp_path, env=environ))
        stack.callback(site.kill)
        (tmp_path / "healthy").touch()
        eventually(lambda: ready(port))
        assert get(port, "POST", "/a%2Fb?x=1", b"abc") == (201, b"cba")
        assert b"/a%2Fb?x=1" in get(port, "GET", "/a%2Fb?x=1")[1]


@pytest.mark.parametrize("environ", [{}, {"PORT": "http"}, {"PORT": "70000"}])
def test_without_a_socket_and_a_port_it_says_what_is_missing(environ: dict[str, str]) -> None:
    with server(Config("", "/nowhere", RELEASE), **environ) as process:
        _, said = process.communicate(timeout=20)
        assert process.returncode == 2
        assert b"without `listen` the port comes from $PORT" in said
