"""One process that should run: started, watched, started again, ended with all its offspring."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from mawasu.platforms.local.capped import CappedLog
from mawasu.platforms.local.lineage import MARK, die_with_parent, end_group, end_marked
from mawasu.platforms.local.redact import Redacted

FIRST_DELAY = 0.1  # seconds until the first restart; doubles
LAST_DELAY = 10.0
HEALTHY = 60.0  # seconds after which a process counts as good again

RUNNING, WAITING, STOPPING = "running", "waiting", "stopping"


class Command(NamedTuple):
    """What to run."""

    argv: list[str]
    env: dict[str, str]
    log: str  # path
    hide: list[str]  # names of variables whose values must not be in the log


def _redacted(command: Command) -> Redacted:
    return Redacted(command.env[name] for name in command.hide if name in command.env)


class Child:
    """Moves between RUNNING, WAITING (for its next start) and STOPPING; `gone` once it stopped for good."""

    def __init__(self, name: str, mark: str, command: Command, selector: selectors.BaseSelector) -> None:
        self.name = name
        self.command = command
        self.replacement: Command | None = None  # what to run once the present one has ended
        self.state = WAITING
        self.gone = False
        self.pid = 0
        self.exits = 0
        self.last_exit: int | None = None
        self.since = time.time()
        self.on_gone: list[Callable[[], None]] = []
        self._mark = mark
        self._selector = selector
        self._process: subprocess.Popen[bytes] | None = None
        self._log = CappedLog(Path(command.log))
        self._redacted = _redacted(command)
        self._delay = FIRST_DELAY
        self._started = 0.0  # monotonic
        self._due = 0.0  # monotonic: the next start (WAITING) or the kill (STOPPING)

    def due(self) -> float | None:
        """When `tick` has something to do, on the monotonic clock."""
        return self._due if self.state != RUNNING else None

    def tick(self, now: float) -> None:
        if self.state == WAITING and now >= self._due:
            self._start(now)
        elif self.state == STOPPING and now >= self._due:
            self._due = now + LAST_DELAY  # once more, should the first not be enough
            self._end_all(signal.SIGKILL)

    def stop(self, drain: float) -> None:
        """Ask it to end; after `drain` seconds it is killed. Asked again, the shorter time counts."""
        due = time.monotonic() + drain
        if self.state == STOPPING:
            self._due = min(self._due, due)
        elif self.state == WAITING:
            self._finish()
        else:
            self._move(STOPPING)
            self._due = due
            end_group(self.pid, signal.SIGTERM)

    def ended(self, status: int) -> None:
        """Its first process was reaped. Whatever else it started ends with it."""
        assert self._process is not None
        self._process.returncode = self.last_exit = status
        self._process = None
        self._end_all(signal.SIGKILL)
        self.pid = 0
        self.exits += 1
        if self.state == STOPPING:
            self._finish()
            return
        now = time.monotonic()
        if now - self._started >= HEALTHY:
            self._delay = FIRST_DELAY
        self._later(now, f"ended with status {status}")

    def status(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "pid": self.pid,
            "state": self.state,
            "exits": self.exits,
            "since": self.since,
            "last_exit": self.last_exit,
        }

    # ------------------------------------------------------------------------------------ inside

    def _start(self, now: float) -> None:
        reading, writing = os.pipe()
        os.set_blocking(reading, False)  # the other end blocks: a process waits when it prints faster than we write
        try:
            self._process = subprocess.Popen(
                self.command.argv,
                env={**self.command.env, MARK: self._mark},
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        except OSError as error:
            os.close(reading)
            self.exits += 1
            self._log.write(f"mawasu: cannot start {self.command.argv[0]}: {error.strerror}\n".encode())
            self._later(now, "could not be started")
            return
        finally:
            os.close(writing)
        self._selector.register(reading, selectors.EVENT_READ, lambda: self._read(reading))
        self.pid = self._process.pid
        self._started = now
        self._move(RUNNING)

    def _later(self, now: float, reason: str) -> None:
        self._log.write(f"mawasu: {self.name} {reason}; again in {self._delay:g} s\n".encode())
        self._due = now + self._delay
        self._delay = min(2 * self._delay, LAST_DELAY)
        self._move(WAITING)

    def _move(self, state: str) -> None:
        if state != self.state:
            self.state = state
            self.since = time.time()

    def _read(self, pipe: int) -> None:
        """Carry what was printed to the log, until the last process that holds the pipe has gone."""
        with contextlib.suppress(BlockingIOError):
            data = os.read(pipe, 65536)
            if data:
                self._log.write(self._redacted.take(data))
                return
            self._log.write(self._redacted.finish())
            self._selector.unregister(pipe)
            os.close(pipe)
            if self.gone:
                self._log.close()

    def _end_all(self, number: int) -> None:
        if self.pid:
            end_group(self.pid, number)
        end_marked(self._mark)

    def _finish(self) -> None:
        if self.replacement is not None:
            self._log.close()
            self.command, self.replacement = self.replacement, None
            self._log = CappedLog(Path(self.command.log))
            self._redacted = _redacted(self.command)
            self.exits, self.last_exit, self._delay, self._due = 0, None, FIRST_DELAY, 0.0
            self._move(WAITING)
        else:
            self.gone = True
        for tell in self.on_gone:
            tell()
        self.on_gone.clear()
