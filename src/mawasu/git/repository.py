"""Asking a repository: trees, files, heads, commits. Everything takes the path of a git directory (`repo`)."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from mawasu.errors import PlatformError, StepError
from mawasu.git.command import git, is_object_name
from mawasu.git.objects import read_files
from mawasu.git.refs import shown
from mawasu.words import Commit, File, Tree

SPEC = "mawasu.yaml"

Repo = str | os.PathLike[str]

# Acknowledged means durable, all pushed objects are checked, and nothing that was ever pushed is thrown away: old
# releases are rebuilt and explained from it (git-config(1)).
_DURABLE = """\
[core]
\tfsync = all
\tfsyncMethod = fsync
\tlogAllRefUpdates = true
[transfer]
\tfsckObjects = true
[receive]
\tfsckObjects = true
\tdenyNonFastForwards = false
\tdenyDeletes = false
\tadvertisePushOptions = true
[uploadpack]
\tallowFilter = true
[gc]
\tpruneExpire = never
\treflogExpire = never
\treflogExpireUnreachable = never
\tcruftPacks = true
"""


class CommitInfo(NamedTuple):
    """What people want to see of a commit; `time` is when it was committed, in seconds since the epoch."""

    time: int
    author: str
    subject: str


def read_tree(repo: Repo, commit: str) -> Tree:
    """All files of a commit (or of a tree, by its object name).

    Raises PlatformError when there is no such commit, StepError for a path that is not UTF-8.
    """
    _check_object_name(commit)
    status, out = git("ls-tree", "-r", "-z", "--full-tree", commit, repo=repo, ok=(0, 128))
    if status != 0:
        raise PlatformError(f"there is no commit {commit} in {os.fspath(repo)}", "push it again")
    files = {}
    for record in out.split(b"\0")[:-1]:
        meta, _, path = record.partition(b"\t")
        mode, _, oid = meta.decode().split(" ")
        files[decoded(path)] = File(mode=mode, oid=oid)
    return Tree(files)


def read_file(repo: Repo, commit: str, path: str) -> bytes | None:
    """One file of a commit; None if the commit has no regular file of that path."""
    file = read_tree(repo, commit).files.get(path)
    if file is None or not file.mode.startswith("100"):
        return None
    return read_files(repo, [file.oid])[file.oid]


def heads(repo: Repo) -> dict[str, Commit]:
    """Every branch and the commit it points at."""
    _, out = git("for-each-ref", "--format=%(objectname) %(refname:lstrip=2)", "refs/heads/", repo=repo)
    lines = (line.partition(" ") for line in out.decode(errors="surrogateescape").splitlines())
    return {branch: Commit(oid) for oid, _, branch in lines}


def resolve(repo: Repo, ref: str) -> Commit | None:
    """The commit that a name of any kind (branch, tag, abbreviated object name, `HEAD~2`) means; None if none."""
    if "\0" in ref:
        return None
    status, out = git(
        "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}", repo=repo, ok=(0, 1, 128)
    )
    return Commit(out.decode().strip()) if status == 0 else None


def is_ancestor(repo: Repo, old: str, new: str) -> bool:
    """Whether `new` contains `old`; a commit contains itself."""
    _check_object_name(old)
    _check_object_name(new)
    status, _ = git("merge-base", "--is-ancestor", old, new, repo=repo, ok=(0, 1))
    return status == 0


def commit_info(repo: Repo, commit: str) -> CommitInfo:
    """When, by whom and what about; texts are the committer's and may hold anything but line breaks."""
    _check_object_name(commit)
    form = "--format=%ct%x00%an%x00%s"
    _, out = git("log", "-1", "--no-show-signature", "--encoding=UTF-8", form, commit, "--", repo=repo)
    time, author, subject = out.decode(errors="replace").rstrip("\n").split("\0")
    return CommitInfo(int(time), author, subject)


def features_in(tree: Tree) -> list[str]:
    """Paths of every `mawasu.yaml`: a repository may hold several features."""
    return sorted(
        path for path, file in tree.files.items() if path.rpartition("/")[2] == SPEC and file.mode.startswith("100")
    )


def init_bare(path: Path) -> None:
    """Make a bare repository with durable settings, complete or absent; one that is there is left alone."""
    if (path / "HEAD").exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        git("init", "--quiet", "--bare", "--template=", "--initial-branch=main", os.fspath(unfinished), cwd=path.parent)
        with (unfinished / "config").open("a") as config:
            config.write(_DURABLE)
        _sync(unfinished)
        unfinished.rename(path)
        _sync_one(path.parent)
    except OSError as error:
        if not (path / "HEAD").exists():  # else another process made it at the same moment
            raise PlatformError(f"cannot make the repository {path}: {error.strerror}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _sync(root: Path) -> None:
    for directory, _, names in os.walk(root, topdown=False):
        for name in names:
            _sync_one(Path(directory, name))
        _sync_one(Path(directory))


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_object_name(name: str) -> None:
    if not is_object_name(name):
        raise PlatformError(f"{shown(name)} is not the full name of a commit")


def decoded(path: bytes) -> str:
    """A path as git stores it, as text."""
    try:
        return path.decode()
    except UnicodeDecodeError as error:
        name = shown(path.decode(errors="backslashreplace"))
        raise StepError(f"the path {name} is not UTF-8", "rename the file") from error
