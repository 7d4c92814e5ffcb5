"""`mawasu --help`, as a process from its start to its end, beside an interpreter that does nothing."""

from __future__ import annotations

import sys
from functools import partial

from bench.report import Report, alternately
from bench.world import MAWASU, environment, place, run

GOAL = 150.0  # ms


def measure(quick: bool) -> list[Report]:
    with place() as top:
        environ = environment(top)
        commands = {
            "mawasu --help": [MAWASU, "--help"],
            "mawasu status (empty home)": [MAWASU, "status"],
            "ceiling: python -c pass": [sys.executable, "-c", "pass"],
        }
        doers = {name: partial(run, argv, top, environ) for name, argv in commands.items()}
        alternately(doers, 1)  # byte code and file cache
        times = alternately(doers, 2 if quick else 15)
    report = Report("Start of the command")
    report.add("mawasu --help", times["mawasu --help"], limit=GOAL)
    report.add("mawasu status (empty home)", times["mawasu status (empty home)"])
    report.add("ceiling: python -c pass", times["ceiling: python -c pass"])
    return [report]
