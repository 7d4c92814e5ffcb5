"""What `bench serving` needs around its servers: the demo's rows, models, environments, processes, their memory.

Environments and data are kept in a directory of the machine's temporary one, by what they are made of.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.world import BIN, run

ROOT = Path(__file__).resolve().parents[1]
PEER_FILES = ROOT / "bench" / "peers"
KEPT = Path(tempfile.gettempdir()) / "mawasu-bench"
ROWS = 20_000  # that models are fitted to
START = 120.0  # seconds that a server may take until it answers; Ray Serve starts a cluster first
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""As `mawasu up` tells a worker with one core. Without it each process has a thread per core, to its own loss."""


class MissingError(Exception):
    """A server cannot be installed or started here; the message says why."""


@dataclass(frozen=True)
class Model:
    kind: str
    python: Path  # of an environment that has what it needs
    directory: Path
    table: Path

    def alone(self) -> dict[int, float]:
        """Rows a second without any server, by the size of their batch. The first time it is fitted."""
        argv = [str(self.python), str(PEER_FILES / "model.py"), self.kind, str(self.table), str(self.directory)]
        said = run(argv, self.directory, {**os.environ, **THREADS})
        return {int(size): rate for size, rate in json.loads(said).items()}

    def asked(self) -> tuple[list[dict[str, Any]], list[dict[str, float]]]:
        """Rows, and what they are answered."""
        told = json.loads((self.directory / "asked.json").read_text())
        return told["rows"], told["answers"]


def environment_of(packages: str) -> Path:
    """The directory of the programs of an environment with what `packages.txt` pins. Raises MissingError."""
    pins = PEER_FILES / f"{packages}.txt"
    home = KEPT / f"{packages}-{hashlib.sha256(pins.read_bytes()).hexdigest()[:12]}"
    if not (home / "whole").exists():
        uv, python = str(BIN / "uv"), str(home / "bin" / "python")
        KEPT.mkdir(exist_ok=True)
        shutil.rmtree(home, ignore_errors=True)
        try:
            run([uv, "venv", "-q", "--python", sys.executable, str(home)], KEPT, os.environ)
            run(
                [uv, "pip", "install", "-q", "--compile-bytecode", "--python", python, "-r", str(pins)],
                KEPT,
                os.environ,
            )
        except SystemExit as error:
            raise MissingError(f"cannot be installed: {str(error).strip().splitlines()[-1]}") from None
        (home / "whole").touch()
    return home / "bin"


def flights() -> dict[str, list[Any]]:
    """The demo's table by columns, every n-th flight whose weather is known."""
    import pyarrow.parquet as parquet

    file = KEPT / "flights.parquet"
    if not file.exists():
        KEPT.mkdir(exist_ok=True)
        run([str(BIN / "uv"), "run", "-q", str(ROOT / "demo/make_data.py"), str(file)], KEPT, os.environ)
    table = parquet.read_table(file).drop(["id", "month", "day", "pressure"]).drop_null()
    return dict(table.take(list(range(0, table.num_rows, table.num_rows // ROWS))).to_pydict())


def made_up() -> dict[str, list[Any]]:
    """As many columns, for when only what runs matters."""
    chance = random.Random(0)
    numbers = {"hour": 24, "distance": 3000, "temp": 90, "humid": 100, "wind_speed": 30, "precip": 1, "visib": 10}
    columns: dict[str, list[Any]] = {name: [chance.uniform(0, to) for _ in range(200)] for name, to in numbers.items()}
    columns |= {name: chance.choices(("UA", "EV", "DL"), k=200) for name in ("carrier", "origin", "dest")}
    return {**columns, "late": [int(hour > 12) for hour in columns["hour"]]}


# ------------------------------------------------------------------------------------------------ processes


class Running:
    """A server that runs. `port` is where it is asked, `log` what it printed."""

    def __init__(self, argv: list[str], port: int, place: Path, environ: dict[str, str]) -> None:
        self.port = port
        self.beside: list[Running] = []  # what else it needs to answer
        self.ready = 0.0  # seconds from when its model was loaded until it said so
        self.log = place / f"{port}.log"
        with self.log.open("wb") as file:
            self._process = subprocess.Popen(
                argv,
                cwd=PEER_FILES,
                env={**os.environ, **THREADS, **environ},
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def ended(self) -> str:
        """The last it said, if it has ended."""
        if self._process.poll() is None:
            return ""
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return f"ended with status {self._process.returncode}: {lines[-1] if lines else 'it said nothing'}"

    def through(self, port: int) -> Running:
        """The same, asked at another port: of what stands before it."""
        other = copy(self)
        other.port = port
        return other

    def megabytes(self) -> float:
        return megabytes([self.pid, *(one.pid for one in self.beside)])

    def stop(self) -> None:
        """And all that it started."""
        whole = tree(self.pid)
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pid, began in whole.items():
            if born(pid) == began:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def started(argv: list[str], port: int, place: Path, environ: dict[str, str]) -> Iterator[Running]:
    running = Running(argv, port, place, environ)
    try:
        yield running
    finally:
        running.stop()


def born(pid: int) -> str:
    """When a process started (proc_pid_stat(5)), which tells it from a later one of its number; "" if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def tree(root: int) -> dict[int, str]:
    """A process and all below it, with when each started."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found, new = {root}, {root}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new} - found
        found |= new
    return {pid: born(pid) for pid in found}


def megabytes(roots: list[int]) -> float:
    """What these processes and all below them hold of memory: shared pages by their share (PSS, proc_pid_smaps(5))."""
    total = 0
    for pid in {pid for root in roots for pid in tree(root)}:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


# ------------------------------------------------------------------------------------------------ asking


@dataclass(frozen=True)
class Form:
    """How a server wants a row, and where its answer stands in what it says."""

    path: str = "/predict"
    body: str = "%s"  # around the row
    answer: Callable[[Any], Any] = lambda answered: answered


def await_right(running: Running, form: Form, model: Model) -> None:
    """Until it answers; then every row is asked, and must be answered right. Raises MissingError."""
    rows, answers = model.asked()
    give_up = time.monotonic() + START
    while (told := ask(running.port, form, rows[0]))[0] != 200:
        if why := running.ended():
            raise MissingError(why)
        if time.monotonic() > give_up:
            raise MissingError(f"does not answer after {START:.0f} s: {told[0] or 'nobody listens'} {told[1]}")
        time.sleep(0.05)
    with ThreadPoolExecutor(16) as pool:  # beside one another, so that batches are made and taken apart
        for row, right, (_, said) in zip(
            rows, answers, pool.map(lambda row: ask(running.port, form, row), rows), strict=True
        ):
            try:
                late = form.answer(said)["late"]
            except (KeyError, TypeError, IndexError):
                raise MissingError(f"answers {json.dumps(said)[:200]} to {row}") from None
            if abs(late - right["late"]) > 1e-9:
                raise MissingError(f"answers {late}, which is not the model's {right['late']}")


def ask(port: int, form: Form, row: dict[str, Any]) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST", form.path, form.body % json.dumps(row), {"content-type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        return answer.status, json.loads(text) if answer.status == 200 else text[:200]
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()
