"""`mawasu build`: one pushed commit, walked here to its end, unless another run is at it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from mawasu.data.reach import Reach
from mawasu.errors import MawasuError, SpecError, UsageError
from mawasu.executor.build import Build, Shop
from mawasu.executor.commit import git_dir, read_feature, root_of
from mawasu.executor.follow import follow
from mawasu.executor.records import Records
from mawasu.executor.taking import read_push
from mawasu.git.repository import features_in, read_tree
from mawasu.home import Home
from mawasu.ledger.entries import BuildFinished, BuildQueued
from mawasu.ledger.fold import BuildState
from mawasu.ledger.ledger import Ledger
from mawasu.runner.claim import Do, Runs, claim, give_way, has_newer
from mawasu.runner.commits import Commits
from mawasu.spec.feature import Gcp
from mawasu.words import Push, Result

LOOK = 3.0
"""Seconds between looks for a newer push of the branch."""


class Outfit(Protocol):
    """What a feature is built and served with. Raises MawasuError where its settings cannot be had here."""

    def __call__(self, feature: str, settings: Gcp | None, environment: str = "") -> Shop: ...


@dataclass
class Runner:
    """What a run has at hand. `home.repos` holds the repository; `outfit` is asked once for every build; `reach` is
    what may be read outside the repository."""

    home: Home
    records: Records
    runs: Runs
    outfit: Outfit
    reach: Reach
    say: Callable[[str], None] = lambda _: None


@dataclass(frozen=True)
class Done:
    """How the push ended for one feature."""

    feature: str
    build: int
    result: Result
    reason: str = ""
    hint: str = ""


def build(runner: Runner, push: Push, only: str = "") -> list[Done]:
    """Build every feature of a pushed commit, or `only` one. Raises UsageError when there is no such feature."""
    assert push.new is not None
    repo = git_dir(runner.home.repos, push.project)
    tree = read_tree(repo, push.new)
    found = [(file, *read_push(repo, tree, file, push)) for file in features_in(tree)]
    wanted = [one for one in found if only in ("", one[1])]
    if only and not wanted:
        names = ", ".join(sorted(name for _, name, _ in found)) or "none"
        raise UsageError(f"commit {push.new[:10]} has no feature `{only}`", f"it has {names}")
    return [_build(runner, repo, file, feature, queued) for file, feature, queued in wanted]


def _build(runner: Runner, repo: str, file: str, feature: str, queued: BuildQueued) -> Done:
    assert queued.push.new is not None
    ledger = runner.records.ledger(feature)
    claimed = claim(ledger, queued, runner.runs)
    build = ledger.state().builds[claimed.build]
    match claimed.do:
        case Do.DONE:
            runner.say(f"{feature} build {build.number} was this commit: {build.result}, {build.reason}")
        case Do.LATE:
            runner.say(f"{feature} build {build.number}: a newer push to {queued.push.branch} was faster")
        case Do.FOLLOW:
            runner.say(f"{feature} build {build.number} is under way elsewhere; following it")
            for line in follow(ledger, runner.records.store, build.number):
                runner.say(line)
        case Do.WALK:
            give_way(ledger, build, runner.runs)
            commits = Commits(runner.records.store, feature)
            commits.keep(repo, queued.push.new, root_of(file))
            _walk(runner, ledger, build, repo)
    ended = ledger.state().builds[build.number]
    assert ended.result is not None
    return Done(feature, build.number, ended.result, ended.reason, ended.hint)


def _walk(runner: Runner, ledger: Ledger, build: BuildState, repo: str) -> None:
    """Walk the build; a newer push of the branch gives it up on the way."""
    try:
        shop = runner.outfit(ledger.feature, _settings(repo, build), build.environment)
    except MawasuError as error:
        ledger.append(BuildFinished(build.number, Result.FAILED, error.message, error.hint))
        return
    cancel, ended = threading.Event(), threading.Event()

    def watch() -> None:
        while not ended.wait(LOOK):
            try:
                if has_newer(ledger.state(), build):
                    cancel.set()
                    return
            except MawasuError as error:  # the walk meets it too, and says so where it counts
                runner.say(f"cannot look for newer pushes: {error}")

    watcher = threading.Thread(target=watch, name="newer", daemon=True)
    watcher.start()
    try:
        Build(shop, ledger, build).run(cancel)
    finally:
        ended.set()
        watcher.join()


def _settings(repo: str, build: BuildState) -> Gcp | None:
    """What the commit says of Google Cloud; None for a file with faults: the build tells them."""
    assert build.push.new is not None
    try:
        return read_feature(repo, read_tree(repo, build.push.new), build.file).feature.gcp
    except SpecError:
        return None


def lines(done: list[Done]) -> Iterator[str]:
    """The end of a push for people, a line a feature."""
    for one in done:
        yield f"{one.feature} build {one.build} {one.result}: {one.reason}"


def worst(done: list[Done]) -> Result | None:
    """The result that decides the exit status: a failure before a block before all that is well."""
    results = [one.result for one in done]
    return next((result for result in (Result.FAILED, Result.BLOCKED) if result in results), None)
