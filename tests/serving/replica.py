"""A real replica for tests: a server and a worker process, without a supervisor, and callers for it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, NamedTuple, TypeVar

import msgspec

import mawasu.serving.worker
from mawasu.serving.config import Config

T = TypeVar("T")
ROOT = Path(mawasu.serving.worker.__file__).parents[2]
RELEASE = "sha256:" + "ab" * 32


def eventually(get: Callable[[], T | None], timeout: float = 20.0) -> T:
    """The first true answer of `get`; fails after `timeout` seconds."""
    give_up = time.monotonic() + timeout
    while not (answer := get()):
        assert time.monotonic() < give_up, "it never happened"
        time.sleep(0.01)
    return answer


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def request(
    path: Path, method: str, target: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> Answer:
    connection = UnixConnection(path, timeout=20)
    try:
        with contextlib.suppress(BrokenPipeError):  # a refusal may come before all of the body has left
            connection.request(method, target, body, headers or {})
        response = connection.getresponse()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    finally:
        connection.close()


class Replica:
    """The files of one replica in a short directory, and its two processes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.listen = directory / "s"
        self.log = directory / "worker.log"
        self.server_log = directory / "server.log"
        self.server: subprocess.Popen[bytes] | None = None
        self.worker: subprocess.Popen[bytes] | None = None
        self.environ: dict[str, str] = {}  # of the server, besides ours
        self._arguments: list[str] = []
        self._config = Config("", "", "")
        self._files: list[IO[bytes]] = []

    def start(
        self, code: str = "", *, command: str = "", model: Path | None = None, worker: Sequence[str] = (), **config: Any
    ) -> Replica:
        """`worker` is told to the worker's file, `config` to the server, the number of workers to both."""
        (self.directory / "api.py").write_text(code)
        self._arguments = [*(["--command", command] if command else ["--handler", "api:predict"]), *worker]
        if not command and "workers" in config:
            self._arguments += ["--workers", str(config["workers"])]
        if model is not None:
            self._arguments += ["--model", str(model)]
        self._config = Config(str(self.listen), str(self.directory / "w"), RELEASE, command=bool(command), **config)
        self.start_server()
        self.start_worker()
        return self

    def start_server(self) -> None:
        told = msgspec.json.encode(self._config).decode()
        self.server = self._spawn(
            [sys.executable, "-P", "-m", "mawasu.serving", "--config", told], self.server_log, self.environ
        )

    def start_worker(self) -> None:
        file = str(ROOT / "mawasu/serving/worker.py")
        self.worker = self._spawn(
            [sys.executable, file, "--socket", str(self.directory / "w"), *self._arguments], self.log
        )

    def ready(self, code: str = "", **options: Any) -> Replica:
        self.start(code, **options)
        eventually(self.is_ready)
        return self

    def is_ready(self) -> bool:
        return self.health() == 200

    def health(self) -> int | None:
        """The status of `/-/ready`, None while nobody listens."""
        try:
            return request(self.listen, "GET", "/-/ready").status
        except (FileNotFoundError, ConnectionRefusedError):
            return None

    def ask(self, value: Any) -> Answer:
        return self.post(json.dumps(value).encode())

    def post(self, body: bytes) -> Answer:
        return request(self.listen, "POST", "/predict", body)

    def ask_all(self, values: list[Any], callers: int = 32) -> list[Answer]:
        with ThreadPoolExecutor(callers) as pool:
            return list(pool.map(self.ask, values))

    def metric(self, name: str) -> int:
        """The sum over its samples."""
        text = request(self.listen, "GET", "/-/metrics").body.decode()
        names = (f"mawasu_{name} ", f"mawasu_{name}{{")
        return sum(int(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(names))

    def close(self) -> None:
        for process in (self.server, self.worker):
            if process is not None:
                if process.poll() is None:
                    process.send_signal(signal.SIGCONT)
                    process.terminate()
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        for file in self._files:
            file.close()

    def _spawn(
        self, arguments: list[str], log: Path, more: Mapping[str, str] = MappingProxyType({})
    ) -> subprocess.Popen[bytes]:
        file = log.open("ab")
        self._files.append(file)
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **more}
        return subprocess.Popen(arguments, cwd=self.directory, env=environ, stdout=file, stderr=file)
