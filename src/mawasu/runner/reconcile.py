"""`mawasu reconcile`: what the clock brings. Previews whose time is over or whose branch is gone, runs that died."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator

from mawasu.errors import MawasuError
from mawasu.executor.deploy import DRAIN
from mawasu.executor.sites import Live
from mawasu.executor.taking import queue
from mawasu.ledger.entries import BuildFinished, BuildQueued, EnvironmentGone
from mawasu.ledger.fold import State, unfinished
from mawasu.ledger.ledger import Ledger
from mawasu.ledger.moved import MovedError
from mawasu.runner.claim import is_walked
from mawasu.runner.push import Runner
from mawasu.words import Push, Result

TRIES = 2
"""Runs that may walk one build before it is given up: one that dies of itself must not be started for ever."""

LATELY = 2 * 86400.0
"""Seconds that what is gone is looked after."""

Branches = Callable[[str], Collection[str] | None]
"""The branches of a project; None when that cannot be known."""

Retry = Callable[[str], bool]
"""Starts a run of Cloud Build again; False when that cannot be done."""


def reconcile(runner: Runner, branches: Branches, retry: Retry, now: float | None = None) -> Iterator[str]:
    """Do what is due, and say it, a line each. A fault with one feature keeps no other waiting."""
    for feature in runner.records.features():
        ledger = runner.records.ledger(feature)
        try:
            yield from _dead_runs(ledger, runner, retry)
            yield from _deleted_branches(ledger, runner, branches)
            yield from _expired(ledger, runner, time.time() if now is None else now)
            _left_over(ledger, runner, time.time() if now is None else now)
        except MawasuError as error:
            yield f"{feature}: {error}"


def _dead_runs(ledger: Ledger, runner: Runner, retry: Retry) -> Iterator[str]:
    """Builds that nobody walks any more: their run is started again, once; then they are given up."""
    for build in unfinished(ledger.state()):
        if is_walked(build, runner.runs):
            continue
        if build.taken and len(build.taken) < TRIES and retry(build.taken[-1]):
            yield f"{ledger.feature}: build {build.number} had lost its run; it is started again"
            continue
        reason = f"its run ended before it did ({build.taken[-1]})" if build.taken else "no run ever took it"
        ledger.append(BuildFinished(build.number, Result.FAILED, reason, "push again, or run its trigger again"))
        yield f"{ledger.feature}: build {build.number} is given up: {reason}"


def _deleted_branches(ledger: Ledger, runner: Runner, branches: Branches) -> Iterator[str]:
    """A branch is gone: its preview goes, a stable environment serves on."""
    state = ledger.state()
    there: dict[str, Collection[str] | None] = {}
    for name, head in state.heads.items():
        project, _, branch = name.partition("/")
        if not head or not project:
            continue
        if project not in there:
            there[project] = branches(project)
        known = there[project]
        if known is None or branch in known:
            continue
        yield from _deleted(ledger, runner, project, branch)


def _deleted(ledger: Ledger, runner: Runner, project: str, branch: str) -> Iterator[str]:
    reason = f"branch {branch} was deleted"
    while True:
        state = ledger.state()
        try:
            taken = queue(ledger, BuildQueued(0, Push(project, branch, None, None, by="reconcile"), ""), state)
            break
        except MovedError:
            continue
    ledger.append(BuildFinished(taken.build, Result.NOTHING, reason))
    for environment in ledger.state().environments.values():
        if environment.branch == branch and environment.expires is not None and not environment.gone:
            remove(ledger, runner, environment.name, reason)
            yield f"{ledger.feature}: {environment.name} is gone with its branch"


def _expired(ledger: Ledger, runner: Runner, now: float) -> Iterator[str]:
    for environment in list(ledger.state().environments.values()):
        if environment.gone or environment.expires is None or _busy(ledger.state(), environment.name):
            continue
        if now - environment.last_push > environment.expires:
            remove(ledger, runner, environment.name, "nobody pushed to it for its time")
            yield f"{ledger.feature}: {environment.name} is gone: nobody pushed to it for its time"


def _left_over(ledger: Ledger, runner: Runner, now: float) -> None:
    """What still runs of environments that went lately: somebody was cut off between the entry and the removal."""
    went = [one.name for one in ledger.state().environments.values() if one.gone and now - one.gone_since < LATELY]
    for name in went:
        _live(runner, ledger.feature).services.remove(ledger.feature, name, drain=0)


def remove(ledger: Ledger, runner: Runner, environment: str, reason: str) -> None:
    """Take an environment away: first from the gateway, then what runs; recorded in between."""
    live = _live(runner, ledger.feature)
    live.sites.remove(ledger.feature, environment)
    ledger.append(EnvironmentGone(environment, reason))
    live.services.remove(ledger.feature, environment, drain=DRAIN)


def _live(runner: Runner, feature: str) -> Live:
    live = runner.outfit(feature, None).live
    assert live is not None, "where there are environments something serves them"
    return live


def _busy(state: State, environment: str) -> bool:
    return any(build.environment == environment for build in unfinished(state))
