"""What a benchmark found: rows of medians with their spread, beside a goal or the peer of the same run."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """One thing that was measured some times. Goals are in the row's unit: at most `limit`, at least `least`."""

    what: str
    values: tuple[float, ...]
    unit: str = "ms"
    limit: float | None = None
    note: str = ""
    least: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def goal(self) -> str:
        if self.kept is None:
            return ""
        goal = f"≤ {number(self.limit)}" if self.limit is not None else f"≥ {number(self.least or 0)}"
        return goal if self.kept else f"MISSED {goal}"

    @property
    def kept(self) -> bool | None:
        """None when there is no goal."""
        if self.limit is not None:
            return self.median <= self.limit
        return None if self.least is None else self.median >= self.least


@dataclass
class Report:
    """A table. `title` says what was measured, `lines` what one must know to read it."""

    title: str
    lines: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def add(
        self,
        what: str,
        values: Sequence[float],
        *,
        unit: str = "ms",
        limit: float | None = None,
        least: float | None = None,
        note: str = "",
    ) -> Row:
        """Values in the row's unit; `milliseconds` makes them of seconds."""
        row = Row(what, tuple(values), unit, limit, note, least)
        self.rows.append(row)
        return row

    def text(self) -> str:
        head = ("", "median", "min … max", "n", "goal", "")
        body = [
            (
                row.what,
                f"{number(row.median)} {row.unit}".rstrip(),
                f"{number(min(row.values))} … {number(max(row.values))}" if len(row.values) > 1 else "",
                str(len(row.values)),
                row.goal,
                row.note,
            )
            for row in self.rows
        ]
        widths = [max(len(line[i]) for line in (head, *body)) for i in range(len(head))]
        lines = [self.title, *(f"  {line}" for line in self.lines)]
        for line in (head, *body):
            cells = (
                cell.ljust(width) if i in (0, 5) else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            lines.append(f"  {'  '.join(cells)}".rstrip())
        return "\n".join(lines)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        rows = [{**asdict(row), "median": row.median, "kept": row.kept} for row in self.rows]
        return {"title": self.title, "lines": self.lines, "rows": rows}


def number(value: float) -> str:
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def milliseconds(seconds: Sequence[float]) -> list[float]:
    return [value * 1000 for value in seconds]


def timed(do: Callable[[], object], times: int) -> list[float]:
    """Milliseconds of each call."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        do()
        found.append((time.perf_counter() - began) * 1000)
    return found


def alternately(doers: Mapping[str, Callable[[], object]], times: int) -> dict[str, list[float]]:
    """Milliseconds of each, one after the other in every round, so that what the machine does meanwhile hits all."""
    found: dict[str, list[float]] = {name: [] for name in doers}
    for _ in range(times):
        for name, do in doers.items():
            found[name] += timed(do, 1)
    return found


def machine() -> dict[str, object]:
    """Where and when: a number without this says nothing."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    git = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
    return {
        "date": time.strftime("%Y-%m-%d %H:%M %Z"),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "git": git,
        "load": [round(load, 2) for load in os.getloadavg()],
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
