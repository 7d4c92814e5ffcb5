from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from mawasu.errors import CorruptError, PlatformError, StepError
from mawasu.git.checkout import checkout, unsafe_link, unsafe_path
from mawasu.git.repository import init_bare, read_tree
from mawasu.words import File, Tree
from tests.git.repos import Repo

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"

# fmt: off
ELSEWHERE = [
    "../a", "a/../../b", "/etc/passwd", "a//b", "./a", "a\\..\\b", "",
    ".git/config", "a/.GIT/config", "git~1/config", ".git./config", ".git /config", ".git::$INDEX_ALLOCATION/config",
    ".g\u200cit/config", "a\\.git\\config", "a\x1bb", "a\nb", "a\x7f", "a\udcff",
]
USUAL = [".gitignore", ".github/workflows/x.yml", "a.git/b", "git/x", "ünï/日本.txt", "a b", "-x"]
# fmt: on


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "repo")


def lay_out(repo: Repo, dest: Path, commit: str | None = None) -> Path:
    checkout(str(repo.dir), read_tree(repo.dir, commit or repo.commit()), dest)
    return dest


def files_in(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def test_exactly_the_files_of_a_tree_are_laid_out(repo: Repo, tmp_path: Path) -> None:
    repo.write({"a/b/c.txt": b"\0\xff\n", "run.sh": "#!/bin/sh\n", "empty": b""})
    (repo.top / "run.sh").chmod(0o755)
    dest = lay_out(repo, tmp_path / "new" / "dest")
    assert files_in(dest) == ["a/b/c.txt", "empty", "run.sh"]
    assert (dest / "a/b/c.txt").read_bytes() == b"\0\xff\n"


def test_modes_do_not_depend_on_the_umask(repo: Repo, tmp_path: Path) -> None:
    repo.write({"run.sh": "x", "plain": "x"})
    (repo.top / "run.sh").chmod(0o755)
    commit = repo.commit()
    before = os.umask(0o077)
    try:
        dest = lay_out(repo, tmp_path / "dest", commit)
    finally:
        os.umask(before)
    assert [stat.S_IMODE((dest / name).stat().st_mode) for name in ("run.sh", "plain")] == [0o755, 0o644]


def test_a_part_of_a_tree_is_laid_out_alone(repo: Repo, tmp_path: Path) -> None:
    tree = read_tree(repo.dir, repo.commit({"training/a": "1", "api/b": "2"}))
    checkout(str(repo.dir), Tree({"training/a": tree.files["training/a"]}), tmp_path / "dest")
    assert files_in(tmp_path / "dest") == ["training/a"]


def test_links_inside_the_tree_are_kept(repo: Repo, tmp_path: Path) -> None:
    repo.write({"data/x.csv": "1"})
    (repo.top / "deep/er").mkdir(parents=True)
    (repo.top / "deep/er/link").symlink_to("../../data/x.csv")
    dest = lay_out(repo, tmp_path / "dest")
    assert (dest / "deep/er/link").is_symlink()
    assert (dest / "deep/er/link").read_text() == "1"


@pytest.mark.parametrize("target", ["/etc/passwd", "../../etc/passwd", "..", "a/../../..", "a/../b"])
def test_a_link_that_may_lead_out_of_the_tree_is_refused_by_name(repo: Repo, tmp_path: Path, target: str) -> None:
    (repo.top / "evil").symlink_to(target)
    with pytest.raises(StepError, match="the symbolic link 'evil' is refused"):
        lay_out(repo, tmp_path / "dest")
    assert not (tmp_path / "dest").exists()


def test_two_links_that_climb_out_together_are_refused() -> None:
    # d/e/x -> ../../a is inside; x/../../y counts as d/y but is a/../../y: outside.
    assert unsafe_link("d/e/x", b"../../a") is None
    assert unsafe_link("d/e/l", b"x/../../y") == "its target climbs with .. after a name"


def test_nothing_is_written_through_a_link(repo: Repo, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    link, content = repo.blob(b"inside"), repo.blob(b"x")
    tree = Tree({"a": File("120000", link), "a/file": File("100644", content)})
    with pytest.raises(PlatformError, match="cannot lay out files"):
        checkout(str(repo.dir), tree, tmp_path / "dest")
    assert not (tmp_path / "dest").exists()


@pytest.mark.parametrize("path", ELSEWHERE)
def test_a_path_that_leads_elsewhere_is_refused(tmp_path: Path, repo: Repo, path: str) -> None:
    tree = Tree({path: File("100644", repo.blob(b"x"))})
    with pytest.raises(StepError, match="cannot be checked out"):
        checkout(str(repo.dir), tree, tmp_path / "dest")
    assert not (tmp_path / "dest").exists()


@pytest.mark.parametrize(
    "path", [".gitignore", ".github/workflows/x.yml", "a.git/b", "git/x", "ünï/日本.txt", "a b", "-x"]
)
def test_a_usual_path_is_safe(path: str) -> None:
    assert unsafe_path(path) is None


def test_a_tree_with_a_git_directory_made_by_hand_is_refused_here_and_by_the_push(repo: Repo, tmp_path: Path) -> None:
    inner = repo.tree(("100644", repo.blob(b"x"), "config"))
    commit = repo.commit_tree(repo.tree(("040000", inner, ".git")))
    with pytest.raises(StepError, match=r"\.git/config.*leads into \.git"):
        lay_out(repo, tmp_path / "dest", commit)
    init_bare(tmp_path / "bare.git")
    pushed = repo.run("push", str(tmp_path / "bare.git"), f"{commit}:refs/heads/main")
    assert pushed.returncode == 1
    assert b"hasDotgit" in pushed.stderr


def test_a_submodule_is_refused_by_name(repo: Repo, tmp_path: Path) -> None:
    commit = repo.commit_tree(repo.tree(("160000", "1" * 40, "vendor")))
    with pytest.raises(StepError, match="'vendor' is a git submodule"):
        lay_out(repo, tmp_path / "dest", commit)


def test_an_lfs_pointer_is_refused_with_a_hint(repo: Repo, tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"'model\.bin' is a Git LFS pointer.*migrate"):
        lay_out(repo, tmp_path / "dest", repo.commit({"model.bin": LFS}))


def test_a_missing_object_leaves_nothing_behind(repo: Repo, tmp_path: Path) -> None:
    tree = Tree({"a": File("100644", repo.blob(b"x")), "b": File("100644", "1" * 40)})
    with pytest.raises(CorruptError, match="1" * 40):
        checkout(str(repo.dir), tree, tmp_path / "dest")
    assert not (tmp_path / "dest").exists()


def test_a_directory_that_exists_is_not_written_into(repo: Repo, tmp_path: Path) -> None:
    (tmp_path / "dest").mkdir()
    (tmp_path / "dest" / "mine").write_text("mine")
    with pytest.raises(PlatformError, match="File exists"):
        lay_out(repo, tmp_path / "dest", repo.commit({"a": "1"}))
    assert files_in(tmp_path / "dest") == ["mine"]
