"""One log per step: a file that grows while the step runs, so that anybody can follow it."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

from mawasu.errors import PlatformError
from mawasu.home import Home


def log_path(home: Home, feature: str, build: int, step: str) -> Path:
    return home.logs / feature / f"{build:06d}" / f"{step.replace('/', '.')}.log"


class FileLog:
    """A `ports.Log` on a file. A line that finds no room on the disk is lost: it is not worth a build."""

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
