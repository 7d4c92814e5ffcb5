"""A site that is open to everybody, at an edge of its own, and whether its back end saw what it must not see."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import msgspec

from mawasu.gateway.edge import Edge
from tests.gateway.conftest import Stand, standing
from tests.gateway.machinery import Backend, call, document, site

AT = "/flight-delay/production"
POST: dict[str, Any] = {"post": {"security": []}}


class World(msgspec.Struct):
    stand: Stand
    backend: Backend

    @property
    def port(self) -> int:
        return self.stand.port

    @contextlib.contextmanager
    def unseen(self) -> Iterator[None]:
        """Nothing of what happens inside reaches the back end, which answers on."""
        before = len(self.backend.seen)
        yield
        assert call(self.port, "GET", f"{AT}/open?after").status == 200
        assert [seen.line for seen in self.backend.seen[before:]] == ["GET /open?after HTTP/1.1"]


@contextlib.contextmanager
def served(edge: Edge) -> Iterator[World]:
    with standing(edge) as stand:
        backend = stand.backend("flights")
        stand.gateway.switch([site(backend.endpoint(), document(open=[], things=POST))])
        yield World(stand, backend)


def until_closed(connection: socket.socket) -> bytes:
    """Everything up to the end, which the gateway brings about: with its first words in hand this side says no more,
    else it would be given a second to close first."""
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            got += piece
            with contextlib.suppress(OSError):  # it is closed already
                connection.shutdown(socket.SHUT_WR)
    return got
