"""Running a piece of Python in a process of its own, where system calls fail or kill it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def run_python(script: str, *arguments: object, before: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run `script` (its arguments in `sys.argv[1:]`), behind the words of `before`; ends within 60 s."""
    command = [*before, sys.executable, "-c", script, *map(str, arguments)]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)


def with_fault(calls: str, fault: str, when: int | str = 1) -> list[str]:
    """The words that make the Nth of these system calls fail (`error=EIO`) or kill its process (`signal=KILL`)."""
    inject = f"inject={calls}:{fault}:when={when}"
    return ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={calls}", "-e", inject]


def with_small_disk(path: Path, size: int) -> list[str]:
    """The words that put a new file system of `size` bytes at `path`, for this command only."""
    return ["bwrap", "--dev-bind", "/", "/", "--size", str(size), "--tmpfs", str(path), "--die-with-parent"]


def with_read_only(path: Path) -> list[str]:
    return ["bwrap", "--dev-bind", "/", "/", "--ro-bind", str(path), str(path), "--die-with-parent"]
