"""`mawasu reconcile`: what the clock brings. Runs that died, previews whose time is over or whose branch is gone, and
new data, which comes last because it may take long."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator

from mawasu.errors import MawasuError
from mawasu.executor.commit import git_dir, read_feature
from mawasu.executor.leaving import EXPIRED, branch_gone, expired, take_away
from mawasu.executor.refresh import Origin, Refresh
from mawasu.executor.sites import Live
from mawasu.git.repository import read_tree
from mawasu.ledger.entries import BuildFinished
from mawasu.ledger.fold import BuildState, unfinished
from mawasu.ledger.ledger import Ledger
from mawasu.runner.claim import is_walked
from mawasu.runner.commits import Commits
from mawasu.runner.push import Runner
from mawasu.spec.feature import Feature
from mawasu.words import Push, Result

TRIES = 2
"""Runs that may walk one build before it is given up: one that dies of itself must not be started for ever."""

LATELY = 2 * 86400.0
"""Seconds that what is gone is looked after."""

REPOSITORY = "reconcile"
"""The repository below `home.repos` that commits are brought into from the records."""

Branches = Callable[[str], Collection[str] | None]
"""The branches of a project; None when that cannot be known."""

Retry = Callable[[str], bool]
"""Starts a run of Cloud Build again; False when that cannot be done."""


def reconcile(
    runner: Runner, branches: Branches, retry: Retry, origin: Callable[[str], Origin], now: float | None = None
) -> Iterator[str]:
    """Do what is due, and say it, a line each. A fault with one feature keeps no other waiting.

    `origin`: the repository of a project, which takes the commits of new data.
    """
    now = time.time() if now is None else now
    ledgers = {feature: runner.records.ledger(feature) for feature in runner.records.features()}
    for feature, ledger in ledgers.items():
        try:
            yield from _dead_runs(ledger, runner, retry)
            yield from _deleted_branches(ledger, runner, branches)
            yield from _expired(ledger, runner, now)
            _left_over(ledger, runner, now)
        except MawasuError as error:
            yield f"{feature}: {error}"
    yield from _refreshing(runner, origin).run(ledgers, now)


def _refreshing(runner: Runner, origin: Callable[[str], Origin]) -> Refresh:
    def read(build: BuildState, ledger: Ledger) -> Feature | None:
        assert build.push.new is not None, "a deleted branch is of no environment"
        repo = git_dir(runner.home.repos, REPOSITORY)
        commits = Commits(runner.records.store, ledger.feature)
        if not commits.has(build.push.new):
            return None
        commits.bring(repo, build.push.new)
        return read_feature(repo, read_tree(repo, build.push.new), build.file).feature

    return Refresh(runner.records.store, runner.reach, origin, read)


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
        push = Push(project, branch, None, None, by="reconcile")
        yield from branch_gone(ledger, _live(runner, ledger.feature), push)


def _expired(ledger: Ledger, runner: Runner, now: float) -> Iterator[str]:
    for name in expired(ledger.state(), now):
        take_away(ledger, _live(runner, ledger.feature), name, EXPIRED)
        yield f"{ledger.feature}: {name} is gone: {EXPIRED}"


def _left_over(ledger: Ledger, runner: Runner, now: float) -> None:
    """What still runs of environments that went lately: somebody was cut off between the entry and the removal."""
    went = [one.name for one in ledger.state().environments.values() if one.gone and now - one.gone_since < LATELY]
    for name in went:
        _live(runner, ledger.feature).services.remove(ledger.feature, name, drain=0)


def _live(runner: Runner, feature: str) -> Live:
    live = runner.outfit(feature, None).live
    assert live is not None, "where there are environments something serves them"
    return live
