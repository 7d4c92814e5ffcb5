"""mawasu as its users have it, in a temporary place: the command, a home of its own, git, callers of the gateway."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mawasu.home import Home
from mawasu.ledger.ledger import Ledger
from mawasu.ledger.shelf import DirectoryShelf

BIN = Path(sys.executable).parent
MAWASU = str(BIN / "mawasu")
_NETWORK = re.compile(r"(UV|PIP|SSL|REQUESTS)_\w+|\w+_(proxy|PROXY)")  # how this machine reaches packages


def environment(top: Path) -> dict[str, str]:
    """Of every command that is measured: nobody's git settings, byte code is kept, one home below `top`."""
    kept = {name: value for name, value in os.environ.items() if name == "LANG" or _NETWORK.fullmatch(name)}
    if "PYTHONPATH" in os.environ:  # it may be relative, and commands run elsewhere
        entries = os.environ["PYTHONPATH"].split(os.pathsep)
        kept["PYTHONPATH"] = os.pathsep.join(str(Path(entry).absolute()) for entry in entries)
    people = {f"GIT_{who}_{what}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {
        **kept,
        **dict.fromkeys(people, "bench@example.org"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "HOME": str(top),
        "MAWASU_HOME": str(top / "m"),
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }


def run(argv: list[str], cwd: Path, environ: Mapping[str, str], *, check: bool = True) -> str:
    """Run a command to its end: all it printed. Raises SystemExit with that if it fails."""
    done = subprocess.run(
        argv, cwd=cwd, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if check and done.returncode:
        raise SystemExit(f"{' '.join(argv)} ended with status {done.returncode}\n{done.stdout}")
    return done.stdout


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """A directory that others may pass (sandboxed code has another user), gone afterwards."""
    top = Path(tempfile.mkdtemp(prefix="mb-"))
    top.chmod(0o755)
    try:
        yield top
    finally:
        shutil.rmtree(top, ignore_errors=True)


@contextlib.contextmanager
def living() -> Iterator[World]:
    """A mawasu that is up, with a key that opens everything; down and gone afterwards."""
    with place() as top:
        world = World(top)
        try:
            world.mawasu("up", "--port", str(world.port))
            world.key = json.loads(world.mawasu("keys", "create", "bench", "--json"))["key"]
            yield world
        finally:
            for caller in world.callers:
                caller.close()
            run([MAWASU, "down"], top, world.environ, check=False)


class World:
    def __init__(self, top: Path) -> None:
        self.top = top
        self.environ = environment(top)
        self.home = Home(top / "m")
        self.port = free_port()
        self.key = ""
        self.callers: list[Caller] = []

    def mawasu(self, *arguments: str, cwd: Path | None = None) -> str:
        return run([MAWASU, *arguments], cwd or self.top, self.environ)

    def repo(self, name: str, files: Mapping[str, str]) -> Repo:
        """A repository with these files committed on main, whose remote `mawasu` is a project, and whose remote
        `plain` is a bare repository with the same settings and no hooks.
        """
        repo = Repo(self.top / name, self.environ)
        self.mawasu("up", "--project", name)
        bare = self.home.repos / f"{name}.git"
        plain = self.top / f"{name}-plain.git"
        repo.git("init", "-q", "--bare", str(plain))
        shutil.copyfile(bare / "config", plain / "config")
        for hook in (plain / "hooks").iterdir():
            hook.unlink()
        repo.git("remote", "add", "mawasu", str(bare))
        repo.git("remote", "add", "plain", str(plain))
        repo.commit(files, "first")
        return repo

    def ledger(self, feature: str) -> Ledger:
        """Read as another process; nothing is written, checkpoints lie elsewhere."""
        return Ledger(DirectoryShelf(self.home.ledger, feature, self.top / "checkpoints"))

    def caller(self, feature: str) -> Caller:
        """Its connection is closed with the world."""
        self.callers.append(caller := Caller(self.port, f"/{feature}/staging/predict", self.key))
        return caller


class Repo:
    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self.path = path
        self.environ = environ
        path.mkdir()
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str) -> str:
        return run(["git", *arguments], self.path, self.environ)

    def commit(self, files: Mapping[str, str], message: str = "change") -> None:
        for name, text in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)

    def start_push(self, remote: str = "mawasu") -> subprocess.Popen[str]:
        argv = ["git", "push", "-q", remote, "main"]
        return subprocess.Popen(
            argv, cwd=self.path, env=self.environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def push(self, remote: str = "mawasu") -> float:
        """Push main to its end: seconds."""
        began = time.perf_counter()
        process = self.start_push(remote)
        said, _ = process.communicate()
        seconds = time.perf_counter() - began
        if process.returncode:
            raise SystemExit(f"git push ended with status {process.returncode}\n{said}")
        return seconds


class Caller:
    """Asks the gateway over one connection that it keeps."""

    def __init__(self, port: int, path: str, key: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        self._path = path
        self.headers = {"content-type": "application/json", "x-api-key": key}

    def close(self) -> None:
        self._connection.close()

    def ask(self) -> tuple[int, Any]:
        """Status and JSON body; (0, None) when there was no answer."""
        try:
            self._connection.request("POST", self._path, b'{"x": 0.5}', self.headers)
            answer = self._connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return 0, None
        return answer.status, json.loads(text) if answer.status == 200 else text.decode()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
