"""Who belongs to whom among processes: the one door to what only Linux can do. Elsewhere: best effort, said so.

A process is marked by a variable in the environment it was started with; its offspring inherits the mark, also
when it left its process group and its parent died.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

MARK = "MAWASU_PROCESS"

_PR_SET_PDEATHSIG = 1  # prctl(2)
_PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent() -> None:
    """Called between fork and exec: end when the parent does, however it ends. Only Linux can."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent died, so that they can be reaped here."""
    if _libc is not None:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def marked(mark: str) -> list[int]:
    """The processes whose mark is `mark`, or starts with it when it ends in `:`; none where there is no /proc."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        if path.name == str(os.getpid()):
            continue
        try:
            variables = (path / "environ").read_bytes().split(b"\0")
        except OSError:  # gone meanwhile, or another user's
            continue
        if any(item == wanted or (mark.endswith(":") and item.startswith(wanted)) for item in variables):
            found.append(int(path.name))
    return found


def end_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM when only zombies are left
        os.killpg(group, number)


def end_marked(mark: str) -> None:
    """Kill all that carry the mark, and what they start meanwhile."""
    for _ in range(100):  # each round finds what the last one's victims had just forked
        pids = [pid for pid in marked(mark) if not is_zombie(pid)]
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1] in (b"Z", b"X")
    except OSError:
        return True
