from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mawasu.triggers.scan import changes, delivered, fresh, scan
from mawasu.words import Commit, Push
from tests.git.repos import Repo

A, B, C = (Commit(letter * 40) for letter in "abc")
ZEROS = "0" * 40


def moved(old: Commit | None, new: Commit | None, branch: str = "main", by: str = "hook") -> Push:
    return Push("demo", branch, old, new, by)


def test_new_moved_and_deleted_branches_are_found_and_unmoved_ones_are_not() -> None:
    known = {"same": A, "moved": A, "deleted": A, "deleted-before": "", "back": ""}
    now = {"same": A, "moved": B, "new": C, "back": B}
    assert changes("demo", known, now) == [
        moved(A, None, "deleted", "scan"),
        moved(None, B, "back", "scan"),
        moved(A, B, "moved", "scan"),
        moved(None, C, "new", "scan"),
    ]


def test_a_branch_with_a_name_that_is_not_taken_is_passed_over() -> None:
    assert changes("demo", {}, {"<script>": A}) == []


branches = st.dictionaries(st.sampled_from(["main", "x", "y"]), st.sampled_from([A, B, C]))


@given(branches, branches)
def test_taking_all_changes_leaves_none(known: dict[str, Commit], now: dict[str, Commit]) -> None:
    taken: dict[str, str] = dict(known)
    for push in changes("demo", known, now):
        taken[push.branch] = push.new or ""
    assert changes("demo", taken, now) == []


def test_a_repository_is_scanned_as_it_is(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "repo")
    commit = Commit(repo.commit())
    assert scan("demo", repo.dir, {"gone": A}) == [moved(A, None, "gone", "scan"), moved(None, commit, "main", "scan")]


def test_a_delivery_is_read_and_what_is_no_branch_or_no_commit_is_left_out() -> None:
    updates: list[list[str]] = [
        [ZEROS, A, "refs/heads/main"],
        [A, ZEROS, "refs/heads/side"],
        [A, ZEROS, "refs/heads/<script>"],
        [ZEROS, A, "refs/heads/<script>"],
        [ZEROS, A, "refs/tags/v1"],
        ["--help", A, "refs/heads/main"],
        [A],
    ]
    assert delivered("demo", updates) == [moved(None, A), moved(A, None, "side"), moved(A, None, "<script>")]


def test_the_same_delivery_ten_times_is_one_push() -> None:
    assert fresh([moved(None, A)] * 10, {}, {"main": A}) == [moved(None, A)]


def test_a_delivery_and_the_scan_that_was_faster_are_one_push() -> None:
    assert fresh([moved(None, A)], {"main": A}, {"main": A}) == []


def test_three_pushes_in_quick_succession_are_three() -> None:
    pushes = [moved(None, A), moved(A, B), moved(B, C)]
    assert fresh(pushes, {}, {"main": C}) == pushes


def test_a_delivery_that_comes_after_a_newer_one_is_stale() -> None:
    assert fresh([moved(A, B)], {"main": C}, {"main": C}) == []
    assert fresh([moved(B, C), moved(A, B)], {"main": A}, {"main": C}) == [moved(B, C)]


def test_a_delivery_after_one_that_was_lost_is_taken() -> None:
    assert fresh([moved(B, C)], {"main": A}, {"main": C}) == [moved(B, C)]


def test_deleting_a_branch_is_taken_once_and_it_may_come_back() -> None:
    pushes = [moved(A, None), moved(A, None), moved(None, A)]
    assert fresh(pushes, {"main": A}, {"main": A}) == [moved(A, None), moved(None, A)]
