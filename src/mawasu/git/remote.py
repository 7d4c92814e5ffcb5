"""A branch of a repository somewhere else: fetched as one commit, and moved if it is where it was said to be."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from mawasu.errors import PlatformError
from mawasu.git.command import environment, git, is_object_name
from mawasu.git.refs import safe_branch, shown
from mawasu.git.repository import resolve
from mawasu.words import Commit

_HELPER = (
    '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n" "$MAWASU_GIT_USER" "$MAWASU_GIT_PASSWORD"; }; f'
)
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class Remote:
    """`repo` is a bare repository that takes what is fetched. Every method raises PlatformError.

    The password goes to git by its environment, and from there to this one server: it stands on no command line, in no
    URL, in no file (gitcredentials(7)).
    """

    def __init__(self, repo: Path, url: str, user: str, password: str, timeout: float = 600.0) -> None:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        if parts.scheme != "https" and not (parts.scheme == "http" and (parts.hostname or "") in _LOOPBACK):
            raise PlatformError(f"{url} is no https:// URL: a password would pass in the open")
        self.repo, self._url, self._timeout = repo, url, timeout
        self._environ = environment() | {
            "GIT_ALLOW_PROTOCOL": parts.scheme,
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"credential.{parts.scheme}://{host}.helper",
            "GIT_CONFIG_VALUE_0": _HELPER,
            "MAWASU_GIT_USER": user,
            "MAWASU_GIT_PASSWORD": password,
        }

    def head(self, branch: str) -> Commit | None:
        """Where the branch is now; None when it is not there."""
        out = self._ask("ls-remote", "--heads", "--", self._url, _ref(branch))[1]
        found = (line.split("\t", 1) for line in out.decode(errors="replace").splitlines())
        return next((Commit(oid) for oid, ref in found if ref == _ref(branch) and is_object_name(oid)), None)

    def fetch(self, branch: str) -> Commit | None:
        """The branch's head, brought here with its files and without its history; None when it is not there."""
        if self.head(branch) is None:
            return None
        options = ("--quiet", "--depth=1", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules")
        self._ask("fetch", *options, "--", self._url, f"+{_ref(branch)}:{_ref(branch)}")
        return resolve(self.repo, _ref(branch))

    def push(self, branch: str, old: Commit, new: Commit) -> bool:
        """Move the branch from one commit to another; False if it is somewhere else by now."""
        if not (is_object_name(old) and is_object_name(new)):
            raise PlatformError(f"{old!a} or {new!a} is not the full name of a commit")
        lease = f"--force-with-lease={_ref(branch)}:{old}"
        status, out = self._ask(
            "push", "--porcelain", "--no-verify", lease, "--", self._url, f"{new}:{_ref(branch)}", ok=(0, 1, 128)
        )
        if status == 0:
            return True
        # Whatever it said, and also when its answer was lost: what counts is where the branch is.
        now = self.head(branch)
        if now == old:
            said = f"{self._url} does not take a commit on {branch}: {_reason(out)}"
            raise PlatformError(said, "do rules of the branch keep Cloud Build's app from pushing to it?")
        return now == new

    def _ask(self, *arguments: str, ok: tuple[int, ...] = (0,)) -> tuple[int, bytes]:
        return git(*arguments, repo=self.repo, environ=self._environ, timeout=self._timeout, ok=ok)


def _ref(branch: str) -> str:
    if fault := safe_branch(branch):
        raise PlatformError(f"branch {shown(branch)}: {fault}")
    return f"refs/heads/{branch}"


def _reason(out: bytes) -> str:
    """Why a ref was rejected (git-push(1), OUTPUT: `!`, the refs, a summary with the reason)."""
    lines = (line.split("\t") for line in out.decode(errors="replace").splitlines() if line.startswith("!\t"))
    said = next((line[2] for line in lines if len(line) == 3), "it does not say why")
    return "".join(char if char.isprintable() else "?" for char in said)
