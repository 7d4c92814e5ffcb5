"""One commit as bytes, to be kept where there is no repository, and brought into one again (gitformat-pack(5))."""

from __future__ import annotations

from pathlib import Path

from mawasu.errors import CorruptError, PlatformError
from mawasu.git.command import git, is_object_name
from mawasu.git.repository import Repo, init_bare


def pack_commit(repo: Repo, commit: str, root: str) -> bytes:
    """A pack of the commit, all its trees, and the files below `root` ("" for all): what one feature reads of it.

    Without its parents, so a repository that was cloned with a depth of one will do.
    """
    wanted = [commit]
    _, out = git("rev-parse", "--verify", "--end-of-options", f"{commit}^{{tree}}", repo=repo)
    wanted.append(out.decode().strip())
    _, out = git("ls-tree", "-r", "-t", "-z", "--full-tree", commit, repo=repo)
    below = f"{root}/" if root else ""
    for record in out.split(b"\0")[:-1]:
        meta, _, path = record.partition(b"\t")
        _, kind, oid = meta.decode().split(" ")
        if kind == "tree" or (kind == "blob" and path.startswith(below.encode())):
            wanted.append(oid)
    names = "".join(f"{oid}\n" for oid in dict.fromkeys(wanted)).encode()
    _, pack = git("pack-objects", "--stdout", "--quiet", "--threads=1", repo=repo, stdin=names)
    return pack


def unpack_commit(repo: Repo, commit: str, pack: bytes) -> None:
    """Bring a packed commit into a repository. Raises CorruptError when the pack does not hold it whole."""
    try:
        git("unpack-objects", "-q", repo=repo, stdin=pack)
    except PlatformError as error:
        raise CorruptError(f"the kept pack of commit {commit} is damaged: {error.message}", "push it again") from error
    if not has_commit(repo, commit):
        raise CorruptError(f"the kept pack of commit {commit} does not hold it", "push it again")


def has_commit(repo: Repo, commit: str) -> bool:
    """Whether the commit itself is there; a shallow repository may lack its parents."""
    if not is_object_name(commit):
        return False
    status, _ = git("cat-file", "-e", f"{commit}^{{tree}}", repo=repo, ok=(0, 1, 128))
    return status == 0


def borrow(path: Path, checkout: Path) -> None:
    """A bare repository at `path` that sees a checkout's objects, and keeps its own (gitrepository-layout(5))."""
    objects = (checkout / ".git" / "objects").absolute()
    if not objects.is_dir():
        raise PlatformError(f"{checkout} is no checkout: there is no .git in it", "run it where the repository is")
    init_bare(path)
    alternates = path / "objects" / "info" / "alternates"
    alternates.parent.mkdir(exist_ok=True)
    alternates.write_text(f"{objects}\n")
