"""Jobs as processes of this machine (design §4, §6): a workspace, a sandbox, limits, and outputs into the store."""

from __future__ import annotations

import json
import math
import os
import platform
import signal
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from mawasu.errors import PlatformError, StepError
from mawasu.home import Home
from mawasu.platforms.local import linux, processes
from mawasu.platforms.local.files import locked
from mawasu.platforms.local.images import python
from mawasu.platforms.local.limits import Limiter, Limits
from mawasu.platforms.local.logs import Printed
from mawasu.platforms.local.processes import End, Ended
from mawasu.platforms.local.sandbox import Bind, Sandbox
from mawasu.platforms.local.workspaces import remove, sweep, workspace
from mawasu.ports import Cancel, Log, Store
from mawasu.words import Digest, JobSpec, Outcome, Resources, Result, Source

LayOut = Callable[[Source, Path], None]
"""Lays the source's files out below a directory that does not exist yet, by their path in the repository."""

_INSIDE: Final = Path("/mawasu")
"""Where a job finds its workspace, always: a path of a run in a model would make it different from run to run."""


class _Place(msgspec.Struct, frozen=True):
    """A path of the workspace: where it is, and where the command sees it."""

    real: Path
    shown: Path


class _Room(msgspec.Struct, frozen=True):
    """A workspace that is laid out."""

    cwd: Path
    read_only: list[Bind]
    writable: list[Bind]
    outputs: Mapping[str, _Place]
    environ: Mapping[str, str]


class LocalJobs:
    """Implements `ports.Jobs`. With `terminal` the command has the terminal of whoever runs mawasu (a debugger works)
    and no time-out; give it the sandbox `Direct` then, since it is the user's own code.
    """

    def __init__(
        self,
        home: Home,
        store: Store,
        sandbox: Sandbox,
        limiter: Limiter,
        lay_out: LayOut,
        *,
        terminal: bool = False,
        max_processes: int = 1024,
    ) -> None:
        self._home = home
        self._store = store
        self._sandbox = sandbox
        self._limiter = limiter
        self._lay_out = lay_out
        self._terminal = terminal
        self._max_processes = max_processes

    def sweep(self) -> None:
        """Remove what a killed daemon left behind. To be called when one starts."""
        sweep(self._home.workspaces)

    def run(self, job: JobSpec, log: Log, cancel: Cancel) -> Outcome:
        """Run to its end. Raises only for what is not the user's code's fault: PlatformError, and StepError for files
        that cannot be laid out.
        """
        if beyond := _beyond(job.resources):
            hint = "push it to Google Cloud, or change training.resources"
            return Outcome(Result.FAILED, message=f"{_step(job)}: {beyond}", hint=hint)
        with workspace(self._home.workspaces) as path:
            try:
                room = self._furnish(job, path)
            except OSError as error:
                raise PlatformError(f"cannot lay out {job.name}: {error.strerror}", "is the disk full?") from error
            printed = Printed(log, job.secrets.values())
            ended = self._execute(job, room, printed, cancel)
            facts = self._facts(job, ended)
            if ended.end is not End.EXIT or ended.status != 0:
                result, message, hint = _fault(job, ended, printed.last, self._max_processes)
                return Outcome(result, {}, ended.seconds, message, hint, facts)
            try:
                outputs = self._collect(job, room)
            except StepError as fault:
                return Outcome(Result.FAILED, {}, ended.seconds, fault.message, fault.hint, facts)
            return Outcome(Result.OK, outputs, ended.seconds, facts=facts)

    def _execute(self, job: JobSpec, room: _Room, printed: Printed, cancel: Cancel) -> Ended:
        environ = {**job.environ, **job.secrets, **room.environ}
        argv = self._sandbox.wrap(
            ["/bin/sh", "-c", job.command],
            cwd=room.cwd,
            read_only=[Path(job.image.ref), *room.read_only],
            writable=room.writable,
            environ=environ,
            network=job.resources.network,
            memory=job.resources.memory,
        )
        limits = Limits(job.resources.memory, self._max_processes, job.resources.cpu)
        ended = processes.run(
            argv,
            environ=environ,
            group=self._limiter.around(limits),
            timeout=None if self._terminal else job.resources.timeout,
            cancel=cancel,
            output=None if self._terminal else printed.take,
            own_session=not self._terminal,
        )
        printed.finish()
        return ended

    def _furnish(self, job: JobSpec, path: Path) -> _Room:
        """Lay out everything the job declares below `path`, and say it in variables (design §4)."""

        def place(name: str) -> _Place:
            return _Place(path / name, self._sandbox.shown(path / name, _INSIDE / name))

        files, tmp = place("files"), place("tmp")
        self._lay_out(job.source, files.real)
        (files.real / job.source.root).mkdir(parents=True, exist_ok=True)
        tmp.real.mkdir()
        read_only: list[Bind] = []
        environ = _environ(job, tmp.shown)
        for mount in job.mounts:
            base = place(_directory(mount.variable))
            target = _Place(base.real / mount.name, base.shown / mount.name)
            self._show(mount.digest, target, read_only)
            environ[mount.variable] = str(base.shown)
        outputs: dict[str, _Place] = {}
        writable = [Bind(files.real, files.shown), Bind(tmp.real, tmp.shown)]
        for output in job.outputs:
            base = place(_directory(output.variable))
            base.real.mkdir()
            writable.append(Bind(base.real, base.shown))
            name = "" if output.kind == "directory" else _directory(output.variable)
            told = outputs[output.variable] = _Place(base.real / name, base.shown / name)
            environ.update(dict.fromkeys((output.variable, *output.also), str(told.shown)))
        if job.params is not None:
            params = place("params.json")
            params.real.write_text(json.dumps(job.params, sort_keys=True), encoding="utf-8")
            params.real.chmod(0o644)
            read_only.append(Bind(params.real, params.shown))
            environ["MAWASU_PARAMS"] = str(params.shown)
        for bind in writable:
            bind.source.chmod(0o755)
            self._sandbox.own(bind.source)
        return _Room(files.shown / job.source.root, read_only, writable, outputs, environ)

    def _show(self, digest: Digest, place: _Place, read_only: list[Bind]) -> None:
        """Lay a stored directory out once for all jobs, and let this one see it at `place`."""
        tree = self._home.trees / digest.removeprefix("sha256:")
        if not tree.exists():
            with locked(self._home.trees / ".lock"):
                if not tree.exists():
                    making = tree.with_name(f".{tree.name}")
                    remove(making)
                    self._store.write_tree(digest, making)
                    _open_to_all(making)
                    making.rename(tree)
        if place.shown == place.real:
            place.real.parent.mkdir(exist_ok=True)
            place.real.symlink_to(tree, target_is_directory=True)
        else:
            read_only.append(Bind(tree, place.shown))

    def _collect(self, job: JobSpec, room: _Room) -> dict[str, Digest]:
        """Put what the command wrote into the store. Raises StepError for what is missing or no plain file."""
        step = _step(job)
        collected: dict[str, Digest] = {}
        for output in job.outputs:
            path = room.outputs[output.variable].real
            _judge(step, output.variable, path)
            directory = output.kind == "directory"
            if not (any(path.iterdir()) if directory else path.exists() and path.stat().st_size > 0):
                if output.required:
                    raise StepError(
                        f"{step} wrote nothing to {output.variable}",
                        f"write it to the {output.kind} that the variable {output.variable} names",
                    )
            else:
                collected[output.variable] = self._store.put_tree(path) if directory else self._store.put_file(path)
        return collected

    def _facts(self, job: JobSpec, ended: Ended) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "exit_status": ended.status,
            "cpu_seconds": round(ended.cpu_seconds, 3),
            "limiter": self._limiter.name,
            "sandbox": self._sandbox.name,
            "threads": _threads(job.resources),
            "blas": _pins(job.resources).get("OPENBLAS_CORETYPE", ""),
        }
        if ended.peak_memory:
            facts["peak_memory"] = ended.peak_memory
        if (name := _signal_name(ended.status)) is not None:
            facts["signal"] = name
        return facts


def _environ(job: JobSpec, home: Path) -> dict[str, str]:
    image = Path(job.image.ref)
    return {
        "PATH": f"{python(job.image).parent}:/usr/local/bin:/usr/bin:/bin",
        "VIRTUAL_ENV": str(image),
        "HOME": str(home),
        "TMPDIR": str(home),  # on disk: what is written to /tmp counts as memory
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONHASHSEED": "0",
        "MAWASU_SEED": str(job.seed),
        **_pins(job.resources),
    }


def _threads(resources: Resources) -> int:
    return max(1, math.ceil(resources.cpu))


def _pins(resources: Resources) -> dict[str, str]:
    """Threads, and the BLAS kernels that every machine of an architecture has, so that sums are taken in one order.

    OpenBLAS chooses kernels by the processor unless told (its README, "DYNAMIC_ARCH"), MKL likewise ("Conditional
    Numerical Reproducibility" of its guide). AVX2 is taken where it is there: AVX-512 is what differs between servers.
    """
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    pins = dict.fromkeys(names, str(_threads(resources)))
    match platform.machine():
        case "x86_64" if "avx2" in linux.cpu_flags():
            pins |= {"OPENBLAS_CORETYPE": "Haswell", "MKL_CBWR": "AVX2"}
        case "x86_64":
            pins |= {"OPENBLAS_CORETYPE": "Prescott", "MKL_CBWR": "COMPATIBLE"}
        case "aarch64":
            pins |= {"OPENBLAS_CORETYPE": "ARMV8"}
    return pins


def _fault(job: JobSpec, ended: Ended, last: str, max_processes: int) -> tuple[Result, str, str]:
    """How a command that did not end well is told: the result, one line, a hint."""
    step = _step(job)
    match ended.end:
        case End.CANCEL:
            return Result.CANCELLED, f"{step} was given up", ""
        case End.TIMEOUT:
            limit = f"{job.resources.timeout:g} s"
            return Result.TIMED_OUT, f"{step} was not done after {limit}", "give it a longer timeout, or less to do"
        case End.MEMORY:
            limit = f"{job.resources.memory / 2**20:.0f} MiB"
            hint = "raise resources.memory, or read the data in parts"
            return Result.OUT_OF_MEMORY, f"out of memory: {step} needs more than its {limit}", hint
        case End.PROCESSES:
            hint = "does it fork without end? use fewer workers"
            return Result.FAILED, f"{step} made more than {max_processes} processes and threads", hint
    name = _signal_name(ended.status)
    how = f"was killed by {name}" if name is not None else f"ended with status {ended.status}"
    hint = "`mawasu logs` has all that it printed"
    if ended.status in (126, 127):
        hint = "is the program in the lock, and the file in paths?"
    return Result.FAILED, f"{step} {how}" + (f": {last[:300]}" if last else ""), hint


def _signal_name(status: int) -> str | None:
    """The signal that a shell's status tells of (POSIX, 2.8.2: greater than 128)."""
    try:
        return signal.Signals(status - 128).name if status > 128 else None
    except ValueError:
        return None


def _judge(step: str, variable: str, path: Path) -> None:
    """Refuse whatever is neither file nor directory: a link would let the store read what the sandbox could not.

    Nothing changes under our feet: every process of the job is gone.
    """
    found = [path] if path.is_symlink() or path.exists() else []
    for top, directories, files in os.walk(path):
        found += [Path(top) / name for name in (*directories, *files)]
    for one in found:
        mode = one.lstat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            kind = "a symbolic link" if stat.S_ISLNK(mode) else "a special file"
            name = one.relative_to(path).as_posix()
            raise StepError(f"{step} wrote {kind} to {variable}: {name}", "write plain files and directories")


def _open_to_all(tree: Path) -> None:
    """Code has another user; what others may not see is kept from them by the home, which only its owner enters."""
    for top, _, files in os.walk(tree):
        for path in (Path(top), *(Path(top) / name for name in files)):
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))


def _beyond(resources: Resources) -> str:
    """What was asked for that one machine does not give, "" for nothing."""
    if resources.accelerators:
        return f"this machine gives its jobs no accelerator ({resources.accelerator})"
    if resources.workers > 1:
        return f"this is one machine, not {resources.workers}"
    return ""


def _step(job: JobSpec) -> str:
    return job.name.rpartition("/")[2]


def _directory(variable: str) -> str:
    """A name in the workspace for what a variable tells: MAWASU_MODEL → model."""
    return variable.lower().removeprefix("mawasu_")
