"""A user's working tree as a `Tree`, with what is not committed yet, and without touching his index."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from mawasu.errors import UsageError
from mawasu.git.command import command, complaint, end, environment, git, is_object_name, start
from mawasu.git.repository import decoded, read_tree
from mawasu.words import Commit, File, Tree


class WorkingTree(NamedTuple):
    """`commit` and `branch` are None before the first commit, `branch` also on a detached HEAD.

    `repo` is the git directory, which holds the objects of `tree`; `top` the directory that `tree` starts at.
    """

    tree: Tree
    commit: Commit | None
    dirty: bool
    branch: str | None
    repo: Path
    top: Path


def working_tree(path: Path) -> WorkingTree:
    """The files at and around `path`: what is committed, changed and new, without what git ignores.

    New contents are written to the user's object store (git's own clean-up takes them again), so that they can be
    read like those of a commit. Raises UsageError where there is no working tree.
    """
    repo, top, commit, branch = _where(path)
    with tempfile.TemporaryDirectory(prefix="mawasu-index-") as scratch:
        tree = _staged(repo, top, Path(scratch) / "index")
    before = read_tree(repo, commit) if commit else Tree({})
    return WorkingTree(tree, commit, tree != before, branch, repo, top)


def _where(path: Path) -> tuple[Path, Path, Commit | None, str | None]:
    question = ("rev-parse", "--absolute-git-dir", "--show-toplevel", "HEAD", "--symbolic-full-name", "HEAD")
    process = start(command(*question), environment(users=True), path)
    try:
        out, err = process.communicate()
    finally:
        end(process)
    lines = os.fsdecode(out).splitlines()
    if len(lines) < 2:
        raise UsageError(f"{path} is in no git working tree ({complaint(err)})", "run `git init` first")
    commit = Commit(lines[2]) if len(lines) > 2 and is_object_name(lines[2]) else None
    branch = lines[3].removeprefix("refs/heads/") if commit and lines[3].startswith("refs/heads/") else None
    return Path(lines[0]), Path(lines[1]), commit, branch


def _staged(repo: Path, top: Path, index: Path) -> Tree:
    """What `git add -A` would stage, in a copy of the index.

    The copy keeps the time of the original: git trusts a file's recorded size and time only if it is older than the
    index (racy-git.txt), and a younger copy would hide a change made within the same tick.
    """
    if (repo / "index").exists():
        shutil.copy2(repo / "index", index)
    environ = environment(users=True) | {"GIT_INDEX_FILE": os.fspath(index), "GIT_WORK_TREE": os.fspath(top)}
    git("add", "--all", repo=repo, cwd=top, environ=environ)
    _, out = git("ls-files", "--stage", "-z", repo=repo, cwd=top, environ=environ)
    files = {}
    for record in out.split(b"\0")[:-1]:
        meta, _, name = record.partition(b"\t")
        mode, oid, _ = meta.decode().split(" ")
        files[decoded(name)] = File(mode=mode, oid=oid)
    return Tree(files)
