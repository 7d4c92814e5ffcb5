"""The one small door to what only Linux has: /proc, control groups, processor flags.

Elsewhere every function answers with nothing, and those who ask (`limits.py`, `jobs.py`) do with less and say so.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


class Process(NamedTuple):
    """One line of the process table. `started` (clock ticks since boot) tells apart two owners of one pid."""

    pid: int
    parent: int
    group: int
    session: int
    started: int
    resident: int  # bytes
    cpu_seconds: float


def process(pid: int) -> Process | None:
    """What /proc/<pid>/stat says (proc_pid_stat(5)); None when there is no such process or it is a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:  # noqa: PTH123 - hundreds of them, many times a second
            text = file.read(4096)
    except OSError:
        return None
    fields = text[text.rindex(b")") + 2 :].split()  # the name before it may hold spaces and parentheses
    if fields[0] in (b"Z", b"X"):
        return None
    parent, group, session = (int(field) for field in fields[1:4])
    used = (int(fields[11]) + int(fields[12])) / _TICKS
    return Process(pid, parent, group, session, int(fields[19]), int(fields[21]) * _PAGE, used)


def processes() -> Iterator[Process]:
    """Every living process of the machine that this one may see."""
    names = os.listdir("/proc") if _PROC.is_dir() else []  # noqa: PTH208 - as above
    for name in names:
        if name.isdecimal() and (found := process(int(name))) is not None:
            yield found


def proportional(pid: int) -> int | None:
    """Memory of a process in bytes, where pages shared by n processes count 1/n (PSS); None if it cannot be read."""
    with contextlib.suppress(OSError):
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return None


def started_with(pid: int, variable: bytes) -> bool | None:
    """Whether a process was started with `NAME=value`; None while it has no environment (it is just starting)."""
    try:
        environ = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False
    return variable in environ.split(b"\0") if environ else None


def exit_of(pid: int) -> int | None:
    """A descriptor that becomes readable when the child process ends; to be closed by the caller."""
    return os.pidfd_open(pid) if sys.platform == "linux" else None


def widen(pipe: int, size: int) -> None:
    """Let a pipe hold up to `size` bytes, if it may."""
    with contextlib.suppress(OSError, AttributeError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, size)


def flush(path: Path) -> None:
    """Bring everything written to the file system of `path` to the disk (syncfs(2))."""
    subprocess.run(["sync", "-f", path] if sys.platform == "linux" else ["sync"], check=True)


def cpu_flags() -> frozenset[str]:
    """Flags of the first processor (`avx2`, …)."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:  # noqa: PTH123 - read only as far as needed
        for line in file:
            if line.startswith(("flags", "Features")):
                return frozenset(line.partition(":")[2].split())
    return frozenset()


def own_cgroups() -> dict[str, Path]:
    """The directory of this process's control group by controller; the unified hierarchy (v2) is `""`.

    Source: cgroups(7), /proc/self/cgroup and /proc/self/mountinfo. Hierarchies mounted read-only are left out.
    """
    with contextlib.suppress(OSError):
        paths: dict[str, str] = {}
        for line in (_PROC / "self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            paths.update(dict.fromkeys(controllers.split(","), path))
        found: dict[str, Path] = {}
        for line in (_PROC / "self/mountinfo").read_text().splitlines():
            before, _, after = line.partition(" - ")
            (root, point, options), (kind, _, features) = before.split()[3:6], after.split(" ", 2)
            if kind not in ("cgroup", "cgroup2") or "ro" in options.split(","):
                continue
            for controller in [""] if kind == "cgroup2" else features.split(","):
                path = paths.get(controller, "")
                if path and (root == "/" or path == root or path.startswith(root + "/")):
                    inside = path if root == "/" else path[len(root) :]
                    found[controller] = Path(point) / inside.lstrip("/")
        return found
    return {}
