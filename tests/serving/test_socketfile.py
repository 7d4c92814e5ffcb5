"""A worker cannot lead its server to another socket by a link."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from mawasu.serving.socketfile import no_link


def listening(path: Path) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    return server


def test_a_socket_itself_is_connected_to(tmp_path: Path) -> None:
    with listening(tmp_path / "s"), socket.socket(socket.AF_UNIX) as client, no_link(str(tmp_path / "s")) as path:
        client.connect(path)


def test_a_link_to_a_socket_is_not_followed(tmp_path: Path) -> None:
    with listening(tmp_path / "ours"):
        (tmp_path / "s").symlink_to(tmp_path / "ours")
        with pytest.raises(OSError, match="no socket"), no_link(str(tmp_path / "s")):
            pass


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir])
def test_what_is_no_socket_is_refused(tmp_path: Path, make: object) -> None:
    assert callable(make)
    make(tmp_path / "s")
    with pytest.raises(OSError, match="no socket"), no_link(str(tmp_path / "s")):
        pass


def test_a_socket_that_is_not_there_yet_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), no_link(str(tmp_path / "s")):
        pass
