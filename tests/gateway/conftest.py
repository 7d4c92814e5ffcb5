from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from mawasu.gateway.certificate import Files
from mawasu.gateway.edge import Edge
from mawasu.home import Home
from mawasu.platforms.local.gateway import LocalGateway
from mawasu.platforms.local.keys import KeyRing
from tests.gateway.machinery import Backend, Processes, free_port


class Stand:
    """A home with a running gateway, a key ring and as many back ends as a test asks for."""

    def __init__(self, directory: Path, edge: Edge | None = None, certificate: Files | None = None) -> None:
        self.directory = directory
        self.home = Home(directory / "home")
        self.processes = Processes()
        self.port = free_port()
        self.edge = msgspec.structs.replace(edge or Edge(), port=self.port)
        self.gateway = LocalGateway(self.home, self.edge, self.processes, certificate, threads=1)
        self.keys = KeyRing(self.home)
        self.backends: list[Backend] = []

    def backend(self, says: str) -> Backend:
        backend = Backend(self.directory / f"{says}.sock", says)
        self.backends.append(backend)
        return backend

    def close(self) -> None:
        self.gateway.stop(drain=0)
        for backend in self.backends:
            backend.close()


@contextlib.contextmanager
def standing(edge: Edge | None = None, certificate: Files | None = None) -> Iterator[Stand]:
    """A gateway that runs, at an edge of its own."""
    with tempfile.TemporaryDirectory(prefix="gw") as directory:
        made = Stand(Path(directory), edge, certificate)
        try:
            made.gateway.start()
            yield made
        finally:
            made.close()


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    """One gateway for a whole module: its tests share it and leave it serving."""
    with standing() as made:
        yield made
