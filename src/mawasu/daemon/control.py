"""The daemon's socket: a request is one JSON line, its answers are JSON lines until the connection closes."""

from __future__ import annotations

import contextlib
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mawasu.errors import MawasuError
from mawasu.ports import Log

Answer = Callable[[dict[str, Any]], Iterator[dict[str, Any]]]


class Control:
    """Serves one socket, readable and writable by its owner alone, in a directory only the owner enters."""

    def __init__(self, path: Path, answer: Answer, log: Log) -> None:
        self._path, self._answer, self._log = path, answer, log
        self._server: socketserver.ThreadingUnixStreamServer | None = None

    def start(self) -> None:
        answer, log = self._answer, self._log

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                # The client may leave at any time (Ctrl-C in `git push`): the work goes on without it.
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    for line in _answers(answer, self.rfile.readline(1 << 20), log):
                        self.wfile.write(line)

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True
            request_queue_size = 128
            block_on_close = False

        self._path.unlink(missing_ok=True)
        self._server = Server(str(self._path), Handler)
        self._path.chmod(0o600)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="control", daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._path.unlink(missing_ok=True)


def _answers(answer: Answer, line: bytes, log: Log) -> Iterator[bytes]:
    try:
        request = json.loads(line)
        if not isinstance(request, dict):
            raise TypeError("a request is a JSON object")
        for value in answer(request):
            yield json.dumps(value).encode() + b"\n"
    except MawasuError as error:
        log.write(str(error))
        yield json.dumps({"say": str(error), "error": str(error)}).encode() + b"\n"
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        log.write(f"a request was not understood: {error!r}")
        yield json.dumps({"error": f"not understood: {error!r}"}).encode() + b"\n"
