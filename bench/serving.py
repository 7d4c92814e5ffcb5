"""One row for each request, answered by mawasu and by those who do the same, beside what no server can beat.

Same models (`bench/peers/model.py`), same rows, same code that asks the model, one thread for its numeric libraries
everywhere. Every server is started, tried (is each answer the model's?), warmed, measured at each number of callers by
wrk, and stopped again before the next one's turn: those who idle cost those who are measured (Ray's cluster takes a
tenth of a core). Every round starts all of them anew.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench import serving_ours as ours
from bench.load import Load, parsed
from bench.peers import PEERS, Peer
from bench.report import Report
from bench.serving_world import (
    Form,
    MissingError,
    Model,
    Running,
    await_right,
    environment_of,
    flights,
    made_up,
    started,
)
from bench.world import free_port, place

CALLERS = (1, 16, 64)
ROUNDS, SECONDS, WARM = 3, 5, 1
KINDS = ("boosting", "logistic")

_SCRIPT = """\
local asked, last, at = {}, 0, 0
init = function()
  for body in io.lines("%s") do
    last = last + 1
    asked[last] = wrk.format("POST", nil, {["Content-Type"] = "application/json", ["Host"] = "bench"}, body)
  end
end
request = function()
  at = at %% last + 1
  return asked[at]
end
"""


@dataclass
class Found:
    """Of one server, a value for each round. `missing` says why there is none."""

    loads: dict[int, list[Load]] = field(default_factory=dict)  # by callers
    memory: list[float] = field(default_factory=list)  # MB
    missing: str = ""


def measure(
    quick: bool, rounds: int = ROUNDS, seconds: int = SECONDS, peers: tuple[str, ...] | None = None
) -> list[Report]:
    """`peers`: names of environments (`fastapi`); None: all. The quick form has none, and needs no network."""
    if shutil.which("wrk") is None:
        raise SystemExit("bench serving needs wrk (apt install wrk): callers in Python are slower than what they measure")
    callers, kinds = (CALLERS, KINDS)
    if quick:
        rounds, seconds, peers, callers, kinds = 1, 1, (), (16,), ("logistic",)
    chosen = [peer for peer in PEERS if peers is None or peer.packages in peers]
    with place() as top:
        reports = []
        for kind in kinds:
            model = _model(top, kind, quick=quick)
            reports += _of(top, model, chosen, callers, rounds, seconds)
        return reports


def _model(top: Path, kind: str, *, quick: bool) -> Model:
    import sys

    directory = top / kind
    directory.mkdir()
    table = top / "table.json"
    if not table.exists():
        table.write_text(json.dumps(made_up() if quick else flights()))
    python = Path(sys.executable) if quick else environment_of("model") / "python"
    return Model(kind, python, directory, table)


def _of(top: Path, model: Model, peers: list[Peer], callers: tuple[int, ...], rounds: int, seconds: int) -> list[Report]:
    alone: list[dict[int, float]] = []
    found: dict[str, Found] = {}
    for _ in range(rounds):
        alone.append(model.alone())
        for name in ours.NAMES:
            with ours.serving(name, top, model) as running:
                _measure(found.setdefault(name, Found()), running, Form(), model, callers, seconds)
        for peer in peers:
            one = found.setdefault(peer.name, Found())
            try:
                with _peer(peer, top, model) as running:
                    _measure(one, running, peer.form, model, callers, seconds)
            except MissingError as error:
                one.missing = str(error)
    return [_table(model, found, alone, count, seconds) for count in callers]


@contextlib.contextmanager
def _peer(peer: Peer, top: Path, model: Model) -> Iterator[Running]:
    port, programs = free_port(), environment_of(peer.packages)
    argv = [word.format(bin=programs, port=port) for word in peer.argv]
    environ = {"MODEL": str(model.directory), "PYTHONPATH": "", "PATH": f"{programs}:/usr/bin:/bin", **peer.environ}
    with started(argv, port, top, environ) as running:
        yield running


def _measure(
    found: Found, running: Running, form: Form, model: Model, callers: tuple[int, ...], seconds: int
) -> None:
    await_right(running, form, model)
    for count in callers:
        _wrk(running, form, model, count, WARM)
        found.loads.setdefault(count, []).append(_wrk(running, form, model, count, seconds))
    found.memory.append(running.megabytes())


def _wrk(running: Running, form: Form, model: Model, callers: int, seconds: int) -> Load:
    rows, _ = model.asked()
    bodies, script = model.directory / "bodies", model.directory / "wrk.lua"
    bodies.write_text("".join(form.body % json.dumps(row) + "\n" for row in rows))
    script.write_text(_SCRIPT % bodies)
    url = f"http://127.0.0.1:{running.port}{form.path}"
    argv = ["wrk", "-t1", f"-c{callers}", f"-d{seconds}", "--timeout", "5", "--latency", "-s", str(script), url]
    return parsed(subprocess.run(argv, text=True, capture_output=True, check=True).stdout)


def _table(model: Model, found: dict[str, Found], alone: list[dict[int, float]], callers: int, seconds: int) -> Report:
    report = Report(f"{model.kind.capitalize()}, {callers} callers", [f"wrk for {seconds} s; answers a second"])
    for size in alone[0]:
        report.add(f"predict alone, batches of {size} (ceiling)", [rates[size] for rates in alone], unit="/s")
    for name, one in found.items():
        loads = one.loads.get(callers, [])
        if one.missing or not loads:
            report.lines.append(f"{name}: {one.missing}")
            continue
        p50, p99 = (Report("").add("", [getattr(load, share) for load in loads]).median for share in ("p50", "p99"))
        failed = sum(load.failed for load in loads)
        memory = Report("").add("", one.memory).median
        note = f"p50 {p50:.2f} ms · p99 {p99:.2f} ms · failed {failed} · {memory:.0f} MB"
        report.add(name, [load.rps for load in loads], unit="/s", note=note)
    return report
