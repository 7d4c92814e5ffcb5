"""The supervisor: keeps a home's processes running while the daemon lives, restarts or is gone.

    python -m mawasu.platforms.local.supervisor HOME

returns as soon as a supervisor takes orders. One per home; it speaks JSON lines on `home.supervisor_socket`
(`process.py` is the client). What should run stands in `home.run/processes/<name>.json` and is started again by the
next supervisor, should this one be killed; its children die with it. Small on purpose: standard library only.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import selectors
import signal
import socket
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from mawasu.home import Home
from mawasu.platforms.local.child import STOPPING, Child, Command
from mawasu.platforms.local.lineage import adopt_orphans, end_marked

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
LONGEST = 4 * 2**20  # bytes of one order: an environment may be long
CHANGE = 5.0  # seconds a process has to end when it is to run differently


class Supervisor:
    """One thread, one selector: orders, children's output, and signals all arrive there."""

    def __init__(self, home: Home, listener: socket.socket) -> None:
        self._specs = home.run / "processes"
        self._mark = f"{home.run}:"
        self._children: dict[str, Child] = {}
        self._selector = selectors.DefaultSelector()
        self._leaving = False
        self._listener = listener
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        self._listen_to_signals()

    def run(self) -> None:
        adopt_orphans()
        end_marked(self._mark)  # what a killed supervisor's children left behind
        self._specs.mkdir(mode=0o700, exist_ok=True)
        for path in sorted(self._specs.glob("*.json")):
            try:
                command = Command(**json.loads(path.read_bytes()))
            except (ValueError, TypeError) as error:  # cut short by a power loss; its owner will ask for it again
                print(f"{path}: {error}", file=sys.stderr, flush=True)
                path.unlink()
                continue
            self._add(path.stem, command)
        while self._children or not self._leaving:
            now = time.monotonic()
            for child in list(self._children.values()):
                child.tick(now)
                if child.gone:
                    del self._children[child.name]
            due = [at for child in self._children.values() if (at := child.due()) is not None]
            wait = max(0.0, min(due) - time.monotonic()) if due else None
            if self._leaving and not self._children:
                return
            for key, _ in self._selector.select(wait):
                key.data()

    # ------------------------------------------------------------------------------------ signals

    def _listen_to_signals(self) -> None:
        reading, writing = os.pipe()
        for end in (reading, writing):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        self._selector.register(reading, selectors.EVENT_READ, lambda: self._signalled(reading))

    def _signalled(self, pipe: int) -> None:
        numbers = os.read(pipe, 4096)
        self._reap()
        if signal.SIGTERM in numbers or signal.SIGINT in numbers:
            self._leave(CHANGE)

    def _reap(self) -> None:
        by_pid = {child.pid: child for child in self._children.values() if child.pid}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in by_pid:  # others are orphans that were adopted
                by_pid[pid].ended(os.waitstatus_to_exitcode(status))

    # ------------------------------------------------------------------------------------ orders

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            self._selector.register(connection, selectors.EVENT_READ, partial(self._read, connection, bytearray()))

    def _read(self, connection: socket.socket, buffer: bytearray) -> None:
        try:
            data = connection.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        buffer += data
        if not data or len(buffer) > LONGEST:
            self._hang_up(connection)
            return
        while b"\n" in buffer:
            line, _, rest = bytes(buffer).partition(b"\n")
            buffer[:] = rest
            self._obey(connection, line)

    def _obey(self, connection: socket.socket, line: bytes) -> None:
        try:
            order = json.loads(line)
            method = getattr(self, f"order_{order.pop('do')}")
            answer = method(partial(self._reply, connection), **order)
        except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        if answer is not None:
            self._reply(connection, answer)

    def _reply(self, connection: socket.socket, answer: dict[str, Any]) -> None:
        try:
            connection.sendall(json.dumps(answer).encode() + b"\n")
        except OSError:  # who asked has left, or does not read
            self._hang_up(connection)

    def _hang_up(self, connection: socket.socket) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(connection)
        connection.close()

    def order_ping(self, _reply: Any) -> dict[str, Any]:
        return {"pid": os.getpid()}

    def order_start(
        self, _reply: Any, name: str, argv: list[str], env: dict[str, str], log: str, hide: list[str]
    ) -> dict[str, Any]:
        """Answers once the process exists (or its first attempt failed: it is tried again)."""
        command = Command(argv, env, log, hide)
        child = self._children.get(name)
        if child is None or child.gone:
            self._save(name, command)
            self._add(name, command)
        elif (child.replacement or child.command) != command or child.state == STOPPING:
            self._save(name, command)
            child.replacement = command
            child.stop(CHANGE)
        return {}

    def order_stop(self, reply: Any, name: str, drain: float) -> dict[str, Any] | None:
        """Answers once nothing of it is left."""
        self._path(name).unlink(missing_ok=True)
        child = self._children.get(name)
        if child is None or child.gone:
            return {}
        child.replacement = None
        child.on_gone.append(lambda: reply({}))
        child.stop(drain)
        return None

    def order_status(self, _reply: Any) -> dict[str, Any]:
        return {"processes": [child.status() for child in self._children.values() if not child.gone]}

    def order_shutdown(self, _reply: Any, drain: float) -> dict[str, Any]:
        """End every process and leave; what should run stays written, and the next supervisor starts it."""
        self._leave(drain)
        return {}

    # ------------------------------------------------------------------------------------ inside

    def _leave(self, drain: float) -> None:
        if not self._leaving:  # who comes from now on finds nobody, and waits for the next supervisor
            self._leaving = True
            self._selector.unregister(self._listener)
            self._listener.close()
        for child in self._children.values():
            child.replacement = None
            child.stop(drain)

    def _add(self, name: str, command: Command) -> None:
        child = Child(name, self._mark + name, command, self._selector)
        self._children[name] = child
        child.tick(time.monotonic())

    def _path(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name for a process")
        return self._specs / f"{name}.json"

    def _save(self, name: str, command: Command) -> None:
        """Private, because environments may hold what others should not see; whole or not at all."""
        path = self._path(name)
        scratch = path.with_suffix(".new")
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, json.dumps(command._asdict()).encode())
        finally:
            os.close(descriptor)
        scratch.replace(path)


# ------------------------------------------------------------------------------------------------ becoming a daemon


def take(home: Home) -> int | None:
    """The lock that makes it one supervisor per home; None when another holds it."""
    lock = os.open(home.run / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def detach(log: Path) -> None:
    """Leave terminal, session and parent behind (the double fork of daemon(7)). Only the daemon returns."""
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDWR)
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for target, source in ((0, nothing), (1, written), (2, written)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(written)


def main(arguments: list[str]) -> int:
    os.umask(0o077)
    home = Home(arguments[0]).create()
    lock = take(home)
    if lock is None:
        return 0  # one is there already
    home.supervisor_socket.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(home.supervisor_socket))
    home.supervisor_socket.chmod(0o600)
    listener.listen(64)
    detach(home.run / "supervisor.log")
    Supervisor(home, listener).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
