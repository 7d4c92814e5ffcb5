"""A commit that mawasu itself makes: some files of another one changed, and nothing else. No working tree is needed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mawasu.errors import PlatformError
from mawasu.git.command import environment, git, is_object_name
from mawasu.git.repository import Repo
from mawasu.words import Commit

AUTHOR = "mawasu refresh"
EMAIL = "refresh@mawasu.invalid"  # RFC 2606: nobody's, ever


def amended(repo: Repo, parent: Commit, files: Mapping[str, bytes], message: str) -> Commit:
    """A commit on top of `parent` in which these regular files have these contents; no branch points at it yet.

    A shallow repository will do. Raises PlatformError.
    """
    with tempfile.TemporaryDirectory(prefix="mawasu-index-") as scratch:
        environ = environment() | {"GIT_INDEX_FILE": os.fspath(Path(scratch) / "index")}
        git("read-tree", parent, repo=repo, environ=environ)
        lines = []
        for path, content in sorted(files.items()):
            _, out = git("hash-object", "-w", "--stdin", repo=repo, stdin=content)
            lines.append(f"100644 {out.decode().strip()}\t{path}\0")
        git("update-index", "-z", "--add", "--index-info", repo=repo, environ=environ, stdin="".join(lines).encode())
        _, out = git("write-tree", repo=repo, environ=environ)
    people = {f"GIT_{who}_{what}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environ = environment() | {name: AUTHOR if name.endswith("NAME") else EMAIL for name in people}
    tree = out.decode().strip()
    _, out = git("commit-tree", tree, "-p", parent, repo=repo, environ=environ, stdin=message.encode())
    return Commit(out.decode().strip())


def move(repo: Repo, branch: str, old: Commit, new: Commit) -> bool:
    """Move a branch from one commit to another, durably; False if it is somewhere else by now."""
    if not (is_object_name(old) and is_object_name(new)):
        raise PlatformError(f"{old!a} or {new!a} is not the full name of a commit")
    ref = f"refs/heads/{branch}"
    status, _ = git("update-ref", "-m", AUTHOR, ref, new, old, repo=repo, ok=(0, 128))
    if status != 0:
        _, now = git("for-each-ref", "--format=%(objectname)", ref, repo=repo)
        if now.decode().strip() == old:
            raise PlatformError(
                f"branch {branch} of {os.fspath(repo)} cannot be moved", "is another git at work there?"
            )
    return status == 0
