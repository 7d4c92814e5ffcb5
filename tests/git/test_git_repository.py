from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from mawasu.errors import CorruptError, PlatformError, StepError
from mawasu.git.objects import read_files
from mawasu.git.repository import (
    commit_info,
    features_in,
    heads,
    init_bare,
    is_ancestor,
    read_file,
    read_tree,
    resolve,
)
from mawasu.words import File, Tree
from tests.git.repos import Repo


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "repo")


def test_a_tree_holds_every_file_with_its_mode(repo: Repo) -> None:
    repo.write({"run.sh": "#!/bin/sh", "a/ünï.txt": "x"})
    (repo.top / "run.sh").chmod(0o755)
    (repo.top / "link").symlink_to("a")
    tree = read_tree(repo.dir, repo.commit())
    assert {path: file.mode for path, file in tree.files.items()} == {
        "run.sh": "100755",
        "a/ünï.txt": "100644",
        "link": "120000",
    }


def test_a_name_with_a_tab_and_a_newline_is_read_whole(repo: Repo) -> None:
    tree = repo.tree(("100644", repo.blob(b"x"), "a\tb\nc"))
    assert list(read_tree(repo.dir, repo.commit_tree(tree)).files) == ["a\tb\nc"]


def test_a_path_that_is_not_utf8_is_refused_by_name(repo: Repo) -> None:
    (repo.top / os.fsdecode(b"caf\xe9.csv")).write_text("x")
    with pytest.raises(StepError, match=r"caf.*xe9\.csv.* is not UTF-8"):
        read_tree(repo.dir, repo.commit())


def test_a_commit_that_is_not_there_is_said(repo: Repo) -> None:
    with pytest.raises(PlatformError, match=f"there is no commit {'1' * 40}"):
        read_tree(repo.dir, "1" * 40)


@pytest.mark.parametrize("name", ["main", "--help", "HEAD~1", ""])
def test_a_tree_is_read_by_a_full_object_name_only(repo: Repo, name: str) -> None:
    repo.commit()
    with pytest.raises(PlatformError, match="is not the full name of a commit"):
        read_tree(repo.dir, name)


def test_thousands_of_files_are_read_by_one_process_without_a_standstill(repo: Repo) -> None:
    contents = {f"f{number}": os.urandom(2000) for number in range(3000)}
    tree = read_tree(repo.dir, repo.commit(contents))
    found = read_files(repo.dir, [file.oid for file in tree.files.values()])
    assert {path: found[file.oid] for path, file in tree.files.items()} == contents


def test_a_missing_object_is_an_error_that_names_it(repo: Repo) -> None:
    with pytest.raises(CorruptError, match="1" * 40):
        read_files(repo.dir, ["1" * 40])


def test_a_tree_is_no_file(repo: Repo) -> None:
    tree = repo.tree(("100644", repo.blob(b"x"), "x"))
    with pytest.raises(CorruptError, match=tree):
        read_files(repo.dir, [tree])


def test_one_file_of_a_commit_is_read_or_absent(repo: Repo) -> None:
    (repo.top / "link").symlink_to("a")
    commit = repo.commit({"a": b"1\0\n"})
    assert read_file(repo.dir, commit, "a") == b"1\0\n"
    assert read_file(repo.dir, commit, "b") is None
    assert read_file(repo.dir, commit, "link") is None


def test_heads_are_branches_and_nothing_else(repo: Repo) -> None:
    first = repo.commit()
    repo.git("tag", "v1")
    repo.git("branch", "feature/x")
    second = repo.commit()
    assert heads(repo.dir) == {"main": second, "feature/x": first}


def test_a_repository_without_commits_has_no_heads(repo: Repo) -> None:
    assert heads(repo.dir) == {}


def test_a_name_is_resolved_to_its_commit_or_to_nothing(repo: Repo) -> None:
    first = repo.commit()
    second = repo.commit()
    repo.git("tag", "--annotate", "v1", "--message", "one")
    assert resolve(repo.dir, "main~1") == first
    assert resolve(repo.dir, second[:12]) == second
    assert resolve(repo.dir, "v1") == second
    assert [resolve(repo.dir, name) for name in ("nowhere", "--help", "", "a\0b", "a\nb", "main:")] == [None] * 6


def test_ancestry_is_known(repo: Repo) -> None:
    first = repo.commit()
    second = repo.commit()
    assert is_ancestor(repo.dir, first, second)
    assert is_ancestor(repo.dir, second, second)
    assert not is_ancestor(repo.dir, second, first)


def test_a_commit_says_when_who_and_what(repo: Repo) -> None:
    commit = repo.commit(message="Größer\n\nand more")
    assert commit_info(repo.dir, commit) == (1700000000, "Ada", "Größer")


def test_every_feature_of_a_repository_is_found() -> None:
    paths = ["mawasu.yaml", "b/mawasu.yaml", "a/x/mawasu.yaml", "not-mawasu.yaml", "mawasu.yaml.txt"]
    files = {path: File("100644", "0" * 40) for path in paths}
    tree = Tree({**files, "link/mawasu.yaml": File("120000", "0" * 40)})
    assert features_in(tree) == ["a/x/mawasu.yaml", "b/mawasu.yaml", "mawasu.yaml"]


def test_a_bare_repository_is_durable_private_and_keeps_what_was_pushed(repo: Repo, tmp_path: Path) -> None:
    bare = tmp_path / "home" / "x.git"
    init_bare(bare)
    config = repo.git("config", "--file", str(bare / "config"), "--list")
    for line in ("core.fsync=all", "core.bare=true", "receive.fsckobjects=true", "gc.pruneexpire=never"):
        assert line in config.splitlines()
    assert stat.S_IMODE(bare.stat().st_mode) == 0o700
    assert [path.name for path in bare.parent.iterdir()] == ["x.git"]


def test_a_bare_repository_that_is_there_is_left_alone(repo: Repo, tmp_path: Path) -> None:
    bare = tmp_path / "x.git"
    init_bare(bare)
    repo.commit()
    repo.git("push", "--quiet", str(bare), "main")
    init_bare(bare)
    assert list(heads(bare)) == ["main"]


def test_a_surrounding_git_does_not_leak_into_ours(repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = repo.commit({"a": "1"})
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_QUARANTINE_PATH", "GIT_WORK_TREE"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    assert list(read_tree(repo.dir, commit).files) == ["a"]


def test_a_replacement_object_does_not_change_what_a_commit_is(repo: Repo) -> None:
    first = repo.commit({"a": "1"})
    second = repo.commit({"b": "2"})
    repo.git("replace", first, second)
    assert list(read_tree(repo.dir, first).files) == ["a"]
