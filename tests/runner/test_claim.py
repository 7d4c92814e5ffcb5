"""Whose work a push is, where several runs may come for it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mawasu.errors import UsageError
from mawasu.ledger.entries import BuildFinished, BuildQueued
from mawasu.ledger.ledger import Ledger
from mawasu.ledger.shelf import DirectoryShelf
from mawasu.runner.claim import Claim, Do, claim, give_way, has_newer
from mawasu.words import Commit, Push, Result

A, B = Commit("a" * 40), Commit("b" * 40)


class Runs:
    """What Cloud Build would say of its runs: those that live, in the order in which they were asked for."""

    def __init__(self, me: str, living: set[str], order: list[str]) -> None:
        self.me, self._living, self._order = me, living, order

    def alive(self, run: str) -> bool:
        return run in self._living

    def later(self, run: str) -> bool:
        return self._order.index(run) > self._order.index(self.me)


def runs(me: str, *living: str, order: str = "first second third") -> Runs:
    return Runs(me, {me, *living}, order.split())


def queued(commit: Commit, branch: str = "main", project: str = "shop") -> BuildQueued:
    return BuildQueued(0, Push(project, branch, None, commit), "staging")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(DirectoryShelf(tmp_path / "ledger", "callback", tmp_path / "checkpoints"))


def end(ledger: Ledger, build: int, result: Result) -> None:
    ledger.append(BuildFinished(build, result))


def test_a_new_push_is_walked_by_the_run_that_brings_it(ledger: Ledger) -> None:
    assert claim(ledger, queued(A), runs("first")) == Claim(Do.WALK, 1)
    assert ledger.state().builds[1].taken == ("first",)


def test_a_second_run_of_the_same_commit_follows_the_first(ledger: Ledger) -> None:
    claim(ledger, queued(A), runs("first"))
    assert claim(ledger, queued(A), runs("second", "first")) == Claim(Do.FOLLOW, 1)


def test_a_build_whose_run_died_is_taken_over(ledger: Ledger) -> None:
    claim(ledger, queued(A), runs("first"))
    assert claim(ledger, queued(A), runs("second")) == Claim(Do.WALK, 1)
    assert ledger.state().builds[1].taken == ("first", "second")


def test_a_commit_that_was_built_well_is_not_built_again(ledger: Ledger) -> None:
    claim(ledger, queued(A), runs("first"))
    end(ledger, 1, Result.SERVED)
    assert claim(ledger, queued(A), runs("second")) == Claim(Do.DONE, 1)


@pytest.mark.parametrize("result", [Result.FAILED, Result.BLOCKED])
def test_a_commit_whose_build_failed_is_built_again_when_it_is_asked_for_again(ledger: Ledger, result: Result) -> None:
    claim(ledger, queued(A), runs("first"))
    end(ledger, 1, result)
    assert claim(ledger, queued(A), runs("second")) == Claim(Do.WALK, 2)


def test_going_back_to_an_older_commit_is_a_new_build(ledger: Ledger) -> None:
    for number, (commit, run) in enumerate(((A, "first"), (B, "second"), (A, "third")), start=1):
        assert claim(ledger, queued(commit), runs(run)) == Claim(Do.WALK, number)
        end(ledger, number, Result.SERVED)


def test_a_push_whose_run_comes_after_that_of_a_newer_push_gives_way(ledger: Ledger) -> None:
    assert claim(ledger, queued(B), runs("second")) == Claim(Do.WALK, 1)
    assert claim(ledger, queued(A), runs("first", "second")) == Claim(Do.LATE, 2)
    assert ledger.state().builds[2].result is Result.SUPERSEDED
    assert not has_newer(ledger.state(), ledger.state().builds[1])


def test_an_older_build_learns_of_a_newer_push_of_its_branch_only(ledger: Ledger) -> None:
    claim(ledger, queued(A), runs("first"))
    claim(ledger, queued(B, branch="other"), runs("second"))
    assert not has_newer(ledger.state(), ledger.state().builds[1])
    claim(ledger, queued(B), runs("third"))
    assert has_newer(ledger.state(), ledger.state().builds[1])


def test_older_builds_that_nobody_walks_end_and_those_that_are_walked_end_themselves(ledger: Ledger) -> None:
    claim(ledger, queued(A), runs("first"))
    claim(ledger, queued(B), runs("second"))
    give_way(ledger, ledger.state().builds[2], runs("second", "first"))
    assert ledger.state().builds[1].result is None
    give_way(ledger, ledger.state().builds[2], runs("second"))
    assert ledger.state().builds[1].result is Result.SUPERSEDED


def test_a_feature_belongs_to_the_repository_that_pushed_it_first(ledger: Ledger) -> None:
    claim(ledger, queued(A), runs("first"))
    with pytest.raises(UsageError, match="belongs to project `shop`"):
        claim(ledger, queued(A, project="another"), runs("second"))


def test_of_many_runs_of_one_commit_at_once_exactly_one_walks(tmp_path: Path) -> None:
    names = [f"run-{number}" for number in range(8)]
    start = threading.Barrier(len(names))

    def one(name: str) -> Claim:
        own = Ledger(DirectoryShelf(tmp_path / "ledger", "callback", tmp_path / "checkpoints"))
        start.wait()
        return claim(own, queued(A), Runs(name, set(names), names))

    with ThreadPoolExecutor(len(names)) as pool:
        claims = list(pool.map(one, names))
    assert sorted(found.do.value for found in claims) == ["follow"] * 7 + ["walk"]
    assert {found.build for found in claims} == {1}
