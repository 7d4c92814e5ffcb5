"""mawasu's server and worker as `mawasu up` starts them, and what bounds them: an echo on the same, and Envoy."""

from __future__ import annotations

import contextlib
import http.client
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

import mawasu.serving.worker
from bench.cached import envoy, listens, until
from bench.serving_world import ROOT, Model, Running, started
from bench.world import free_port
from mawasu.serving.config import Config


@contextlib.contextmanager
def mawasu_alone(top: Path, model: Model) -> Iterator[Running]:
    port = free_port()
    socket = top / f"{port}.w"
    config = Config("", str(socket), "sha256:" + "ab" * 32)
    told = [sys.executable, "-P", "-m", "mawasu.serving", "--config", msgspec.json.encode(config).decode()]
    worker = [str(model.python), str(mawasu.serving.worker.__file__), "--socket", str(socket)]
    worker += ["--handler", "model:predict", "--model", str(model.directory)]
    with started(worker, free_port(), top, {}) as beside, started(told, port, top, {"PORT": str(port)}) as server:
        server.beside.append(beside)
        until(lambda: b"is loaded" in beside.log.read_bytes(), 60)
        loaded = time.monotonic()
        until(lambda: _ready(port))
        server.ready = time.monotonic() - loaded
        yield server


@contextlib.contextmanager
def echo(top: Path) -> Iterator[Running]:
    port = free_port()
    argv = [sys.executable, "-m", "bench.cached", "echo", str(port)]
    paths = f"{ROOT}:{ROOT / 'src'}"
    with started(argv, port, top, {"PYTHONPATH": paths}) as server:
        until(lambda: listens(port))
        yield server


def behind_envoy(stack: contextlib.ExitStack, top: Path, server: Running) -> int:
    """The port of an Envoy with one worker that passes everything on to a server."""
    return envoy(stack, top, server.port)


def _ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/-/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
