"""Limits where control groups may not be made: look at the process tree again and again."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import time

from mawasu.errors import PlatformError
from mawasu.platforms.local import linux
from mawasu.platforms.local.limits import Exceeded, Group, Limiter, Limits

MARK = "MAWASU_JOB"
"""A variable whose value is unique to a job: how a process that left its parents and session is found again."""


class WatchLimiter(Limiter):
    """Memory and number of processes only, and a burst between two looks passes: the last resort, and named so."""

    name = "watching the process tree (memory, processes; no control groups here)"

    def around(self, limits: Limits) -> Group:
        return Watched(limits)


class Watched(Group):
    """The processes of one job, recognised by parent, process group, session or mark, and remembered once seen."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        token = secrets.token_hex(8)
        self.environ = {MARK: token}
        self._mark = f"{MARK}={token}".encode()
        self._members: dict[int, linux.Process] = {}
        self._used: dict[tuple[int, int], float] = {}
        self._strangers: set[tuple[int, int]] = set()
        self._root = 0

    def started(self, pid: int) -> None:
        self._root = pid
        if (found := linux.process(pid)) is not None:
            self._members[pid] = found

    def exceeded(self) -> Exceeded | None:
        members = self._look()
        if len(members) > self._limits.processes:
            return Exceeded.PROCESSES
        resident = sum(member.resident for member in members)
        if resident > self._limits.memory:  # pages shared after a fork were counted more than once
            resident = sum(_memory(member) for member in members)
        self.peak = max(self.peak, resident)
        return Exceeded.MEMORY if resident > self._limits.memory else None

    def close(self) -> None:
        """Nothing is held."""

    def kill(self) -> None:
        deadline = time.monotonic() + 10
        self._strangers.clear()
        while members := self._look() or self._look():  # twice: a fork may hide from one reading of the table
            for member in members:  # stop all before ending one, lest the rest fork on
                _signal(member.pid, signal.SIGSTOP)
            for member in members:
                _signal(member.pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                pids = ", ".join(str(member.pid) for member in members)
                raise PlatformError(f"processes {pids} do not end", "a disk or a driver hangs: see dmesg")
            time.sleep(0.002)

    def _look(self) -> list[linux.Process]:
        """Those of the tree that live now."""
        table = {found.pid: found for found in linux.processes()}
        known = {pid: table[pid] for pid, old in self._members.items() if _same(table.get(pid), old)}
        rest = [found for found in table.values() if found.pid not in known and found.pid != os.getpid()]
        grown = True
        while grown:
            relatives = [one for one in rest if {one.parent, one.group, one.session} & known.keys()]
            known.update((one.pid, one) for one in relatives)
            rest = [one for one in rest if one.pid not in known]
            grown = bool(relatives)
            if not grown:
                marked = [one for one in rest if self._carries_mark(one)]
                known.update((one.pid, one) for one in marked)
                rest = [one for one in rest if one.pid not in known]
                grown = bool(marked)
        self._used.update(((one.pid, one.started), one.cpu_seconds) for one in known.values())
        self.cpu_seconds = sum(self._used.values())
        self._members = known
        return list(known.values())

    def _carries_mark(self, one: linux.Process) -> bool:
        name = (one.pid, one.started)
        if name in self._strangers or one.resident == 0:  # threads of the kernel hold no memory
            return False
        carries = linux.started_with(one.pid, self._mark)
        if carries is False:
            self._strangers.add(name)
        return bool(carries)


def _same(now: linux.Process | None, before: linux.Process) -> bool:
    return now is not None and now.started == before.started


def _memory(member: linux.Process) -> int:
    exact = linux.proportional(member.pid)
    return member.resident if exact is None else exact


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
