"""Services on this machine: each replica is a server (ours) and a worker (the user's code, sandboxed) under the
supervisor, and answers HTTP on a Unix socket of its own.

Below `home.services/<revision>/`: `spec.json` (without secrets), `files-…/` (the declared sources), and for replica
N `N.sock` (where callers come in) and `N/` (the worker's one writable directory, with its socket).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from secrets import token_hex
from typing import Protocol

import msgspec

import mawasu.serving
from mawasu.errors import BlockedError, CancelledError, PlatformError
from mawasu.home import Home
from mawasu.platforms.local.health import is_ready
from mawasu.platforms.local.process import ProcessHost, ProcessStatus
from mawasu.platforms.local.spool import spool_of
from mawasu.platforms.local.warming import warm
from mawasu.ports import Cancel, Log
from mawasu.serving.config import Config, handler_arguments, labels_of, threads_of
from mawasu.words import Digest, Endpoint, Health, RevisionStatus, ServiceSpec, Source

LONGEST = 36  # characters of a directory's name: a socket's path holds 107 bytes, and `home.run` takes up to 50
POLL = 0.005  # seconds between looks at a replica that is starting; a twentieth of the time that has passed, later
LOOK = 0.1  # seconds between looks at the supervisor
PATIENCE = 1.0  # seconds within which what a replica printed reaches its log
HOPELESS = 2  # exits before the first answer: a third attempt would end as the first two did
REDIS = "MAWASU_REDIS_URL"
TRACES = "MAWASU_TRACES_URL"
GRACE = 5.0  # seconds for a worker to end; its last request has been answered by then


class Sandbox(Protocol):
    """Where users' code runs (`sandbox.py`)."""

    def wrap(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        read_only: Sequence[Path],
        writable: Sequence[Path],
        environ: Mapping[str, str],
        network: bool,
        memory: int | None,
    ) -> list[str]:
        """The command that does `argv` in the sandbox, to be executed with exactly `environ` as its environment."""

    def own(self, path: Path) -> None:
        """Make `path` and all below it the property of the code's user."""


class Trees(Protocol):
    """What services need of `ports.Store`."""

    def write_tree(self, digest: Digest, root: Path) -> None: ...


LayOut = Callable[[Source, Path], None]
"""Lay a source's declared files out in a directory that does not exist yet; complete or absent."""


class LocalServices:
    """`ports.Services`. What runs is known to the supervisor and to `home.services`, so a new daemon finds it again."""

    def __init__(
        self,
        home: Home,
        host: ProcessHost,
        sandbox: Sandbox,
        store: Trees,
        lay_out: LayOut,
        redis: str = "",
        traces: str = "",
    ) -> None:
        """`redis` is the URL of the cache that replicas share, `traces` where spans are posted to; "" for none."""
        self._home = home
        self._host = host
        self._sandbox = sandbox
        self._store = store
        self._lay_out = lay_out
        self._redis = redis
        self._traces = traces

    def name(self, spec: ServiceSpec, build: int) -> str:
        """Short, because Unix socket paths are."""
        mark = hashlib.sha256(f"{spec.feature}/{spec.environment}/{build}".encode()).hexdigest()[:6]
        return f"{spec.feature[:16]}-{build}-{mark}"

    def start(self, spec: ServiceSpec, log: Log) -> Endpoint:
        """Raises StepError or PlatformError when the files cannot be laid out."""
        spec = msgspec.structs.replace(spec, replicas=max(1, spec.replicas))  # nothing here would start one on demand
        place = self._place(spec.revision)
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        previous = self._spec(place)
        write(place / "spec.json", msgspec.json.encode(msgspec.structs.replace(spec, secrets={})))
        files = self._files(spec, place)
        model = self._model(spec.model)
        for number in range(spec.replicas):
            self._start_replica(spec, place, number, files, model)
        if previous is not None:
            self._stop_replicas(spec.revision, range(spec.replicas, previous.replicas), GRACE)
        log.write(f"starting {spec.replicas} replica(s) of {spec.revision}")
        return Endpoint(spec.revision, tuple(str(place / f"{number}.sock") for number in range(spec.replicas)))

    def wait_ready(self, revision: str, timeout: float, cancel: Cancel) -> None:
        place = self._place(revision)
        spec = self._known(revision)
        pending = set(range(spec.replicas))
        before = self._exits()  # of an adopted revision: what a missing image did to it is not its fault
        began = looked = time.monotonic()
        while True:
            pending = {number for number in pending if not is_ready(place / f"{number}.sock")}
            if not pending:
                return
            now = time.monotonic()
            if now - looked >= LOOK:
                self._judge_exits(revision, pending, before)
                looked = now
            if now - began > timeout:
                raise self._never_ready(revision, min(pending), f"after {timeout:g} seconds")
            if cancel.wait(min(POLL + (now - began) / 20, LOOK)):
                raise CancelledError(f"{revision}: not waited for any longer")

    def printed(self, revision: str, lines: int, holding: str = "") -> list[str]:
        spec = self._spec(self._place(revision))
        if spec is None:
            return []
        logs = [self._log(spec, number, "worker") for number in range(spec.replicas)]
        give_up = time.monotonic() + PATIENCE
        while True:
            found = [line for log in logs for line in last_lines(log, lines)]
            if any(holding in line for line in found) or not holding or time.monotonic() > give_up:
                return found
            time.sleep(POLL)

    def grant(self, revision: str) -> None:
        """The gateway runs as the same user; nobody else may pass the directory its sockets are in."""
        self._known(revision)
        self._place(revision).chmod(0o700)

    def warm(self, revision: str, previous: str) -> int:
        return warm(self._sockets(previous), self._sockets(revision))

    def promote(self, revision: str) -> None:
        """The gateway leads to replicas, not to services: its switch has moved the traffic."""

    def remove(self, feature: str, environment: str, drain: float) -> None:
        for spec in self._all():
            if (spec.feature, spec.environment) == (feature, environment):
                self.stop(spec.revision, drain)

    def stop(self, revision: str, drain: float) -> None:
        place = self._place(revision)
        spec = self._spec(place)
        if spec is not None:
            self._stop_replicas(revision, range(spec.replicas), drain)
        shutil.rmtree(place, ignore_errors=True)

    def running(self) -> Sequence[RevisionStatus]:
        specs = self._all()
        processes = {process.name: process for process in self._host.status()} if specs else {}
        return [self._status(spec, self._place(spec.revision), processes) for spec in specs]

    def logs(self, revision: str, tail: int = 100) -> list[str]:
        """The last `tail` lines of each process of the revision, also when it has been stopped: `0.worker | …`."""
        lines = []
        for path in sorted(self._home.logs.glob(f"*/services/{self._place(revision).name}/*.log")):
            lines += [f"{path.stem} | {line}" for line in last_lines(path, tail)]
        return lines

    # ------------------------------------------------------------------------------------ starting

    def _start_replica(self, spec: ServiceSpec, place: Path, number: int, files: Path, model: Path | None) -> None:
        """The worker first: it takes longest. The server waits for it."""
        room = place / str(number)
        if not room.exists():
            room.mkdir(mode=0o700)
            self._sandbox.own(room)
        config = Config(
            listen=str(place / f"{number}.sock"),
            worker=str(room / "w"),
            release=spec.release,
            command=bool(spec.handler.command),
            workers=spec.handler.workers,
            max_batch=spec.handler.max_batch,
            deadline=spec.handler.deadline,
            site=f"{spec.feature}/{spec.environment}",
            cache=spec.handler.cache,
            operations=spec.operations,
            predictions=spec.handler.predictions,
            spool=str(spool_of(self._home, spec)) if spec.handler.predictions is not None else "",
            labels={**labels_of(spec), "replica": str(number)},
        )
        environ = worker_environ(spec, room, model)
        argv = self._worker_command(spec, room, files, model, environ)
        log = self._log(spec, number, "worker")
        self._host.start(f"{place.name}.{number}.worker", argv, environ, log, tuple(spec.secrets))
        server = [sys.executable, "-P", "-m", "mawasu.serving", "--config", msgspec.json.encode(config).decode()]
        told = server_environ(self._redis if spec.handler.cache is not None else "", self._traces)
        log = self._log(spec, number, "server")
        self._host.start(f"{place.name}.{number}.server", server, told, log, tuple({REDIS} & told.keys()))

    def _worker_command(
        self, spec: ServiceSpec, room: Path, files: Path, model: Path | None, environ: Mapping[str, str]
    ) -> list[str]:
        worker = Path(mawasu.serving.__file__).with_name("worker.py")
        image = Path(spec.image.ref)
        argv = [str(image / "bin" / "python"), str(worker), "--socket", str(room / "w")]
        if spec.handler.command:
            argv += ["--command", spec.handler.command]
        else:
            argv += handler_arguments(spec)
        if model is not None:
            argv += ["--model", str(model)]
        return self._sandbox.wrap(
            argv,
            cwd=files / spec.source.root,
            read_only=[image, worker, files, *([model] if model else [])],
            writable=[room],
            environ=environ,
            network=spec.resources.network,
            memory=spec.resources.memory,
        )

    def _files(self, spec: ServiceSpec, place: Path) -> Path:
        files = place / f"files-{spec.source.tree.digest()[7:17]}"
        return once(files, lambda making: self._lay_out(spec.source, making))

    def _model(self, digest: Digest | None) -> Path | None:
        """One copy for all who serve it, which all share in memory too when they map it."""
        if digest is None:
            return None
        tree = self._home.trees / digest.removeprefix("sha256:")
        return once(tree, lambda making: self._store.write_tree(digest, making))

    # ------------------------------------------------------------------------------------ stopping

    def _stop_replicas(self, revision: str, numbers: range, drain: float) -> None:
        """All servers together, then all workers: no worker leaves before its last answer."""
        name = self._place(revision).name
        if not numbers:
            return
        with ThreadPoolExecutor(len(numbers)) as pool:
            for kind, seconds in (("server", drain), ("worker", GRACE)):
                done = [pool.submit(self._host.stop, f"{name}.{number}.{kind}", seconds) for number in numbers]
                for future in done:
                    future.result()

    # ------------------------------------------------------------------------------------ looking

    def _status(self, spec: ServiceSpec, place: Path, processes: Mapping[str, ProcessStatus]) -> RevisionStatus:
        pairs = [
            (processes.get(f"{place.name}.{number}.server"), processes.get(f"{place.name}.{number}.worker"))
            for number in range(spec.replicas)
        ]
        restarts = sum(process.exits for pair in pairs for process in pair if process is not None)
        draining = any(process is not None and process.state == "stopping" for pair in pairs for process in pair)
        ready = 0 if draining else sum(is_ready(place / f"{number}.sock") for number in range(spec.replicas))
        if draining:
            health = Health.DRAINING
        elif ready == spec.replicas:
            health = Health.READY
        elif ready:
            health = Health.DEGRADED
        elif all(process is None for pair in pairs for process in pair):
            health = Health.GONE
        else:
            health = Health.FAILING if restarts else Health.STARTING
        return RevisionStatus(spec.revision, health, spec.replicas, ready, restarts)

    def _exits(self) -> dict[str, int]:
        return {process.name: process.exits for process in self._host.status()}

    def _judge_exits(self, revision: str, pending: set[int], before: Mapping[str, int]) -> None:
        """Give up early on a replica whose process ends again and again. Raises BlockedError."""
        name = self._place(revision).name
        exits = self._exits()
        for number in sorted(pending):
            for kind in ("worker", "server"):
                process = f"{name}.{number}.{kind}"
                count = exits.get(process, 0) - before.get(process, 0)
                if count >= HOPELESS:
                    raise self._never_ready(revision, number, f"after {count} attempts", kind)

    def _never_ready(self, revision: str, number: int, when: str, kind: str = "worker") -> BlockedError:
        spec = self._known(revision)
        lines = last_lines(self._log(spec, number, kind), 20)
        said = [line for line in lines if not (line.startswith("mawasu: ") and " again in " in line)]
        own = [line for line in said if line.strip() and not line.startswith("mawasu: ")]
        cause = (own or said or ["it printed nothing"])[-1].removeprefix("mawasu: ").strip()
        hint = "`GET /healthz` on $PORT must answer 200; " if spec.handler.command else ""
        return BlockedError(
            f"{revision}: replica {number} was not ready {when}: {cause}",
            f"{hint}the end of its log:\n" + "\n".join(f"  {line}" for line in said[-10:]),
        )

    def _known(self, revision: str) -> ServiceSpec:
        spec = self._spec(self._place(revision))
        if spec is None:
            raise PlatformError(f"{revision} is not running here")
        return spec

    def _all(self) -> list[ServiceSpec]:
        places = sorted(self._home.services.iterdir()) if self._home.services.is_dir() else []
        return [spec for place in places if (spec := self._spec(place)) is not None]

    def _sockets(self, revision: str) -> list[Path]:
        place = self._place(revision)
        spec = self._spec(place)
        return [place / f"{number}.sock" for number in range(spec.replicas)] if spec else []

    def _spec(self, place: Path) -> ServiceSpec | None:
        try:
            return msgspec.json.decode((place / "spec.json").read_bytes(), type=ServiceSpec)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _place(self, revision: str) -> Path:
        if len(revision) <= LONGEST:
            return self._home.services / revision
        return self._home.services / hashlib.sha256(revision.encode()).hexdigest()[:16]

    def _log(self, spec: ServiceSpec, number: int, kind: str) -> Path:
        place = self._place(spec.revision)
        return self._home.logs / spec.feature / "services" / place.name / f"{number}.{kind}.log"


def worker_environ(spec: ServiceSpec, room: Path, model: Path | None) -> dict[str, str]:
    """All that a worker is told (design §4). It reaches the process by the supervisor, never by an argument."""
    image = Path(spec.image.ref)
    threads = str(threads_of(spec))
    return {
        "PATH": f"{image / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        "VIRTUAL_ENV": str(image),
        "HOME": str(room),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads),
        **spec.environ,
        **spec.secrets,
        **({"MAWASU_MODEL": str(model)} if model is not None else {}),
    }


def server_environ(redis: str = "", traces: str = "") -> dict[str, str]:
    """Our own code finds itself again (`PYTHONPATH` may be relative), and is told where its cache is, a secret."""
    environ = {"PATH": os.defpath, "LANG": "C.UTF-8"}
    environ |= {name: value for name, value in ((REDIS, redis), (TRACES, traces)) if value}
    if path := os.environ.get("PYTHONPATH"):
        environ["PYTHONPATH"] = os.pathsep.join(str(Path(entry).absolute()) for entry in path.split(os.pathsep))
    return environ


def once(path: Path, make: Callable[[Path], None]) -> Path:
    """`path`, made unless it is there: complete or absent, and readable for the sandbox's user."""
    if path.exists():
        return path
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    making = path.with_name(f".{path.name}.{token_hex(4)}")  # each for itself: builds run side by side
    make(making)
    for directory, _, files in os.walk(making):
        Path(directory).chmod(0o755)
        for file in files:
            entry = Path(directory, file)
            if not entry.is_symlink():
                entry.chmod(entry.stat().st_mode | 0o444)
    try:
        making.rename(path)
    except OSError:
        shutil.rmtree(making)
        if not path.exists():  # otherwise somebody else was faster
            raise
    return path


def write(path: Path, data: bytes) -> None:
    """Whole or not at all, and private."""
    scratch = path.with_name(path.name + ".new")
    scratch.touch(mode=0o600)
    scratch.write_bytes(data)
    scratch.rename(path)


def last_lines(path: Path, count: int) -> list[str]:
    """Of a log that may be large."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 256 * count))
            return file.read().decode(errors="replace").splitlines()[-count:]
    except FileNotFoundError:
        return []
