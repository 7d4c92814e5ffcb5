"""More requests than the server can answer, at a pace that does not wait for it (h2load's `--rps`, an open loop as far
as its connections reach): what is answered all the same, how late, and how soon the rest is told no.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.report import Report
from bench.serving_world import Model, Running

CALLERS, TIMES = 64, 3  # connections at capacity; how much more comes then
MANY = 256  # connections of those who do not wait: more than are let in


@dataclass(frozen=True)
class Seen:
    """Milliseconds of each answer, by whether it was one."""

    seconds: float
    answered: list[float]
    refused: list[float]  # 503
    failed: int

    @property
    def rate(self) -> float:
        return len(self.answered) / self.seconds


Overload = tuple[Seen, Seen]
"""At capacity, and above it."""


def flood(running: Running, model: Model, seconds: int) -> Overload | None:
    """None without h2load."""
    if shutil.which("h2load") is None:
        return None
    capacity = _ask(running, model, seconds, CALLERS, 0)
    return capacity, _ask(running, model, seconds, MANY, capacity.rate * TIMES)


def report_of(kind: str, rounds: Sequence[Overload | None], seconds: int) -> Report:
    report = Report(
        f"{kind.capitalize()}, {TIMES} times what can be answered",
        [f"h2load for {seconds} s; capacity: {CALLERS} callers who ask as soon as they are answered"],
    )
    pairs = [pair for pair in rounds if pair is not None]
    if not pairs:
        report.lines.append("not measured: h2load is missing (apt install nghttp2-client)")
        return report
    report.add("capacity", [normal.rate for normal, _ in pairs], unit="/s")
    report.add("answered at overload", [above.rate for _, above in pairs], unit="/s")
    report.add("refused at overload", [len(above.refused) / above.seconds for _, above in pairs], unit="/s")
    report.add("answered ÷ capacity", [above.rate / normal.rate for normal, above in pairs], unit="×", least=0.8)
    ratios = [p99(above.answered) / p99(normal.answered) for normal, above in pairs]
    report.add("p99 of those answered ÷ p99 at capacity", ratios, unit="×", limit=2.0)
    report.add("refused within, p99", [p99(above.refused) for _, above in pairs], limit=50.0)
    report.add("failed otherwise", [sum(one.failed for pair in pairs for one in pair)], unit="", limit=0)
    return report


def p99(times: list[float]) -> float:
    """0 when there are none."""
    return sorted(times)[int(len(times) * 0.99)] if times else 0.0


def _ask(running: Running, model: Model, seconds: int, callers: int, rate: float) -> Seen:
    rows, _ = model.asked()
    body, log = model.directory / "body.json", model.directory / "h2load.log"
    body.write_text(json.dumps(rows[0]))
    log.unlink(missing_ok=True)
    pace = [f"--rps={max(1, round(rate / callers))}"] if rate else []
    counts = ["-t1", f"-c{callers}", f"-D{seconds}", "--warm-up-time=1", *pace, f"--log-file={log}"]
    asked = ["-d", str(body), "-H", "content-type: application/json", f"http://127.0.0.1:{running.port}/predict"]
    subprocess.run(["h2load", "--h1", *counts, *asked], capture_output=True, check=True)
    return _read(log, seconds)


def _read(log: Path, seconds: float) -> Seen:
    """Lines of when a request began, its status, its microseconds (nghttp2.org/documentation/h2load.1.html)."""
    answered, refused, failed = [], [], 0
    for line in log.read_text().splitlines():
        _, status, microseconds = line.split("\t")
        if status == "200":
            answered.append(int(microseconds) / 1000)
        elif status == "503":
            refused.append(int(microseconds) / 1000)
        else:
            failed += 1
    return Seen(seconds, answered, refused, failed)
