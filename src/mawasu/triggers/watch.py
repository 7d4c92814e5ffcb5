"""Following a remote that cannot call us: look at its heads, fetch what moved into the project's repository."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from mawasu.errors import PlatformError, UsageError
from mawasu.git.command import environment, git
from mawasu.git.refs import safe_branch, shown
from mawasu.git.repository import heads
from mawasu.triggers.projects import Project, Watch
from mawasu.words import Commit

SCHEMES = ("https", "ssh", "git", "file")
_LONGEST_WAIT = 3600.0
_SCP = re.compile(r"([A-Za-z0-9._-]+@)?[A-Za-z0-9][A-Za-z0-9.-]*:(?!//)\S+")

Move = tuple[Commit | None, Commit | None, str]


def check_url(url: str) -> str:
    """The URL of a remote that may be followed, or the path of a repository here.

    Raises UsageError for other transports (`ext::` runs a command), for credentials in the URL (it is shown and
    recorded) and for what git would take for an option.
    """
    if not url.isprintable() or not url or url.startswith("-"):
        raise UsageError(f"{shown(url)} is no URL of a git repository")
    if "::" in url.partition("/")[0]:
        raise UsageError(f"{shown(url)} names a transport helper", f"use {', '.join(SCHEMES)} or a path")
    if "://" not in url:
        if _SCP.fullmatch(url) or Path(url).exists():
            return url
        raise UsageError(f"there is no repository at {shown(url)}", f"give a path or a URL ({', '.join(SCHEMES)})")
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise UsageError(f"{shown(parts.scheme)} URLs are not followed", f"use {', '.join(SCHEMES)} or a path")
    if parts.password is not None or (parts.scheme == "https" and parts.username):
        raise UsageError("credentials stand in the URL", "give them to git instead: `git config credential.helper …`")
    return url


class Watcher:
    """One followed remote. `state` is one line for people, `wait` the seconds until the next look.

    The remote may be away for as long as it likes: looking never raises for that, and is tried ever more rarely.
    """

    def __init__(self, project: Project, watch: Watch, timeout: float = 120.0) -> None:
        self.project = project
        self.state = "not looked at yet"
        self._watch = watch
        self._timeout = timeout
        self._failures = 0

    @property
    def wait(self) -> float:
        """Seconds: the interval, doubled with every failure in a row up to an hour."""
        return max(self._watch.interval, min(self._watch.interval * 2.0**self._failures, _LONGEST_WAIT))

    def poll_once(self) -> list[Move]:
        """Look, fetch, and say what moved: (old, new, branch), as `Push` has it; [] when the remote is away."""
        try:
            moves, left_out = self._poll()
        except PlatformError as error:
            self._failures = min(self._failures + 1, 20)
            self.state = f"unreachable: {error.message}"
            return []
        self._failures = 0
        self.state = "in sync" + (f"; left out for their names: {', '.join(left_out)}" if left_out else "")
        return moves

    def _poll(self) -> tuple[list[Move], list[str]]:
        there = self._remote_heads()
        left_out = [shown(branch) for branch in sorted(there) if safe_branch(branch) is not None]
        wanted = {branch: commit for branch, commit in there.items() if safe_branch(branch) is None}
        before = heads(self.project.repo)
        moved = sorted(branch for branch, commit in wanted.items() if before.get(branch) != commit)
        gone = sorted(set(before) - set(wanted))
        if moved:
            self._fetch(moved)
        if gone:
            deletions = "".join(f"delete refs/heads/{branch} {before[branch]}\n" for branch in gone)
            git("update-ref", "--stdin", repo=self.project.repo, stdin=deletions.encode())
        after = heads(self.project.repo) if moved or gone else before
        branches = (branch for branch in (*gone, *moved) if before.get(branch) != after.get(branch))
        return [(before.get(branch), after.get(branch), branch) for branch in branches], left_out

    def _remote_heads(self) -> dict[str, Commit]:
        out = self._ask("ls-remote", "--heads", "--", self._watch.url)
        lines = (line.split("\t", 1) for line in out.decode(errors="surrogateescape").splitlines())
        return {ref.removeprefix("refs/heads/"): Commit(oid) for oid, ref in lines}

    def _fetch(self, branches: list[str]) -> None:
        """Only what is wanted, by name on standard input: a remote has more branches than a command line has room."""
        refspecs = "".join(f"+refs/heads/{branch}:refs/heads/{branch}\n" for branch in branches)
        options = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules")
        self._ask("fetch", *options, "--stdin", "--", self._watch.url, stdin=refspecs.encode())

    def _ask(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """Talk to the remote with the user's settings (credentials, proxies), but only over these transports."""
        environ = environment(users=True) | {"GIT_ALLOW_PROTOCOL": ":".join(SCHEMES)}
        _, out = git(*arguments, repo=self.project.repo, stdin=stdin, environ=environ, timeout=self._timeout)
        return out
