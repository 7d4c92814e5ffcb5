"""Processes that outlive whoever asked for them: the Protocol, and its client to the supervisor."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from mawasu.errors import PlatformError
from mawasu.home import Home
from mawasu.platforms.local.supervisor import take
from mawasu.words import Value

PATIENCE = 10.0  # seconds for an answer that needs no process to end


class ProcessStatus(Value, frozen=True):
    """`state` is `running`, `waiting` (for its next start) or `stopping`; `exits` counts since it was last changed."""

    name: str
    pid: int  # 0 unless there is one
    state: str
    exits: int
    since: float  # seconds since the epoch, of the state
    last_exit: int | None = None  # negative: the signal


class ProcessHost(Protocol):
    """Keeps named processes running: also when they die, also when whoever asked for them does."""

    def start(self, name: str, argv: list[str], env: dict[str, str], log: Path, hide: Sequence[str] = ()) -> None:
        """Nothing happens when it runs like this; when it runs otherwise, it is ended and started like this.

        `hide` names the variables of `env` that are secrets: their values are kept out of the log.
        """

    def stop(self, name: str, drain: float) -> None:
        """SIGTERM, at most `drain` seconds, SIGKILL for all it started. Returns when nothing is left of it."""

    def running(self, name: str) -> bool: ...

    def status(self) -> Sequence[ProcessStatus]: ...


class LocalProcesses:
    """The home's supervisor, which is started when it is not there. Threads may share one."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def start(self, name: str, argv: list[str], env: dict[str, str], log: Path, hide: Sequence[str] = ()) -> None:
        order = {"name": name, "argv": argv, "env": env, "log": str(log.absolute()), "hide": sorted(hide)}
        self._order({"do": "start", **order})

    def stop(self, name: str, drain: float) -> None:
        self._order({"do": "stop", "name": name, "drain": drain}, patience=drain + PATIENCE)

    def running(self, name: str) -> bool:
        return any(process.name == name and process.state == "running" for process in self.status())

    def status(self) -> list[ProcessStatus]:
        return [ProcessStatus(**fields) for fields in self._order({"do": "status"})["processes"]]

    def _order(self, order: dict[str, Any], patience: float = PATIENCE) -> dict[str, Any]:
        try:
            return ask(self._home, order, patience)
        except (FileNotFoundError, ConnectionError):  # not there, or killed meanwhile: orders can be given twice
            ensure_running(self._home)
            return ask(self._home, order, patience)


def ensure_running(home: Home) -> None:
    """Return when the home's supervisor takes orders; it belongs to nobody and stays. Raises PlatformError."""
    give_up = time.monotonic() + PATIENCE
    while not is_there(home):
        if time.monotonic() > give_up:
            raise PlatformError(f"{home.run}: the supervisor does not answer", f"see {home.run / 'supervisor.log'}")
        launch(home)  # returns at once while another one holds the lock: about to listen, or about to leave
        time.sleep(0.005)


def is_there(home: Home) -> bool:
    try:
        ask(home, {"do": "ping"})
    except (FileNotFoundError, ConnectionError):
        return False
    return True


def launch(home: Home) -> None:
    home.create()
    result = subprocess.run(
        [sys.executable, "-P", "-m", "mawasu.platforms.local.supervisor", str(home.path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if result.returncode != 0:
        said = result.stderr.strip().splitlines() or [f"status {result.returncode}"]
        raise PlatformError(f"{home.run}: the supervisor did not start: {said[-1]}")


def shut_down(home: Home, drain: float = 5.0) -> None:
    """End every process of the home and its supervisor. What should run is kept: the next supervisor starts it."""
    with contextlib.suppress(FileNotFoundError, ConnectionError):
        ask(home, {"do": "shutdown", "drain": drain})
    if not home.run.exists():
        return
    give_up = time.monotonic() + drain + PATIENCE
    while (lock := take(home)) is None:  # not by its process number, which may stay a zombie's for ever
        if time.monotonic() > give_up:
            raise PlatformError(f"{home.run}: the supervisor does not leave", f"see {home.run / 'supervisor.log'}")
        time.sleep(0.01)
    os.close(lock)


def ask(home: Home, order: dict[str, Any], patience: float = PATIENCE) -> dict[str, Any]:
    """One order, one answer. Raises PlatformError for a refused order, OSError when no supervisor is there."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(patience)
        connection.connect(str(home.supervisor_socket))
        connection.sendall(json.dumps(order).encode() + b"\n")
        with connection.makefile("rb") as stream:
            try:
                line = stream.readline()
            except TimeoutError:
                raise PlatformError(f"the supervisor did not {order['do']} within {patience:g} seconds") from None
    if not line:
        raise ConnectionResetError("the supervisor left before it answered")
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        raise PlatformError(f"the supervisor refused to {order['do']}: {answer['error']}")
    return answer
