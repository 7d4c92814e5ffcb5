"""The daemon's end of the hook's wire, spoken by a thread, so that tests say what the daemon answers."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

Answer = Callable[[socket.socket], None]


def eventually(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not within {seconds:g} s: {what}"
        time.sleep(0.01)


def say(connection: socket.socket, *answers: dict[str, Any]) -> None:
    for answer in answers:
        connection.sendall(json.dumps(answer).encode() + b"\n")


class Peer:
    """Listens on `path`; `requests` are what hooks sent, and `answer` replies to each on its connection."""

    def __init__(self, path: Path, answer: Answer) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.requests: list[dict[str, Any]] = []
        self.left = threading.Event()
        self._answer = answer
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Peer:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                self.requests.append(json.loads(lines.readline()))
                try:
                    self._answer(connection)
                    lines.read()
                except OSError:
                    pass
                self.left.set()
