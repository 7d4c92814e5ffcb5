"""Dockerfiles without a container engine: mawasu's own are run until the environment is there, users' are checked."""

from __future__ import annotations

import atexit
import fnmatch
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from uv import find_uv_bin

PLACE = "/opt/image"
_LOCKS: dict[str, threading.Lock] = {}
_GUARD = threading.Lock()
_CACHE: list[tempfile.TemporaryDirectory[str]] = []

Line = Callable[[str], None]


class FailedError(Exception):
    """The Dockerfile does not build; `lines` as BuildKit prints them."""

    def __init__(self, *lines: str) -> None:
        super().__init__(lines[-1])
        self.lines = lines


def environment(files: Mapping[str, bytes], dockerfile: str, line: Line) -> Path:
    """The Python environment that stands for the image. Raises FailedError."""
    if dockerfile not in files:
        raise FailedError(f"ERROR: failed to build: failed to read dockerfile: open {dockerfile}: no such file")
    steps = _instructions(files[dockerfile].decode())
    if not steps or steps[0][1] not in ("FROM", "ARG"):
        raise FailedError(f"ERROR: failed to build: dockerfile parse error: {dockerfile} does not begin with FROM")
    for number, word, rest in steps:
        line(f"#{number + 1} [{number}] {word} {rest}"[:200])
        if word == "COPY":
            _check_copy(files, dockerfile, number, rest)
    if not any(PLACE in rest for _, _, rest in steps) or any(rest.startswith("mawasu ") for _, _, rest in steps):
        return Path(sys.prefix)  # a user's own, or the runner: the Python that runs the tests
    key = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:16]
    with _GUARD:
        lock = _LOCKS.setdefault(key, threading.Lock())
        if not _CACHE:
            _CACHE.append(tempfile.TemporaryDirectory(prefix="mawasu-double-"))
            atexit.register(_CACHE[0].cleanup)
    with lock:
        root = Path(_CACHE[0].name) / key
        if not (root / "said").exists():
            said: list[str] = []
            try:
                _run(files, steps, root, said.append)
            except FailedError as failed:
                shutil.rmtree(root)
                raise FailedError(*said, *failed.lines) from failed
            (root / "said").write_text("\n".join(said))
        for one in (root / "said").read_text().splitlines():
            line(one)
    return root / "image"


def _instructions(text: str) -> list[tuple[int, str, str]]:
    """(line, instruction, the rest), continued lines joined."""
    found, pending, began = [], "", 0
    for number, one in enumerate(text.splitlines(), 1):
        if not pending and (not one.strip() or one.lstrip().startswith("#")):
            continue
        began = began if pending else number
        pending += one.strip().removesuffix("\\") if one.rstrip().endswith("\\") else one.strip()
        if not one.rstrip().endswith("\\"):
            word, _, rest = pending.partition(" ")
            found.append((began, word.upper(), rest.strip()))
            pending = ""
    return found


def _sources(rest: str) -> tuple[list[str], bool]:
    """What a COPY copies, and whether it comes from another stage or image."""
    words = json.loads(rest) if rest.startswith("[") else shlex.split(rest)
    options = [word for word in words if word.startswith("--")]
    return words[len(options) : -1], any(word.startswith("--from") for word in options)


def _check_copy(files: Mapping[str, bytes], dockerfile: str, number: int, rest: str) -> None:
    sources, elsewhere = _sources(rest)
    for source in [] if elsewhere else sources:
        name = str(PurePosixPath(source)).lstrip("/").removeprefix("./")
        if name == "." or any(fnmatch.fnmatch(file, name) or file.startswith(name + "/") for file in files):
            continue
        missing = f'failed to calculate checksum of ref a::b: "/{name}": not found'
        raise FailedError(
            f"#{number} ERROR: {missing}",
            "------",
            f" > [{number}/{number}] COPY {rest}:",
            "------",
            f"{dockerfile}:{number}",
            "--------------------",
            f"  {number} | >>> COPY {rest}",
            "--------------------",
            f"ERROR: failed to build: failed to solve: failed to compute cache key: {missing}",
        )


def _run(files: Mapping[str, bytes], steps: list[tuple[int, str, str]], root: Path, line: Line) -> None:
    """The first stage, whose last words are the packages' installation."""
    work = root / "lock"
    work.mkdir(parents=True, exist_ok=True)
    variables: dict[str, str] = {}
    for number, word, rest in steps[1:]:
        if word == "FROM":
            return
        if word == "ENV":
            variables |= dict(pair.split("=", 1) for pair in shlex.split(rest))
        elif word == "COPY" and "--from" not in rest:
            for name in _sources(rest)[0]:
                (work / name).write_bytes(files[name])
        elif word == "RUN":
            _command(rest, number, variables, root, work, line)


def _command(command: str, number: int, variables: Mapping[str, str], root: Path, work: Path, line: Line) -> None:
    here = {name: _placed(value, root) for name, value in variables.items() if name != "UV_NO_CACHE"}
    path = f"{Path(find_uv_bin()).parent}:{os.environ['PATH']}"
    environ = {"PATH": path, "HOME": os.environ.get("HOME", "/"), **here, "UV_NO_CONFIG": "1"}
    environ |= {name: value for name, value in os.environ.items() if re.match(r"(UV|SSL|HTTPS?)_|PIP_INDEX", name)}
    done = subprocess.run(
        ["sh", "-c", _placed(command, root)],
        cwd=work,
        env=environ | here,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = [f"#{number} 0.{index:03} {one}" for index, one in enumerate(done.stdout.splitlines())]
    for one in said:
        line(one)
    if done.returncode:
        solved = f'process "/bin/sh -c {command}" did not complete successfully: exit code: {done.returncode}'
        raise FailedError(f"#{number} ERROR: {solved}", f"ERROR: failed to build: failed to solve: {solved}")


def _placed(text: str, root: Path) -> str:
    return text.replace(PLACE, str(root / "image")).replace("/usr/local/bin/python", sys.executable)
