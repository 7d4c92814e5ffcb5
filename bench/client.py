"""A page whose model's API is well, gone, hanging, slow, dripping, failing or raving: what its readers wait."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench import page
from bench.report import Report

SECONDS = 5.0  # each state
OWN = 0.02  # seconds, at p99, that the page may take beside its model


def measure(quick: bool) -> list[Report]:
    reports = []
    for caller in page.CALLERS:
        report = Report(
            {"mawasu": "a page by mawasu.client", "naive": "the same page by plain httpx (one client, a time-out)"}[
                caller
            ],
            [
                f"{page.READERS} readers, each again 10 ms after its page came; the page gives its model "
                f"{page.BUDGET * 1000:.0f} ms, and has a fall-back"
            ],
        )
        with tempfile.TemporaryDirectory() as top, page.living(Path(top), caller) as world:
            world.read(visits=1 if quick else 20)  # the first calls open connections
            for mode in page.MODES:
                world.recover()
                world.become(mode)
                seen = world.read(visits=2) if quick else world.read(seconds=SECONDS)
                note = " ".join(f"{count} {source}" for source, count in sorted(seen.sources.items()))
                limit = (page.BUDGET + OWN) * 1000 if caller == "mawasu" else None
                report.add(f"API {mode}: p99", [seen.p99 * 1000], limit=limit, note=f"{note}; {seen.calls} calls came")
                report.add(f"API {mode}: p50", [sorted(seen.seconds)[len(seen.seconds) // 2] * 1000])
        reports.append(report)
    return reports
