"""A page whose model's API is well, gone, hanging, slow, dripping, failing or raving: what its readers wait."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench import page, readers
from bench.redis_server import RedisServer
from bench.report import Report

SECONDS = 2.0  # each state
OWN = 0.02  # seconds, at p99, that the page may take beside its model
PAGES = 50  # different ones, where a Redis keeps their answers
QUICK = ("well", "killed", "500")
CALLERS = {
    "threads": "mawasu.client, a thread for each reader",
    "loop": "mawasu.client, an event loop for all",
    "redis": "mawasu.client, threads, answers kept in a Redis",
    "httpx": "plain httpx: one client, a time-out, the fall-back for every error",
}


def measure(quick: bool) -> list[Report]:
    return [_report(caller, quick) for caller in (["redis", "httpx"] if quick else CALLERS)]


def _report(caller: str, quick: bool) -> Report:
    report = Report(
        f"a page by {CALLERS[caller]}",
        [
            f"{readers.READERS} readers, each again {readers.REST * 1000:.0f} ms after its page came; "
            f"the page gives its model {page.BUDGET * 1000:.0f} ms"
        ],
    )
    with tempfile.TemporaryDirectory() as directory:
        top = Path(directory)
        if caller == "redis":
            with (
                RedisServer(top) as redis,
                readers.living(top, "threads", redis=redis.url, pages=PAGES) as world,
            ):
                _fill(report, world, quick, ours=True)
                world.become("killed")
                redis.stall()
                _row(report, world, "killed, Redis stopped", quick, ours=True)
        else:
            with readers.living(top, caller) as world:
                _fill(report, world, quick, ours=caller != "httpx")
    return report


def _fill(report: Report, world: readers.World, quick: bool, *, ours: bool) -> None:
    world.read(visits=1 if quick else 20)  # the first calls open connections
    for mode in QUICK if quick else readers.MODES:
        world.recover()
        world.become(mode)
        _row(report, world, mode, quick, ours=ours)


def _row(report: Report, world: readers.World, state: str, quick: bool, *, ours: bool) -> None:
    seen = world.read(visits=1) if quick else world.read(seconds=SECONDS)
    came = " ".join(f"{count} {source}" for source, count in sorted(seen.sources.items()))
    limit = (page.BUDGET + OWN) * 1000 if ours else None
    note = f"p50 {seen.p50 * 1000:.1f}; {came}; {seen.calls} calls came"
    report.add(f"API {state}: p99", [seen.p99 * 1000], limit=limit, note=note)
