"""Swaps under load: pushes that touch only the handler, while callers never stop asking through the gateway."""

from __future__ import annotations

import time

from bench import feature, load
from bench.report import Report, milliseconds
from bench.world import Repo, World, living

NAME = "bench-swap"
SWAPS = 20
GOAL = 0  # failed requests
STILL = 10.0  # seconds of the same load without swaps
PATIENCE = 60.0


def measure(quick: bool) -> list[Report]:
    swaps, still = (1, 0.5) if quick else (SWAPS, STILL)
    with living() as world:
        repo = world.repo(NAME, feature.project(NAME, "plain"))
        repo.push()
        _await(world, "0")
        callers = load.start(world, NAME)
        time.sleep(still)
        before = callers.stop()
        callers = load.start(world, NAME)
        seconds = [_swap(world, repo, str(number)) for number in range(1, swaps + 1)]
        during = callers.stop()
        callers = load.start(world, NAME)
        time.sleep(still)
        after = callers.stop()
    report = Report(
        f"{swaps} swaps under load",
        [f"{load.CONNECTIONS} connections of {callers.name}, each asks again as soon as it is answered"],
    )
    report.add(f"failed requests of {during.requests:,} during the swaps", [during.failed], unit="", limit=GOAL)
    report.add("failed requests without swaps", [before.failed + after.failed], unit="", limit=GOAL)
    for what, field in (("requests a second", "rps"), ("p50", "p50"), ("p99", "p99")):
        unit = "/s" if field == "rps" else "ms"
        report.add(f"{what}, with swaps (and the builds that lead to them)", [getattr(during, field)], unit=unit)
        report.add(f"{what}, without", [getattr(found, field) for found in (before, after)], unit=unit)
    report.add("push → first new answer, under this load", milliseconds(seconds))
    return [report]


def _swap(world: World, repo: Repo, stamp: str) -> float:
    """Seconds from the push of another handler until it answers."""
    repo.commit(feature.handler("plain", stamp))
    began = time.perf_counter()
    process = repo.start_push()
    _await(world, stamp)
    seconds = time.perf_counter() - began
    process.communicate()
    return seconds


def _await(world: World, stamp: str) -> None:
    caller = world.caller(NAME)
    give_up = time.monotonic() + PATIENCE
    while (answer := caller.ask())[0] != 200 or answer[1]["api"] != stamp:
        if time.monotonic() > give_up:
            raise SystemExit(f"version {stamp} was never served: {answer}")
        time.sleep(0.01)
