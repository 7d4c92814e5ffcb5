"""Run one command to its end: within limits, until its time is over or it is given up, with nothing left behind."""

from __future__ import annotations

import enum
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from mawasu.errors import PlatformError
from mawasu.platforms.local import linux
from mawasu.platforms.local.limits import Exceeded, Group
from mawasu.ports import Cancel

_LOOK = 0.05  # seconds between looks at limits, clock and cancel
_PIPE = 2**20  # bytes: the most an ordinary user may ask for, so that prints rarely wait for us (fcntl(2))


class End(enum.Enum):
    """Why a command is over."""

    EXIT = "it ended by itself"
    TIMEOUT = "its time was over"
    CANCEL = "it was given up"
    MEMORY = "it took more memory than it may"
    PROCESSES = "it made more processes than it may"


class Ended(msgspec.Struct, frozen=True):
    """`status` as a shell tells it: 128 + n for signal n. Times in seconds, `peak_memory` in bytes (0: unknown)."""

    end: End
    status: int
    seconds: float
    cpu_seconds: float
    peak_memory: int


def run(
    argv: Sequence[str],
    *,
    environ: Mapping[str, str],
    group: Group,
    timeout: float | None,
    cancel: Cancel,
    output: Callable[[memoryview], None] | None,
    own_session: bool = True,
) -> Ended:
    """Run `argv`, giving what it prints (both streams, in order) to `output`; None leaves the caller's terminal to it.

    When this returns or raises, no process of `group` is left. Raises PlatformError when it cannot be started.
    """
    began = time.monotonic()
    with group:
        try:
            process = subprocess.Popen(
                group.join(argv),
                env={**environ, **group.environ},
                cwd="/",
                stdin=None if output is None else subprocess.DEVNULL,
                stdout=None if output is None else subprocess.PIPE,
                stderr=None if output is None else subprocess.STDOUT,
                bufsize=0,
                start_new_session=own_session,
            )
        except OSError as error:
            raise PlatformError(f"cannot start {argv[0]}: {error.strerror}") from error
        with _Watch(process, output) as watch:
            try:
                group.started(process.pid)
                end = _wait(watch, group, None if timeout is None else began + timeout, cancel)
            finally:
                group.kill()
                watch.finish()
        return Ended(end, watch.status, time.monotonic() - began, max(watch.cpu_seconds, group.cpu_seconds), group.peak)


def _wait(watch: _Watch, group: Group, deadline: float | None, cancel: Cancel) -> End:
    look = time.monotonic() + _LOOK
    while True:
        watch.step(_LOOK)
        over = watch.reap(os.WNOHANG)
        now = time.monotonic()
        if not over and now < look:
            continue
        look = now + _LOOK
        match group.exceeded():
            case Exceeded.MEMORY:
                return End.MEMORY
            case Exceeded.PROCESSES:
                return End.PROCESSES
        if over:
            return End.EXIT
        if cancel.is_set():
            return End.CANCEL
        if deadline is not None and now >= deadline:
            return End.TIMEOUT


class _Watch:
    """One started process: what it prints, and its end."""

    def __init__(self, process: subprocess.Popen[bytes], output: Callable[[memoryview], None] | None) -> None:
        self._process = process
        self._output = output
        self._buffer = memoryview(bytearray(_PIPE))
        self._selector = selectors.DefaultSelector()
        self._exit = linux.exit_of(process.pid)
        if self._exit is not None:
            self._selector.register(self._exit, selectors.EVENT_READ)
        if process.stdout is not None:
            linux.widen(process.stdout.fileno(), _PIPE)
            self._selector.register(process.stdout, selectors.EVENT_READ)
        self._printing = process.stdout is not None
        self.status = -1
        self.cpu_seconds = 0.0

    def __enter__(self) -> _Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        if self._exit is not None:
            os.close(self._exit)

    def step(self, patience: float) -> bool:
        """Wait for output or the end, and take one piece of output. False: nothing happened."""
        if self._exit is None:
            patience = min(patience, 0.01)
        if not self._selector.get_map():
            time.sleep(patience)
            return False
        ready = self._selector.select(patience)
        for key, _ in ready:
            if key.fileobj is self._process.stdout:
                self._read()
        return bool(ready)

    def _read(self) -> None:
        assert self._process.stdout is not None
        assert self._output is not None
        count = os.readv(self._process.stdout.fileno(), [self._buffer])
        if count:
            self._output(self._buffer[:count])
        else:
            self._selector.unregister(self._process.stdout)
            self._printing = False

    def reap(self, how: int) -> bool:
        """Whether the process is over; its status and times are known from then on."""
        if self._process.returncode is None:
            pid, status, usage = os.wait4(self._process.pid, how)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                self.status = code if code >= 0 else 128 - code
                self._process.returncode = code
                self.cpu_seconds = usage.ru_utime + usage.ru_stime
                if self._exit is not None:
                    self._selector.unregister(self._exit)
        return self._process.returncode is not None

    def finish(self, patience: float = 1.0) -> None:
        """After the kill: reap, and take what is still in the pipe. Whoever escaped the kill is not waited for."""
        if self._process.returncode is None:  # not Popen.kill, which would reap, and lose the times
            os.kill(self._process.pid, signal.SIGKILL)
        self.reap(0)
        deadline = time.monotonic() + 5
        while self._printing and self.step(patience) and time.monotonic() < deadline:
            pass
