"""Helper processes for what a pusher's document may do to whoever reads it: bounded in memory and time, ended whole.

Both sides speak one JSON value a line. A helper is given nothing but that: an environment of its own without anything
of ours, an empty directory that is gone afterwards, no token and no address. It decides; its parent does.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, TypeVar

import msgspec

from mawasu.ports import Cancel

T = TypeVar("T")

MEMORY = 2 * 2**30
LONGEST = 64 * 2**20
"""Bytes of what a helper may write in all: no document needs more, and its parent keeps it in memory."""
LOOK = 0.05


class Confined:
    """A module of mawasu run as a process: `tell` it a value, `hear` one. To be used as a context manager."""

    def __init__(self, module: str, cancel: Cancel) -> None:
        self.late = False  # it was ended because it took too long
        self._module, self._cancel = module, cancel
        self._until = float("inf")
        self._written = 0

    def __enter__(self) -> Confined:
        self._place = tempfile.TemporaryDirectory(prefix="mawasu-contract-")
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=self._place.name,
            env=_environment(self._place.name),
            start_new_session=True,
        )
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._end()
        self._watch.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()
        self._process.wait()
        self._errors.close()
        self._place.cleanup()

    def tell(self, value: msgspec.Struct) -> None:
        """Whoever does not listen any more is told nothing: `hear` says so."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(msgspec.json.encode(value) + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass

    def hear(self, kind: type[T], within: float) -> T | None:
        """The next value, waited for at most `within` seconds; None when there is none, or it is not to be used."""
        assert self._process.stdout is not None
        self._until = time.monotonic() + within
        line = self._process.stdout.readline(LONGEST)
        self._until = float("inf")
        self._written += len(line)
        if not line.endswith(b"\n") or self._written > LONGEST:
            return None
        return msgspec.json.decode(line, type=kind)

    @property
    def last_words(self) -> str:
        """The last line that it wrote to its standard error."""
        self._process.wait()
        self._errors.seek(0)
        return " ".join(self._errors.read().decode(errors="replace").strip().splitlines()[-1:])[:300]

    def _look(self) -> None:
        while not self._over.wait(LOOK):
            if time.monotonic() > self._until:
                self.late = True
                self._end()
            elif self._cancel.is_set():
                self._end()

    def _end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


def _environment(place: str) -> dict[str, str]:
    """Nothing of ours but where programs and modules are. The hash seed makes equal documents give equal requests."""
    modules = os.environ.get("PYTHONPATH", "")
    found = {"PATH": os.environ.get("PATH", os.defpath), "HOME": place, "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
    if modules:
        found["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path) for path in modules.split(os.pathsep))  # noqa: PTH100
    return found


class Parent:
    """The other end, inside the helper."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def hear(self, kind: type[T]) -> T:
        line = sys.stdin.buffer.readline()
        if not line:
            sys.exit(0)  # nobody listens any more
        return msgspec.json.decode(line, type=kind)

    def tell(self, value: msgspec.Struct) -> None:
        self._out.write(msgspec.json.encode(value) + b"\n")
        self._out.flush()


@contextmanager
def in_process() -> Iterator[Parent]:
    """What every helper begins with: its bounds. Whatever else prints, prints to standard error."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)
        yield Parent(out)
