"""A commit survives without its repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from mawasu.errors import CorruptError, PlatformError
from mawasu.git.objects import read_files
from mawasu.git.packs import borrow, has_commit, pack_commit, unpack_commit
from mawasu.git.repository import init_bare, read_tree
from tests.git.repos import Repo

FILES = {"a/mawasu.yaml": "feature: a\n", "a/code/x.py": "1\n", "b/large.bin": "2" * 5000, "top.txt": "3\n"}


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    made = Repo(tmp_path / "work")
    made.commit({"old.txt": "of a parent\n"})
    return made


def test_a_commit_is_read_again_from_its_pack_alone(repo: Repo, tmp_path: Path) -> None:
    commit = repo.commit(FILES)
    init_bare(tmp_path / "other.git")
    unpack_commit(tmp_path / "other.git", commit, pack_commit(repo.dir, commit, ""))
    tree = read_tree(tmp_path / "other.git", commit)
    assert tree == read_tree(repo.dir, commit)
    oid = tree.files["a/code/x.py"].oid
    assert read_files(tmp_path / "other.git", [oid])[oid] == b"1\n"


def test_a_pack_of_one_feature_holds_no_file_of_another(repo: Repo, tmp_path: Path) -> None:
    commit = repo.commit(FILES)
    init_bare(tmp_path / "other.git")
    unpack_commit(tmp_path / "other.git", commit, pack_commit(repo.dir, commit, "a"))
    tree = read_tree(tmp_path / "other.git", commit)
    assert set(tree.files) == {*FILES, "old.txt"}
    with pytest.raises(CorruptError):
        read_files(tmp_path / "other.git", [tree.files["b/large.bin"].oid])


def test_a_commit_of_a_shallow_clone_can_be_packed(repo: Repo, tmp_path: Path) -> None:
    commit = repo.commit(FILES)
    repo.git("clone", "--quiet", "--depth=1", f"file://{repo.top}", str(tmp_path / "shallow"))
    init_bare(tmp_path / "other.git")
    unpack_commit(tmp_path / "other.git", commit, pack_commit(tmp_path / "shallow" / ".git", commit, ""))
    assert read_tree(tmp_path / "other.git", commit).files.keys() == {*FILES, "old.txt"}


def test_a_damaged_pack_is_refused(repo: Repo, tmp_path: Path) -> None:
    commit = repo.commit(FILES)
    pack = bytearray(pack_commit(repo.dir, commit, ""))
    pack[len(pack) // 2] ^= 1
    init_bare(tmp_path / "other.git")
    with pytest.raises(CorruptError, match=commit):
        unpack_commit(tmp_path / "other.git", commit, bytes(pack))


def test_a_pack_of_another_commit_is_refused(repo: Repo, tmp_path: Path) -> None:
    first, second = repo.commit(FILES), repo.commit({"more": "1"})
    init_bare(tmp_path / "other.git")
    with pytest.raises(CorruptError, match="does not hold it"):
        unpack_commit(tmp_path / "other.git", second, pack_commit(repo.dir, first, ""))


def test_a_borrowing_repository_reads_what_the_checkout_has_and_keeps_what_it_is_given(
    repo: Repo, tmp_path: Path
) -> None:
    commit = repo.commit(FILES)
    borrow(tmp_path / "mine.git", repo.top)
    assert has_commit(tmp_path / "mine.git", commit)
    elsewhere = Repo(tmp_path / "elsewhere")
    other = elsewhere.commit({"x": "y"})
    unpack_commit(tmp_path / "mine.git", other, pack_commit(elsewhere.dir, other, ""))
    assert has_commit(tmp_path / "mine.git", other)
    assert not has_commit(repo.dir, other)


def test_a_directory_without_git_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match=r"no \.git"):
        borrow(tmp_path / "mine.git", tmp_path)
