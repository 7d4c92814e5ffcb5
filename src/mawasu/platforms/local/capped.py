"""A log that never grows beyond what was agreed: the newest lines, and one older file beside it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

LIMIT = 10 * 2**20  # bytes per file; at most two files exist


class CappedLog:
    """Appends bytes to `path`; when that is full it becomes `path.1`. A full disk costs lines, never an exception."""

    def __init__(self, path: Path, limit: int = LIMIT) -> None:
        self.path = path
        self._limit = limit
        self._file = -1
        self._size = 0

    def write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            if self._file < 0:
                self._open()
            if self._size + len(data) > self._limit:
                self._rotate()
            os.write(self._file, data)
            self._size += len(data)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._file).st_size

    def _rotate(self) -> None:
        self.close()
        older = self.path.with_name(self.path.name + ".1")
        self.path.replace(older)
        self._open()
        mark = f"[the log was full: older lines are in {older.name}, those before are gone]\n"
        os.write(self._file, mark.encode())
        self._size += len(mark)
