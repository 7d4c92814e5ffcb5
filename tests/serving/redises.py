"""A real Redis of one's own on a Unix socket or a port of loopback, and things that only look like one."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.serving.replica import eventually


class RedisServer:
    """Debian's `redis-server` (or Valkey's), which keeps nothing on disk."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.path = directory / "r"
        self._directory = directory
        self._options = options
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def __enter__(self) -> RedisServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    def start(self) -> None:
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        assert program, "tools/setup.sh installs redis-server"
        port = [] if "--port" in self._options else ["--port", "0"]
        argv = [program, *port, "--unixsocket", str(self.path), "--save", "", "--appendonly", "no", *self._options]
        log = (self._directory / "redis.log").open("ab")
        self.process = subprocess.Popen(argv, cwd=self._directory, stdout=log, stderr=log)
        log.close()
        eventually(self.path.exists)

    def say(self, *words: bytes) -> bytes:
        """One command and the first bytes of its answer."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(5)
            line.connect(str(self.path))
            line.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))
            return line.recv(65536)

    def keys(self) -> list[bytes]:
        return [line for line in self.say(b"KEYS", b"mawasu:*").split(b"\r\n") if line.startswith(b"mawasu:")]

    def stall(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)

    def wake(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGCONT)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.wake()
            self.process.kill()
            self.process.wait()
        self.path.unlink(missing_ok=True)


@contextlib.contextmanager
def pretender(path: Path, answer: bytes) -> Iterator[list[bytes]]:
    """Listens where a Redis would, and says `answer` to whatever it hears; gives what it heard."""
    heard: list[bytes] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            with line, contextlib.suppress(OSError):
                line.settimeout(5)
                heard.append(line.recv(65536))
                line.sendall(answer)
                line.recv(65536)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield heard
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        path.unlink()
        thread.join(10)
