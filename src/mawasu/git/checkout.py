"""Laying out the files of a tree: exactly those, nowhere else.

A tree is hostile input: whoever can push chose every name, mode and link in it. Nothing is written before all names
are judged, and then only into a fresh directory, in which links are made last.
"""

from __future__ import annotations

import os
import re
import shutil
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from mawasu.errors import PlatformError, StepError
from mawasu.git.objects import blobs
from mawasu.git.refs import shown

if TYPE_CHECKING:
    from mawasu.words import Tree

_MODES = {"100644": 0o644, "100664": 0o644, "100755": 0o755}
_LINK = "120000"
_SUBMODULE = "160000"

_LFS = b"version https://git-lfs.github.com/spec/v1\n"  # git-lfs docs/spec.md: a pointer starts with its version line
_LFS_LONGEST = 1024

# Code points that HFS+ ignores in names, so that `.git` with one inside is `.git` there (git: utf8.c, next_hfs_char).
_HFS_IGNORED = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
# What NTFS takes for `.git`: its short name, trailing dots and spaces, a named stream (git: path.c, is_ntfs_dotgit).
_NTFS_DOT_GIT = re.compile(r"(\.git|git~\d+)[. ]*(:.*)?", re.IGNORECASE)


def checkout(repo: str, tree: Tree, dest: Path) -> None:
    """Lay out the files of `tree`, whose objects are in the git directory `repo`, below `dest`, which must not exist.

    Complete or absent. Raises StepError for a name, link, submodule or Git LFS pointer that cannot be laid out,
    PlatformError when the disk says no, CorruptError when an object is missing.
    """
    for path, file in tree.files.items():
        _judge(path, file.mode)
    try:
        dest.mkdir(parents=True)
        try:
            _lay_out(repo, tree, dest)
        except BaseException:
            shutil.rmtree(dest, ignore_errors=True)
            raise
    except OSError as error:
        raise PlatformError(f"cannot lay out files in {dest}: {error.strerror}", "is the disk full?") from error


def _judge(path: str, mode: str) -> None:
    fault = unsafe_path(path)
    if fault is not None:
        raise StepError(f"{shown(path)} cannot be checked out: {fault}", "rename it")
    if mode == _SUBMODULE:
        raise StepError(
            f"{shown(path)} is a git submodule, whose files are in another repository",
            "commit its files, or leave it out of `paths`",
        )
    if mode != _LINK and mode not in _MODES:
        raise StepError(f"{shown(path)} has the unknown mode {mode}")


def unsafe_path(path: str) -> str | None:
    """None for a path that stays below where it is put on any file system, else the reason why not."""
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in path):
        return "a control character or a byte that is not UTF-8 stands in its name"
    for part in re.split(r"[/\\]", path):
        if part in ("", ".", ".."):
            return "its path leads elsewhere"
        if _NTFS_DOT_GIT.fullmatch(_HFS_IGNORED.sub("", part)):
            return "its path leads into .git"
    return None


def unsafe_link(path: str, target: bytes) -> str | None:
    """None for a link that stays inside the tree whatever the other links are, else the reason why not.

    `..` may only stand at the start of the target: there it climbs real directories, so counting is exact. After a
    name it could climb out of wherever another link leads (`x/../..` with `x -> ../a`).
    """
    if not target or len(target) > 4095 or b"\0" in target:
        return "its target is no path"
    if target.startswith(b"/"):
        return "its target is an absolute path"
    parts = [part for part in target.split(b"/") if part not in (b"", b".")]
    climbs = next((index for index, part in enumerate(parts) if part != b".."), len(parts))
    if climbs > path.count("/"):
        return "its target is outside the repository"
    if b".." in parts[climbs:]:
        return "its target climbs with .. after a name"
    return None


def _lay_out(repo: str, tree: Tree, dest: Path) -> None:
    made = {""}
    links: list[tuple[str, bytes]] = []
    entries = list(tree.files.items())
    for (path, file), content in zip(entries, blobs(repo, [file.oid for _, file in entries]), strict=True):
        _make_parents(dest, path, made)
        if file.mode == _LINK:
            fault = unsafe_link(path, content)
            if fault is not None:
                raise StepError(f"the symbolic link {shown(path)} is refused: {fault}", "link inside the repository")
            links.append((path, content))
            continue
        if len(content) < _LFS_LONGEST and content.startswith(_LFS):
            raise StepError(
                f"{shown(path)} is a Git LFS pointer, not the file itself",
                "run `git lfs migrate export --include=…` for it, or give data by `path` under `data:`",
            )
        _write(dest / path, content, _MODES[file.mode])
    for path, target in links:
        (dest / path).symlink_to(os.fsdecode(target))


def _make_parents(dest: Path, path: str, made: set[str]) -> None:
    parent = path.rpartition("/")[0]
    if parent not in made:
        _make_parents(dest, parent, made)
        (dest / parent).mkdir()
        made.add(parent)


def _write(path: Path, content: bytes, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, mode), "wb", buffering=0) as file:
        os.fchmod(file.fileno(), mode)  # the same for every umask
        rest = memoryview(content)
        while rest:
            rest = rest[file.write(rest) :]
