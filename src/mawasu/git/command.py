"""Running `git` so that neither names, settings nor the environment can make it do something else."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from mawasu.errors import PlatformError

_ALWAYS = (
    "-c", "core.hooksPath=/dev/null",  # no hook of a repository runs because mawasu looks at it
    "-c", "core.fsmonitor=false",  # a setting that names a program
    "-c", "protocol.ext.allow=never",
    "-c", "gc.auto=0",
    "-c", "core.splitIndex=false",  # a copy of an index is whole
)  # fmt: skip

_OBJECT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def is_object_name(text: str) -> bool:
    """A whole object name, never a ref or an option: 40 (SHA-1) or 64 (SHA-256) hex digits."""
    return _OBJECT.fullmatch(text) is not None


def environment(*, users: bool = False) -> dict[str, str]:
    """What git is told by its environment.

    Variables of a surrounding git (`GIT_DIR`, `GIT_QUARANTINE_PATH` inside hooks) never leak in. With `users` the
    user's own configuration counts, as his working tree (line endings, ignores) and his remotes (credentials) need;
    without, git sees the repository's configuration and ours only.
    """
    kept = {"GIT_SSH_COMMAND", "GIT_SSH", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"} if users else set()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name in kept}
    # Replacement objects would make one commit name mean two trees.
    environ |= {"LC_ALL": "C", "GIT_NO_REPLACE_OBJECTS": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}
    if not users:
        environ |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    return environ


def command(*arguments: str, repo: str | os.PathLike[str] | None = None) -> list[str]:
    """The argument list of one hardened call. Naming the git directory skips discovery and its ownership rules."""
    where = [] if repo is None else [f"--git-dir={os.fspath(repo)}"]
    return ["git", "--no-pager", *_ALWAYS, *where, *arguments]


def start(arguments: Sequence[str], environ: Mapping[str, str], cwd: Path | None = None) -> subprocess.Popen[bytes]:
    """Start git with pipes on all three streams, in a session of its own: no terminal to ask, one group to end."""
    try:
        return subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environ,
            cwd=cwd,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        if cwd is not None and not cwd.is_dir():
            raise PlatformError(f"{cwd} is not a directory") from error
        raise PlatformError("git is not installed", "install git 2.36 or newer") from error


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill git and what it started (ssh, git-remote-https), and reap it."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with contextlib.suppress(BrokenPipeError):
                stream.close()


def git(
    *arguments: str,
    repo: str | os.PathLike[str] | None = None,
    cwd: Path | None = None,
    stdin: bytes = b"",
    environ: Mapping[str, str] | None = None,
    timeout: float = 600.0,
    ok: tuple[int, ...] = (0,),
) -> tuple[int, bytes]:
    """Run git to its end; its exit status and standard output.

    Raises PlatformError for an exit status outside `ok`, with the last thing git said, and after `timeout` seconds.
    """
    process = start(command(*arguments, repo=repo), environ if environ is not None else environment(), cwd)
    try:
        out, err = process.communicate(stdin, timeout)
    except subprocess.TimeoutExpired as error:
        raise PlatformError(f"git {arguments[0]} took longer than {timeout:g} s", "is the remote reachable?") from error
    finally:
        end(process)
    if process.returncode not in ok:
        raise PlatformError(f"git {arguments[0]} failed in {repo or cwd}: {complaint(err)}")
    return process.returncode, out


def complaint(stderr: bytes) -> str:
    """The line in which git says what is wrong."""
    lines = [line for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    said = [line for line in lines if line.startswith(("fatal:", "error:"))]
    line = (said or lines or ["it said nothing"])[0]
    return "".join(char if char.isprintable() else "?" for char in line)
