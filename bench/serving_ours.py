"""mawasu's servers as `mawasu up` starts them, and what bounds them: an echo on the same server, Envoy before either."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

import mawasu.serving.worker
from bench.serving_world import MissingError, Model, Running, started
from bench.world import free_port
from mawasu.serving.config import Config

NAMES = ("mawasu",)


@contextlib.contextmanager
def serving(name: str, top: Path, model: Model) -> Iterator[Running]:
    port = free_port()
    socket = top / f"{port}.w"
    config = Config("", str(socket), "sha256:" + "ab" * 32)
    told = [sys.executable, "-P", "-m", "mawasu.serving", "--config", msgspec.json.encode(config).decode()]
    worker = [str(model.python), str(mawasu.serving.worker.__file__), "--socket", str(socket)]
    worker += ["--handler", "model:predict", "--model", str(model.directory)]
    with started(worker, free_port(), top, {}) as beside, started(told, port, top, {"PORT": str(port)}) as server:
        server.beside.append(beside)
        yield server
