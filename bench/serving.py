"""One row for each request, answered by mawasu and by those who do the same, beside what no server can beat.

Same models (`bench/peers/model.py`), same rows, same code that asks the model, one thread for its numeric libraries
everywhere. Every server is started, tried (is each answer the model's?), warmed, measured at each number of callers by
wrk, and stopped again before the next one's turn, so that nobody idles beside those who are measured.
Every round starts all of them anew.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench import serving_ours as ours
from bench.load import Load, parsed
from bench.peers import PEERS, Peer
from bench.report import Report, milliseconds
from bench.serving_overload import Overload, flood, report_of
from bench.serving_world import (
    Form,
    MissingError,
    Model,
    Running,
    await_right,
    environment_of,
    flights,
    made_up,
    megabytes,
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
    memory: list[float] = field(default_factory=list)  # MB of all its processes
    ready: list[float] = field(default_factory=list)  # seconds after its model was loaded
    own: list[float] = field(default_factory=list)  # MB of the one that is asked
    missing: str = ""


def measure(
    quick: bool, rounds: int = ROUNDS, seconds: int = SECONDS, peers: tuple[str, ...] | None = None
) -> list[Report]:
    """`peers`: names of environments (`fastapi`); None: all. The quick form has none, and needs no network."""
    if shutil.which("wrk") is None:
        raise SystemExit(
            "bench serving needs wrk (apt install wrk): callers in Python are slower than what they measure"
        )
    callers: tuple[int, ...] = (16,) if quick else CALLERS
    if quick:
        rounds, seconds, peers = 1, 1, ()
    chosen = [peer for peer in PEERS if peers is None or peer.packages in peers]
    with place() as top:
        reports = []
        for kind in KINDS[-1:] if quick else KINDS:
            model = _model(top, kind, quick=quick)
            reports += _of(top, model, chosen, callers, rounds, seconds, quick=quick)
        return reports


def _model(top: Path, kind: str, *, quick: bool) -> Model:
    directory = top / kind
    directory.mkdir()
    table = top / "table.json"
    if not table.exists():
        table.write_text(json.dumps(made_up() if quick else flights()))
    python = Path(sys.executable) if quick else environment_of("model") / "python"
    return Model(kind, python, directory, table)


def _of(
    top: Path,
    model: Model,
    peers: list[Peer],
    callers: tuple[int, ...],
    rounds: int,
    seconds: int,
    *,
    quick: bool,
) -> list[Report]:
    alone: list[dict[int, float]] = []
    found: dict[str, Found] = {}
    overload: list[Overload | None] = []
    for _ in range(rounds):
        alone.append(model.alone())
        with ours.mawasu_alone(top, model) as running:
            _with_envoy(top, found, "mawasu", running, model, callers, seconds, model, quick=quick)
            if not quick:
                overload.append(flood(running, model, seconds))
        if not quick:
            with ours.echo(top) as running:
                _with_envoy(top, found, "echo", running, model, callers, seconds, None, quick=False)
        for peer in peers:
            one = found.setdefault(peer.name, Found())
            try:
                with _peer(peer, top, model) as running:
                    _measure(one, running, peer.form, model, callers, seconds, model)
            except MissingError as error:
                one.missing = str(error)
    tables = [_table(model, found, alone, count, seconds) for count in callers]
    tables.append(_goals(model, found, [peer.name for peer in peers], callers))
    return tables if quick else [*tables, report_of(model.kind, overload, seconds)]


def _with_envoy(
    top: Path,
    found: dict[str, Found],
    name: str,
    running: Running,
    model: Model,
    callers: tuple[int, ...],
    seconds: int,
    right: Model | None,
    *,
    quick: bool,
) -> None:
    _measure(found.setdefault(name, Found()), running, Form(), model, callers, seconds, right)
    if quick:
        return
    with contextlib.ExitStack() as stack:
        fronted = running.through(ours.behind_envoy(stack, top, running))
        _measure(found.setdefault(f"Envoy → {name}", Found()), fronted, Form(), model, callers, seconds, right)


def _goals(model: Model, found: dict[str, Found], peers: list[str], callers: tuple[int, ...]) -> Report:
    """Against the best peer of the same numbers: by throughput, or at one caller by the time an answer takes."""
    report = Report(
        f"{model.kind.capitalize()}, goals", ["the best peer is that of the medians; ratios within one round"]
    )
    mine = found["mawasu"]
    for count, least in ((16, 2.0), (64, 5.0)):
        best = _best(found, peers, count, "rps")
        if best and count in callers:
            pairs = list(zip(mine.loads[count], found[best].loads[count], strict=False))
            report.add(f"{count} callers: mawasu ÷ {best}", [a.rps / b.rps for a, b in pairs], unit="×", least=least)
            tail = [a.p99 / b.p99 for a, b in pairs]
            report.add(f"{count} callers: p99 of mawasu ÷ {best}", tail, unit="×", limit=1.0)
    best = _best(found, peers, 1, "p50")
    if best and 1 in callers:
        pairs = list(zip(mine.loads[1], found[best].loads[1], strict=False))
        report.add(f"1 caller: p50 of mawasu ÷ {best}", [a.p50 / b.p50 for a, b in pairs], unit="×", limit=1.25)
    report.add("memory of the server process", mine.own, unit="MB", limit=80)
    report.add("ready after the model is loaded", milliseconds(mine.ready), limit=500)
    return report


def _best(found: dict[str, Found], peers: list[str], callers: int, by: str) -> str:
    """ "" when no peer was measured."""
    medians = {
        name: median(getattr(load, by) for load in found[name].loads[callers])
        for name in peers
        if callers in found[name].loads and not found[name].missing
    }
    if not medians:
        return ""
    return min(medians, key=lambda name: medians[name]) if by == "p50" else max(medians, key=lambda name: medians[name])


@contextlib.contextmanager
def _peer(peer: Peer, top: Path, model: Model) -> Iterator[Running]:
    port, programs = free_port(), environment_of(peer.packages)
    argv = [word.format(bin=programs, port=port) for word in peer.argv]
    environ = {"MODEL": str(model.directory), "PYTHONPATH": "", "PATH": f"{programs}:/usr/bin:/bin", **peer.environ}
    with started(argv, port, top, environ) as running:
        yield running


def _measure(
    found: Found,
    running: Running,
    form: Form,
    model: Model,
    callers: tuple[int, ...],
    seconds: int,
    right: Model | None,
) -> None:
    """`right` says what must be answered; None: this is a ceiling, which answers what it was sent."""
    if right is not None:
        await_right(running, form, right)
    for count in callers:
        _wrk(running, form, model, count, WARM)
        found.loads.setdefault(count, []).append(_wrk(running, form, model, count, seconds))
    found.memory.append(running.megabytes())
    found.own.append(megabytes([running.pid]))
    found.ready.append(running.ready)


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
        p50, p99 = (median(getattr(load, share) for load in loads) for share in ("p50", "p99"))
        failed, memory = sum(load.failed for load in loads), median(one.memory)
        note = f"p50 {p50:.2f} ms · p99 {p99:.2f} ms · failed {failed} · {memory:.0f} MB"
        report.add(name, [load.rps for load in loads], unit="/s", note=note)
    return report
