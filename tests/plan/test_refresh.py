"""Which sources are looked at when, whether what is there is news, and what the commit says."""

from __future__ import annotations

import pytest

from mawasu.plan.refresh import Moved, branch_of, due, is_news, message
from mawasu.spec.data_lock import Locked
from mawasu.spec.feature import DataSet, DataSource, Environment, Feature
from mawasu.words import Look, digest_of

OLD, NEW = Locked(digest_of(b"old"), 10, 1), Locked(digest_of(b"new"), 20, 2)
NOON = 1_700_000_000.0
HOUR = 3600.0


def feature(*data: DataSet, **branches: str) -> Feature:
    branches = branches or {"production": "production", "staging": "main"}
    stable = [Environment(name=name, branch=branch) for name, branch in branches.items()]
    preview = Environment(name="preview", branch="**", expires=60.0, preview=True)
    return Feature(name="callback", environments=(*stable, preview), data=data)


def source(name: str, refresh: float | None) -> DataSet:
    return DataSet(name=name, source=DataSource(path=f"/srv/{name}"), refresh=refresh)


def names(looks: dict[str, Look], *data: DataSet, branch: str = "main", now: float = NOON) -> list[str]:
    return [one.name for one in due(feature(*data), branch, looks, now)]


@pytest.mark.parametrize(
    ("branches", "chosen"),
    [
        ({"production": "production", "staging": "main"}, "main"),
        ({"production": "main"}, "main"),
        ({"production": "production", "staging": "main", "other": "other"}, "production"),
        ({"production": "production", "staging": "release/*"}, "production"),
        ({"production": "release/*", "staging": "main"}, "main"),
        ({"staging": "main"}, "main"),
        ({"one": "one", "two": "two"}, None),
        ({"production": "release/*"}, None),
    ],
)
def test_new_data_goes_where_changes_are_tried_first(branches: dict[str, str], chosen: str | None) -> None:
    assert branch_of(feature(**branches)) == chosen


def test_what_was_never_looked_at_is_due_and_what_has_no_refresh_never_is() -> None:
    assert names({}, source("daily", 24 * HOUR), source("never", None)) == ["daily"]


def test_other_branches_than_the_one_of_the_commits_have_nothing_due() -> None:
    assert names({}, source("daily", 24 * HOUR), branch="production") == []


@pytest.mark.parametrize(
    ("ago", "is_due"), [(0.0, False), (0.9 * HOUR, False), (0.96 * HOUR, True), (HOUR, True), (-60.0, True)]
)
def test_a_source_is_looked_at_when_its_time_is_over_give_or_take_a_little(ago: float, is_due: bool) -> None:
    """At -60 the clock was set back."""
    looks = {"hourly": Look(NOON - ago, OLD.digest)}
    assert bool(names(looks, source("hourly", HOUR))) == is_due


def test_a_source_that_could_not_be_read_is_tried_again_within_the_hour() -> None:
    for period in (24 * HOUR, 60.0):
        looks = {"a": Look(NOON, trouble="there is no /srv/a")}
        wait = min(period, HOUR)
        assert names(looks, source("a", period), now=NOON + 0.9 * wait) == []
        assert names(looks, source("a", period), now=NOON + wait) == ["a"]


def test_only_what_the_source_says_anew_is_news() -> None:
    assert is_news(NEW, OLD, None)
    assert is_news(NEW, OLD, Look(NOON, OLD.digest))
    assert is_news(NEW, None, None)
    assert not is_news(OLD, OLD, None)


def test_a_commit_of_new_data_that_was_reverted_does_not_come_back() -> None:
    assert not is_news(NEW, OLD, Look(NOON, NEW.digest))
    assert is_news(Locked(digest_of(b"newer"), 1, 1), OLD, Look(NOON, NEW.digest))


def test_the_commit_says_what_moved_from_where_to_where_and_how_large_it_is() -> None:
    moved = [Moved("callback", "resumes", OLD, NEW), Moved("callback", "jobs", None, OLD)]
    subject, empty, *lines = message(moved).splitlines()
    assert (subject, empty) == ("New data: resumes, jobs", "")
    assert lines == [
        f"callback: resumes {OLD.digest[7:17]} (10 bytes in 1 file) → {NEW.digest[7:17]} (20 bytes in 2 files)",
        f"callback: jobs nothing → {OLD.digest[7:17]} (10 bytes in 1 file)",
    ]
