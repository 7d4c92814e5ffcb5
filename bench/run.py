"""Four trivial commands through `mawasu run`, `dvc repro`, make, and by hand; and the same when nothing changed.

mawasu has them as the training commands of four features, which is its dearest form: four plans, four ledgers, four
outputs stored. dvc has them as four stages of one dvc.yaml, with outputs (the same work) and without (less than that).
Every run changes the one input of each command. dvc comes from PyPI into an environment of its own, its byte code
compiled, its analytics and its look for updates off.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.report import Report, Row, alternately
from bench.world import BIN, MAWASU, Repo, environment, place, run

STEPS = ("s1", "s2", "s3", "s4")
RUN, NOTHING = 0.6, 0.5  # of dvc's

_FEATURE = """\
feature: {step}
training:
  paths: [input.txt]
  command: touch "$MAWASU_MODEL/m"
"""
_STAGE = "  {step}:\n    wdir: {step}\n    cmd: {command}\n    deps: [input.txt]\n"
_MAKEFILE = """\
all: {targets}
%/m: %/input.txt
\t@touch $@
"""


class Tool:
    """A repository in which a tool has four steps; `touch` changes what they read."""

    def __init__(self, repo: Repo, argv: list[str], environ: Mapping[str, str], files: Mapping[str, str]) -> None:
        self.repo, self.argv, self.environ = repo, argv, environ
        self._count = 0
        repo.commit({**files, **self._inputs()}, "first")

    def _inputs(self) -> dict[str, str]:
        self._count += 1
        return {f"{step}/input.txt": f"{self._count}\n" for step in STEPS}

    def touch(self) -> None:
        for name, text in self._inputs().items():
            (self.repo.path / name).write_text(text)

    def run(self) -> str:
        return run(self.argv, self.repo.path, self.environ)


def mawasu(top: Path, environ: Mapping[str, str]) -> Tool:
    files = {f"{step}/mawasu.yaml": _FEATURE.format(step=step) for step in STEPS}
    return Tool(Repo(top / "mawasu", environ), [MAWASU, "run"], environ, files)


def make(top: Path, environ: Mapping[str, str]) -> Tool:
    files = {"Makefile": _MAKEFILE.format(targets=" ".join(f"{step}/m" for step in STEPS))}
    return Tool(Repo(top / "make", environ), ["make", "-s"], environ, files)


def dvc(top: Path, environ: Mapping[str, str], program: Path, name: str, *, outputs: bool) -> Tool:
    environ = {**environ, "DVC_NO_ANALYTICS": "1", "PATH": f"{program.parent}:{environ['PATH']}"}
    command = "touch m\n    outs: [m]" if outputs else '"true"'
    stages = "".join(_STAGE.format(step=step, command=command) for step in STEPS)
    repo = Repo(top / name, environ)
    for argv in (["init", "-q"], ["config", "core.analytics", "false"], ["config", "core.check_update", "false"]):
        run([str(program), *argv], repo.path, environ)
    return Tool(repo, [str(program), "repro", "-q"], environ, {"dvc.yaml": f"stages:\n{stages}"})


def install_dvc(top: Path, environ: Mapping[str, str]) -> tuple[Path, str]:
    """The program and its version."""
    home, uv = top / "dvc-env", str(BIN / "uv")
    user = {**environ, "HOME": str(Path.home())}  # uv's cache is the user's
    run([uv, "venv", "-q", "--python", sys.executable, str(home)], top, user)
    run([uv, "pip", "install", "-q", "--compile-bytecode", "--python", str(home / "bin/python"), "dvc"], top, user)
    return home / "bin/dvc", run([str(home / "bin/dvc"), "--version"], top, environ).strip()


def measure(quick: bool) -> list[Report]:
    with place() as top:
        environ = environment(top)
        peers = {name: value for name, value in environ.items() if name != "PYTHONPATH"}  # that is for mawasu
        tools = {"mawasu run": mawasu(top, environ), "make": make(top, peers)}
        version = ""
        if not quick:
            program, version = install_dvc(top, peers)
            tools["dvc repro"] = dvc(top, peers, program, "dvc", outputs=True)
            tools["dvc repro, stages `true` without outputs"] = dvc(top, peers, program, "dvc-true", outputs=False)
        pythons = [[sys.executable, "-c", "pass"]] * len(STEPS)
        bare: dict[str, Callable[[], object]] = {
            "four bare Python processes": lambda: [run(argv, top, peers) for argv in pythons]
        }
        times = 1 if quick else 9
        for tool in tools.values():
            tool.run()
        changed = _changed(tools, bare, times)
        nothing = alternately({name: tool.run for name, tool in tools.items()}, times)
    lines = [f"dvc {version}"] if version else []
    return [
        _table("Four trivial steps, all changed", lines, changed, RUN),
        _table("Four trivial steps, nothing changed", lines, nothing, NOTHING),
    ]


def _changed(tools: Mapping[str, Tool], bare: Mapping[str, Callable[[], object]], times: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for _ in range(times):
        for tool in tools.values():
            tool.touch()
        for name, values in alternately({**{name: tool.run for name, tool in tools.items()}, **bare}, 1).items():
            found.setdefault(name, []).extend(values)
    return found


def _table(title: str, lines: list[str], times: Mapping[str, list[float]], share: float) -> Report:
    report = Report(title, lines)
    rows: dict[str, Row] = {name: report.add(name, values) for name, values in times.items()}
    for name in (name for name in rows if name.startswith("dvc")):
        ratio = rows["mawasu run"].median / rows[name].median
        report.add(f"mawasu run ÷ {name}", [ratio], unit="×", limit=share)
    return report
