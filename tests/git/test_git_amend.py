"""Commits that mawasu makes by itself, and branches that it moves."""

from __future__ import annotations

from pathlib import Path

import pytest

from mawasu.errors import PlatformError
from mawasu.git.amend import amended, move
from mawasu.git.command import git
from mawasu.git.repository import commit_info, heads, init_bare, read_file, read_tree
from mawasu.words import Commit


@pytest.fixture
def bare(tmp_path: Path) -> tuple[Path, Commit]:
    """A bare repository with one commit of two files on main."""
    repo = tmp_path / "r.git"
    init_bare(repo)
    _, out = git("hash-object", "-t", "tree", "-w", "--stdin", repo=repo)
    _, out = git("commit-tree", out.decode().strip(), "-m", "empty", repo=repo, environ=_people())
    empty = Commit(out.decode().strip())
    first = amended(repo, empty, {"a/data.lock": b"old", "a/b/code.py": b"pass"}, "first")
    git("update-ref", "refs/heads/main", first, repo=repo)
    return repo, first


def _people() -> dict[str, str]:
    from mawasu.git.command import environment

    people = {f"GIT_{who}_{what}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return environment() | dict.fromkeys(people, "t@example.org")


def test_a_commit_changes_the_files_it_is_told_and_nothing_else(bare: tuple[Path, Commit]) -> None:
    repo, first = bare
    made = amended(repo, first, {"a/data.lock": b"new", "top.lock": b"there"}, "New data: a\n\nmore\n")
    before, after = read_tree(repo, first).files, read_tree(repo, made).files
    assert {path for path in after if before.get(path) != after[path]} == {"a/data.lock", "top.lock"}
    assert before.keys() <= after.keys()
    assert read_file(repo, made, "a/data.lock") == b"new"
    info = commit_info(repo, made)
    assert (info.author, info.subject) == ("mawasu refresh", "New data: a")
    assert heads(repo) == {"main": first}


def test_a_branch_moves_only_from_where_it_was_said_to_be(bare: tuple[Path, Commit]) -> None:
    repo, first = bare
    mine, theirs = (amended(repo, first, {"x": text}, "x") for text in (b"mine", b"theirs"))
    assert move(repo, "main", first, theirs)
    assert not move(repo, "main", first, mine)
    assert not move(repo, "gone", first, mine)
    assert heads(repo) == {"main": theirs}
    with pytest.raises(PlatformError, match="not the full name"):
        move(repo, "main", Commit("main"), mine)


def test_a_branch_that_another_git_holds_is_a_fault_not_a_push_that_came_between(bare: tuple[Path, Commit]) -> None:
    repo, first = bare
    (repo / "refs/heads/main.lock").touch()
    with pytest.raises(PlatformError, match=r"branch main of .* cannot be moved"):
        move(repo, "main", first, amended(repo, first, {"x": b""}, "x"))
