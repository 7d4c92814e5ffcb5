"""Entries to write, and running a piece of Python in a process of its own, where system calls fail or kill it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mawasu.ledger.entries import (
    AnyBody,
    BuildFinished,
    BuildPlanned,
    BuildQueued,
    ReleaseRegistered,
    StepFinished,
    StepStarted,
    Switched,
    SwitchIntended,
)
from mawasu.words import Commit, Digest, Outcome, Push, Result, digest_of


def run_python(script: str, *arguments: object, before: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run `script` (its arguments in `sys.argv[1:]`), behind the words of `before`; ends within 60 s."""
    command = [*before, sys.executable, "-c", script, *map(str, arguments)]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)


def with_fault(calls: str, fault: str, when: int | str = 1) -> list[str]:
    """The words that make the Nth of these system calls fail (`error=EIO`) or kill its process (`signal=KILL`)."""
    inject = f"inject={calls}:{fault}:when={when}"
    return ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={calls}", "-e", inject]


def with_small_disk(path: Path, size: int) -> list[str]:
    """The words that put a new file system of `size` bytes at `path`, for this command only."""
    return ["bwrap", "--dev-bind", "/", "/", "--size", str(size), "--tmpfs", str(path), "--die-with-parent"]


def digest(text: str) -> Digest:
    return digest_of(text.encode())


def commit(text: str) -> Commit:
    return Commit(digest(text)[7:47])


def queued(build: int, branch: str = "main", environment: str = "staging", *, dirty: bool = False) -> BuildQueued:
    push = Push("flights", branch, None, commit(f"{branch} {build}"), dirty=dirty)
    return BuildQueued(build, push, environment)


def finished_step(build: int, key: str, output: Digest, step: str = "train") -> StepFinished:
    return StepFinished(build, step, digest(key), Outcome(Result.OK, {"model": output}, 1.5))


def registered(build: int, release: str, model: Digest, key: str, branch: str = "main") -> ReleaseRegistered:
    name = f"flight-delay/{branch}/{commit(f'{branch} {build}')}"
    return ReleaseRegistered(
        build, digest(release), name, commit(f"{branch} {build}"), branch, {"model": model}, {"train": digest(key)}
    )


def whole_build(
    build: int, branch: str, environment: str, model: Digest, plan: Digest, *, key: str = "", runs: bool = True
) -> list[AnyBody]:
    """All entries of a build that trains (or reuses) one model and serves it."""
    key = key or f"key {build}"
    release = f"release of {model}"
    steps: list[AnyBody] = [StepStarted(build, "train", digest(key)), finished_step(build, key, model)] if runs else []
    return [
        queued(build, branch, environment),
        BuildPlanned(build, plan, (("train", digest(key), runs),), digest(release)),
        *steps,
        registered(build, release, model, key, branch),
        SwitchIntended(build, environment, digest(release), f"revision-{build}"),
        Switched(build, environment, digest(release), f"revision-{build}"),
        BuildFinished(build, Result.SERVED),
    ]
