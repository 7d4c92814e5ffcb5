"""One log per step, which anybody can follow while the step runs: a file that grows, or parts in a bucket."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from mawasu.errors import PlatformError
from mawasu.google.storage import Bucket
from mawasu.home import Home
from mawasu.ports import Log
from mawasu.store.names import escape

CAP = 10_000_000
"""Bytes kept of one log in a bucket (locally, of what the step's own command prints)."""

FIRST, LONGEST, SHARE = 2.0, 20.0, 0.05
"""Seconds that lines wait for their part: 5 % of the step's time so far, so that a day's log has not 40,000 parts."""

_THREADS = 8  # parts read at once


class StepLog(Log, Protocol):
    """A log that is written to its end."""

    def close(self) -> None: ...


def log_path(home: Home, feature: str, build: int, step: str) -> Path:
    return home.logs / feature / f"{build:06d}" / f"{_plain(step)}.log"


def log_prefix(feature: str, build: int, step: str) -> str:
    """Of the parts in a bucket, each named by its number: `00001`, …"""
    return f"logs/{escape(feature)}/{build:06d}/{_plain(step)}/"


def _plain(step: str) -> str:
    return step.replace("/", ".")


class FileLog:
    """A `StepLog` in a file. A line that finds no room on the disk is lost: it is not worth a build."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1)
        except OSError as error:
            raise PlatformError(f"{path}: {error.strerror}", "make room, or mend the disk, and push again") from error
        self._path = path
        self._lock = threading.Lock()

    @property
    def path(self) -> Path:
        return self._path

    def write(self, line: str) -> None:
        with self._lock, contextlib.suppress(OSError):
            self._file.write(line + "\n")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()


class BucketLog:
    """A `StepLog` as parts below a prefix, each of whole lines. Who writes never waits for Google.

    Parts that are there (of a build that was cut off) stay, and new ones follow. Lines that Google does not take are
    tried again with the next ones; at the end they are lost, as on a full disk.
    """

    path = None

    def __init__(self, bucket: Bucket, prefix: str, *, first: float = FIRST, cap: int = CAP) -> None:
        """`first`: seconds until the first part; `cap`: bytes after which lines are left out."""
        self._bucket, self._prefix = bucket, prefix
        self._first, self._cap, self._room = first, cap, cap
        self._lines: list[bytes] = []
        self._number = 0  # of the last part; 0: not looked yet
        self._began = time.monotonic()
        self._changed = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    def write(self, line: str) -> None:
        data = line.encode(errors="backslashreplace") + b"\n"
        with self._changed:
            if self._room < 0 or self._closing:
                return
            self._room -= len(data)
            if self._room < 0:
                data = f"[log capped at {self._cap / 1e6:g} MB]\n".encode()
            self._lines.append(data)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Write what is left."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        closing = False
        while not closing:
            with self._changed:
                wait = max(self._first, min(LONGEST, SHARE * (time.monotonic() - self._began)))
                closing = self._changed.wait_for(lambda: self._closing, wait)
                lines, self._lines = self._lines, []
            if lines and not self._flush(b"".join(lines)):
                with self._changed:
                    self._lines = lines + self._lines

    def _flush(self, data: bytes) -> bool:
        """Write one part; a number that is taken is another's."""
        try:
            if not self._number:
                self._number = max((int(found.name[-5:]) for found in self._bucket.list(self._prefix)), default=0)
            while True:
                self._number += 1
                if self._bucket.create(f"{self._prefix}{self._number:05d}", data):
                    return True
        except PlatformError:
            return False


def read_file(path: Path, offset: int) -> bytes:
    """What a log holds from a byte on; b"" for one that is not there yet."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read()
    except FileNotFoundError:
        return b""


def read_parts(bucket: Bucket, prefix: str, offset: int) -> bytes:
    """As `read_file`: parts that end before `offset` are not fetched."""
    wanted: list[str] = []
    start = 0  # of the first part that is wanted
    for part in bucket.list(prefix):
        if wanted or start + part.size > offset:
            wanted.append(part.name)
        else:
            start += part.size
    if not wanted:
        return b""
    with ThreadPoolExecutor(_THREADS) as pool:
        return b"".join(data or b"" for data in pool.map(bucket.read, wanted))[offset - start :]
