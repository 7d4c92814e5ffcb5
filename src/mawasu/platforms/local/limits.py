"""What holds a job within its memory, processes and processor time, and ends all of its processes.

Three ways, the best that works: a delegated cgroup v2, cgroup v1, or watching the process tree (`watching.py`).
"""

from __future__ import annotations

import abc
import contextlib
import enum
import errno
import itertools
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from mawasu.errors import PlatformError
from mawasu.platforms.local import linux

_PERIOD = 100_000  # microseconds in which a quota of processor time is spent and given anew
_OURS = "mawasu-"
_MAIN = "mawasu-main"
_numbers = itertools.count(1)

# Enter the control groups named before `--`, then become the command: nothing of a job ever runs outside them.
_JOIN = 'while [ "$1" != -- ]; do echo 0 >"$1" || exit 125; shift; done; shift; exec "$@"'


class Limits(msgspec.Struct, frozen=True):
    """`memory` in bytes, `processes` counts threads too (but not when they are watched), `cpu` in cores."""

    memory: int
    processes: int = 1024
    cpu: float | None = None


class Exceeded(enum.StrEnum):
    MEMORY = "memory"
    PROCESSES = "processes"


class Group(abc.ABC):
    """The processes of one job. As a context: whatever happens inside, no process is left when it is over."""

    environ: Mapping[str, str] = {}
    """Variables that the job must be started with."""

    peak = 0
    """The most memory seen, in bytes; 0 where nobody counts. Known after `kill`, like `cpu_seconds`."""

    cpu_seconds = 0.0

    def join(self, argv: Sequence[str]) -> list[str]:
        """The command that does `argv` within the limits."""
        return list(argv)

    @abc.abstractmethod
    def started(self, pid: int) -> None:
        """Tell which process was started."""

    @abc.abstractmethod
    def exceeded(self) -> Exceeded | None:
        """Which limit was hit, if any. To be asked every few tens of milliseconds; the caller then kills."""

    @abc.abstractmethod
    def kill(self) -> None:
        """End every process, double-forked ones too. Raises PlatformError if one cannot be ended."""

    @abc.abstractmethod
    def close(self) -> None:
        """Give back what the group holds on the machine."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self.close()


class Limiter(abc.ABC):
    """A way to hold jobs within limits. `name` is for people (`mawasu status`) and records."""

    name: str

    @abc.abstractmethod
    def around(self, limits: Limits) -> Group:
        """A new group of processes, empty so far."""

    @staticmethod
    def detect() -> Limiter:
        """The best way this machine offers to this user; removes what killed daemons left behind."""
        from mawasu.platforms.local.watching import WatchLimiter

        own = linux.own_cgroups()
        return CgroupV2Limiter.find(own) or CgroupV1Limiter.find(own) or WatchLimiter()


class CgroupV2Limiter(Limiter):
    """Control groups below one that was delegated to us (kernel: cgroup-v2.rst; systemd: CGROUP_DELEGATION)."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._cpu = "cpu" in _words(base / "cgroup.subtree_control")
        self.name = "cgroup v2 (memory, pids, cpu)" if self._cpu else "cgroup v2 (memory, pids)"

    @classmethod
    def find(cls, own: Mapping[str, Path]) -> CgroupV2Limiter | None:
        """None unless memory and pids can be given on to groups of our own."""
        if "" not in own:
            return None
        base = own[""].parent if own[""].name == _MAIN else own[""]
        with contextlib.suppress(OSError):
            offered = _words(base / "cgroup.controllers")
            if {"memory", "pids"} <= offered:
                _give_on(base, offered & {"memory", "pids", "cpu"})
                _probe([base])
                return cls(base)
        return None

    def around(self, limits: Limits) -> Group:
        path = self._base / _new_name()
        with _making([path]):
            _write(path / "memory.max", limits.memory)
            _write(path / "pids.max", limits.processes)
            for name, value in (("memory.swap.max", 0), ("memory.oom.group", 1)):
                with contextlib.suppress(FileNotFoundError):  # no swap in this kernel; older than 4.19
                    _write(path / name, value)
            if limits.cpu and self._cpu:
                _write(path / "cpu.max", f"{int(limits.cpu * _PERIOD)} {_PERIOD}")
        read = {"oom": path / "memory.events", "peak": path / "memory.peak", "cpu": path / "cpu.stat"}
        return Cgroups([path], path, read)


class CgroupV1Limiter(Limiter):
    """One control group per hierarchy (kernel: cgroup-v1/memory.rst, cgroup-v1/pids.rst)."""

    def __init__(self, own: Mapping[str, Path]) -> None:
        self._own = own
        self.name = f"cgroup v1 ({', '.join(own)})"

    @classmethod
    def find(cls, own: Mapping[str, Path]) -> CgroupV1Limiter | None:
        """None unless groups for memory and pids can be made."""
        usable = {name: own[name] for name in ("memory", "pids", "cpu", "cpuacct") if name in own}
        if not {"memory", "pids"} <= usable.keys():
            return None
        with contextlib.suppress(OSError):
            _probe(list(usable.values()))
            return cls(usable)
        return None

    def around(self, limits: Limits) -> Group:
        name = _new_name()
        path = {controller: parent / name for controller, parent in self._own.items()}
        groups = list(dict.fromkeys(path.values()))  # controllers may share one hierarchy
        with _making(groups):
            _write(path["memory"] / "memory.limit_in_bytes", limits.memory)
            with contextlib.suppress(OSError):  # no accounting of swap in this kernel
                _write(path["memory"] / "memory.memsw.limit_in_bytes", limits.memory)
            _write(path["pids"] / "pids.max", limits.processes)
            if limits.cpu and "cpu" in path:
                _write(path["cpu"] / "cpu.cfs_period_us", _PERIOD)
                _write(path["cpu"] / "cpu.cfs_quota_us", int(limits.cpu * _PERIOD))
        read = {"oom": path["memory"] / "memory.oom_control", "peak": path["memory"] / "memory.max_usage_in_bytes"}
        if "cpuacct" in path:
            read["cpu"] = path["cpuacct"] / "cpuacct.usage"
        return Cgroups(groups, path["pids"], read)


class Cgroups(Group):
    """The control groups of one job: one directory (v2), or one per hierarchy (v1); `read` names their counters."""

    def __init__(self, paths: Sequence[Path], pids: Path, read: Mapping[str, Path]) -> None:
        self._paths = paths
        self._pids = pids
        self._read = read

    def join(self, argv: Sequence[str]) -> list[str]:
        return ["/bin/sh", "-c", _JOIN, "sh", *(str(path / "cgroup.procs") for path in self._paths), "--", *argv]

    def started(self, pid: int) -> None:
        """It has entered by itself."""

    def exceeded(self) -> Exceeded | None:
        if _counter(self._read["oom"], "oom_kill"):
            return Exceeded.MEMORY
        return Exceeded.PROCESSES if _counter(self._pids / "pids.events", "max") else None

    def kill(self) -> None:
        _kill_all(self._pids)
        with contextlib.suppress(OSError):  # no such file in kernels before 5.19
            self.peak = int(self._read["peak"].read_text())
        if (path := self._read.get("cpu")) is not None:
            v2 = path.name == "cpu.stat"
            self.cpu_seconds = _counter(path, "usage_usec") / 1e6 if v2 else int(path.read_text()) / 1e9

    def close(self) -> None:
        _remove(self._paths)


def _kill_all(path: Path, patience: float = 10.0) -> None:
    """Forbid new processes first, so that the loop over those that are there comes to an end."""
    with contextlib.suppress(OSError):
        _write(path / "pids.max", 0)
    with contextlib.suppress(OSError):
        _write(path / "cgroup.kill", 1)  # v2, from kernel 5.14
    deadline = time.monotonic() + patience
    while pids := _words(path / "cgroup.procs"):
        for pid in pids - {"0"}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        if time.monotonic() > deadline:
            raise PlatformError(
                f"processes {', '.join(sorted(pids))} do not end", "a disk or a driver hangs: see dmesg"
            )
        time.sleep(0.002)


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        for _ in range(100):
            try:
                path.rmdir()
            except FileNotFoundError:
                break
            except OSError as error:  # the last process is not wholly gone
                if error.errno != errno.EBUSY:
                    raise
                time.sleep(0.01)
            else:
                break


@contextlib.contextmanager
def _making(paths: Sequence[Path]) -> Iterator[None]:
    try:
        for path in paths:
            path.mkdir()
        yield
    except OSError as error:
        _remove([path for path in paths if path.is_dir()])
        raise PlatformError(f"cannot limit a job: {error}", "are the control groups still writable?") from error


def _probe(parents: Sequence[Path]) -> None:
    """Raise OSError unless groups can be made below all of `parents`; sweep the groups of owners that are dead."""
    name = _new_name()
    for parent in parents:
        (parent / name).mkdir()
        (parent / name).rmdir()
        for path in parent.glob(f"{_OURS}*-*-*"):
            pid, started = path.name.removeprefix(_OURS).split("-")[:2]
            owner = linux.process(int(pid)) if pid.isdigit() else None
            if owner is None or str(owner.started) != started:
                with contextlib.suppress(FileNotFoundError):  # another daemon sweeps at the same time
                    _kill_all(path)
                    _remove([path])


def _give_on(base: Path, controllers: set[str]) -> None:
    """Enable controllers for groups below `base`; a group that does so must hold no processes itself."""
    missing = controllers - _words(base / "cgroup.subtree_control")
    if not missing:
        return
    change = " ".join(f"+{name}" for name in sorted(missing))
    try:
        _write(base / "cgroup.subtree_control", change)
    except OSError as error:
        if error.errno != errno.EBUSY or not _delegated(base):
            raise
        main = base / _MAIN
        main.mkdir(exist_ok=True)
        for pid in _words(base / "cgroup.procs"):
            with contextlib.suppress(ProcessLookupError):
                _write(main / "cgroup.procs", pid)
        _write(base / "cgroup.subtree_control", change)


def _delegated(path: Path) -> bool:
    """systemd marks what it gives away; only there may we move processes around."""
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(path, name) == b"1":
                return True
    return False


def _new_name() -> str:
    """A name that tells its owner (pid and when that started), so that what a dead one left can be swept."""
    own = linux.process(os.getpid())
    return f"{_OURS}{os.getpid()}-{own.started if own else 0}-{next(_numbers)}"


def _words(path: Path) -> set[str]:
    return set(path.read_text().split())


def _write(path: Path, value: object) -> None:
    path.write_text(f"{value}\n")


def _counter(path: Path, name: str) -> int:
    """The number behind `name` in a file of such lines; 0 where the kernel does not count it."""
    with contextlib.suppress(OSError):
        for line in path.read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return 0
