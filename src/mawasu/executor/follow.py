"""A build as lines for people, while it happens: what `git push`, `mawasu logs -f` and `mawasu run` print."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import msgspec

from mawasu.errors import CorruptError
from mawasu.ledger.entries import (
    AnyBody,
    BuildFinished,
    BuildPlanned,
    BuildQueued,
    StepFinished,
    StepStarted,
)
from mawasu.ledger.ledger import Ledger
from mawasu.plan import Plan
from mawasu.ports import Store
from mawasu.words import Result, short

MARKS = {
    Result.OK: "✓",
    Result.SERVED: "✓",
    Result.NOTHING: "·",
    Result.SUPERSEDED: "↷",
    Result.BLOCKED: "■",
}
SIGN_OF_LIFE = 10.0
"""Seconds of silence after which whoever follows is told that the step still runs."""

SLOW = {"data", "image", "train", "evaluate", "start"}
"""Steps that may take long: that they began is worth a line of its own."""


def follow(
    ledger: Ledger,
    store: Store,
    build: int,
    start: int = 1,
    wait: bool = True,
    until: Callable[[], bool] = lambda: False,
) -> Iterator[str]:
    """Lines of one build from entry `start` on, until it is finished (`wait`: as they come) or `until()` says so.

    While a step runs on, a line now and then says so.
    """
    number, running, since, told = start, "", 0.0, time.monotonic()
    while True:
        for entry in ledger.entries(number):
            number = entry.number + 1
            if getattr(entry.body, "build", None) != build:
                continue
            yield from lines(entry.body, store, ledger.feature)
            if isinstance(entry.body, BuildFinished):
                return
            running = entry.body.step if isinstance(entry.body, StepStarted) else ""
            since = told = time.monotonic()
        if not wait or until():
            return
        ledger.wait(number, max(0.5, 2 * ledger.poll))
        if running and time.monotonic() - told >= SIGN_OF_LIFE:
            told = time.monotonic()
            yield f"  {running} … {told - since:.0f} s"


def lines(body: AnyBody, store: Store, feature: str) -> Iterator[str]:
    """One entry for people; entries that tell them nothing new give no line."""
    match body:
        case BuildQueued(build, push, environment):
            commit = short(push.new) if push.new else "deleted"
            where = f" → {environment}" if environment else " (working tree)" if push.dirty else ""
            yield f"{feature} build {build} · {push.branch} {commit}{where}"
        case BuildPlanned():
            yield from (f"  {line}" for line in plan_of(store, body))
        case StepStarted(step=step) if step.partition("/")[0] in SLOW:
            yield f"  {step} …"
        case StepFinished(step=step, outcome=outcome):
            mark = MARKS.get(outcome.result, "✗")
            said = outcome.message or ("" if outcome.result is Result.OK else str(outcome.result))
            yield f"  {mark} {step} {outcome.seconds:.1f} s" + (f"  {said}" if said else "")
        case BuildFinished():
            yield from _ended(body)


def _ended(body: BuildFinished) -> Iterator[str]:
    yield from (f"  {fault}" for fault in body.faults)
    mark = MARKS.get(body.result, "✗")
    yield f"{mark} build {body.build} {body.result}: {body.reason} ({body.seconds:.1f} s)"
    if body.hint:
        yield f"  {body.hint}"


def plan_of(store: Store, body: BuildPlanned) -> list[str]:
    """The plan as its own lines; the bare steps if its text is gone."""
    try:
        return msgspec.json.decode(store.read(body.plan), type=Plan).lines()
    except CorruptError:
        return [f"{'▶' if runs else '·'} {name}" for name, _, runs in body.steps]
