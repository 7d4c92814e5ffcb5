"""One log per step: a file that grows while the step runs, so that anybody can follow it."""

from __future__ import annotations

import threading
from pathlib import Path

from mawasu.home import Home


def log_path(home: Home, feature: str, build: int, step: str) -> Path:
    return home.logs / feature / f"{build:06d}" / f"{step.replace('/', '.')}.log"


class FileLog:
    """A `ports.Log` on a file."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path
        self._file = path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1)
        self._lock = threading.Lock()

    @property
    def path(self) -> Path:
        return self._path

    def write(self, line: str) -> None:
        with self._lock:
            self._file.write(line + "\n")

    def close(self) -> None:
        self._file.close()
