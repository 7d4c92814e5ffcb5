"""A real Redis of one's own, on a Unix socket: it can be stalled, woken and ended, and keeps nothing on disk."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Self


class RedisServer:
    """Debian's `redis-server`, or Valkey's. `directory`: short, because the path of a socket must be."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.path = directory / "r"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    def start(self) -> None:
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        assert program, "tools/setup.sh installs redis-server"
        told = ["--port", "0", "--unixsocket", str(self.path), "--save", "", "--appendonly", "no", *self._options]
        self._process = subprocess.Popen([program, *told], cwd=self.path.parent, stdout=subprocess.DEVNULL)
        give_up = time.monotonic() + 20
        while not self.path.exists():
            assert time.monotonic() < give_up
            time.sleep(0.01)

    def say(self, *words: str) -> bytes:
        """One command, and the first bytes of its answer."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(5)
            line.connect(str(self.path))
            said = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
            line.sendall(f"*{len(words)}\r\n{said}".encode())
            return line.recv(65536)

    def held(self) -> list[str]:
        return [line for line in self.say("KEYS", "*").decode().split("\r\n") if line[:1] not in ("", "*", "$")]

    def stall(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()  # also one that is stalled
            self._process.wait()
            self._process = None
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
