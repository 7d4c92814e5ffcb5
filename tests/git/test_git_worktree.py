from __future__ import annotations

import os
from pathlib import Path

import pytest

from mawasu.errors import UsageError
from mawasu.git.objects import read_files
from mawasu.git.repository import init_bare, read_tree
from mawasu.git.worktree import WorkingTree, working_tree
from mawasu.words import Commit
from tests.git.repos import Repo


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "repo")


def contents(found: WorkingTree) -> dict[str, bytes]:
    blobs = read_files(found.repo, [file.oid for file in found.tree.files.values()])
    return {path: blobs[file.oid] for path, file in found.tree.files.items()}


def test_a_clean_working_tree_is_its_commit(repo: Repo) -> None:
    commit = repo.commit({"a/b": "1"})
    found = working_tree(repo.top / "a")
    assert found == WorkingTree(read_tree(repo.dir, commit), Commit(commit), False, "main", repo.dir, repo.top)


def test_changed_new_and_deleted_files_are_seen_and_ignored_ones_are_not(repo: Repo) -> None:
    repo.commit({"kept": "1", "changed": "1", "deleted": "1", ".gitignore": "*.log\n"})
    repo.write({"changed": "2", "new/file": "3", "x.log": "4"})
    (repo.top / "deleted").unlink()
    found = working_tree(repo.top)
    assert found.dirty
    assert contents(found) == {"kept": b"1", "changed": b"2", "new/file": b"3", ".gitignore": b"*.log\n"}


def test_the_users_index_stays_as_it_is(repo: Repo) -> None:
    repo.commit({"a": "1"})
    repo.write({"a": "2", "b": "3"})
    repo.git("add", "a")
    before, status = (repo.dir / "index").read_bytes(), repo.git("status", "--porcelain")
    working_tree(repo.top)
    assert (repo.dir / "index").read_bytes() == before
    assert repo.git("status", "--porcelain") == status


def test_a_change_of_the_same_size_within_the_same_tick_is_seen(repo: Repo) -> None:
    repo.commit({"a": "1"})
    state = (repo.top / "a").stat()
    repo.write({"a": "2"})
    times = (state.st_atime_ns, state.st_mtime_ns)
    os.utime(repo.top / "a", ns=times)
    os.utime(repo.dir / "index", ns=times)
    assert contents(working_tree(repo.top)) == {"a": b"2"}


def test_before_the_first_commit_everything_is_new(repo: Repo) -> None:
    repo.write({"a": "1"})
    found = working_tree(repo.top)
    assert (list(found.tree.files), found.commit, found.dirty, found.branch) == (["a"], None, True, None)


def test_a_detached_head_is_on_no_branch(repo: Repo) -> None:
    commit = repo.commit({"a": "1"})
    repo.git("checkout", "--quiet", "--detach")
    found = working_tree(repo.top)
    assert (found.commit, found.branch, found.dirty) == (commit, None, False)


def test_a_linked_worktree_has_its_own_files(repo: Repo, tmp_path: Path) -> None:
    repo.commit({"a": "1"})
    repo.git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "side"))
    (tmp_path / "side" / "a").write_text("2")
    found = working_tree(tmp_path / "side")
    assert (found.branch, found.dirty, contents(found)) == ("side", True, {"a": b"2"})


def test_a_split_index_is_read(repo: Repo) -> None:
    repo.commit({"a": "1"})
    repo.git("update-index", "--split-index")
    repo.write({"b": "2"})
    assert contents(working_tree(repo.top)) == {"a": b"1", "b": b"2"}


def test_unmerged_files_are_taken_as_they_lie_there(repo: Repo) -> None:
    repo.commit({"a": "base\n"})
    repo.git("checkout", "--quiet", "-b", "side")
    repo.commit({"a": "side\n"})
    repo.git("checkout", "--quiet", "main")
    repo.commit({"a": "main\n"})
    assert repo.run("merge", "--quiet", "side").returncode == 1
    found = working_tree(repo.top)
    assert found.dirty
    assert b"<<<<<<<" in contents(found)["a"]


def test_outside_a_working_tree_the_next_step_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is in no git working tree .*run `git init` first"):
        working_tree(tmp_path)


def test_a_bare_repository_is_no_working_tree(tmp_path: Path) -> None:
    init_bare(tmp_path / "x.git")
    with pytest.raises(UsageError, match="is in no git working tree"):
        working_tree(tmp_path / "x.git")
