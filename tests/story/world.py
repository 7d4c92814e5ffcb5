"""mawasu as its users have it: the command in a subprocess, a home of its own, git, and callers of the gateway."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from mawasu.home import Home
from mawasu.ledger.fold import BuildState, State
from mawasu.ledger.ledger import Ledger
from mawasu.ledger.shelf import DirectoryShelf

T = TypeVar("T")
COMMAND = [sys.executable, "-c", "from mawasu.cli import main; main()"]


def eventually(get: Callable[[], T | None], what: str = "it", timeout: float = 30.0) -> T:
    """The first true answer of `get`; fails after `timeout` seconds."""
    give_up = time.monotonic() + timeout
    while not (answer := get()):
        assert time.monotonic() < give_up, f"{what} did not happen within {timeout:g} s"
        time.sleep(0.02)
    return answer


@dataclass(frozen=True)
class Done:
    """How a command ended; `text` is all it printed."""

    status: int
    out: str
    text: str

    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Answer:
    """What a caller of the gateway got."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)  # of one that is no refusal; names in lower case


class Mawasu:
    """One home with a port of its own. `environ` is what every command and every daemon of it sees."""

    def __init__(self, top: Path, *, home: Path | None = None) -> None:
        self.top = top
        self.home = home or top / "m"
        self.port = free_port()
        self.key = ""
        user = top / "user"
        user.mkdir(exist_ok=True)
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH") if name in os.environ}
        if "PYTHONPATH" in kept:  # it may be relative, and commands run elsewhere
            kept["PYTHONPATH"] = os.pathsep.join(str(Path(p).absolute()) for p in kept["PYTHONPATH"].split(os.pathsep))
        people = {f"GIT_{who}_{what}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        self.environ = {
            **kept,
            **dict.fromkeys(people, "tester@example.org"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "HOME": str(user),
            "MAWASU_HOME": str(self.home),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)]),
        }

    # ------------------------------------------------------------------------------------ the command

    def cli(self, *args: str, cwd: Path | None = None, stdin: str = "", check: bool = True) -> Done:
        """Run `mawasu ARGS`. With `check`, anything but success fails the test."""
        done = self.run([*COMMAND, *args], cwd or self.top, stdin)
        assert not check or done.status == 0, f"mawasu {' '.join(args)} → {done.status}\n{done.text}"
        return done

    def run(self, argv: list[str], cwd: Path, stdin: str = "", timeout: float = 120.0) -> Done:
        done = subprocess.run(
            argv, cwd=cwd, env=self.environ, input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )
        return Done(done.returncode, done.stdout, done.stdout + done.stderr)

    def up(self) -> Any:
        """Start it; the first time on its port, with `data` for data sets outside. What `mawasu up --json` says."""
        first = [] if self.key else ["--port", str(self.port), "--data", str(self.top / "data")]
        (self.top / "data").mkdir(exist_ok=True)
        found = self.cli("up", "--json", *first).json()
        if not self.key:
            self.key = self.cli("keys", "create", "tests", "--json").json()["key"]
        return found

    def down(self) -> None:
        self.cli("down")

    def repo(self, name: str, files: Mapping[str, str]) -> Repo:
        """A new repository with one commit on main, known to mawasu as the project `name`."""
        repo = Repo(self, self.top / name)
        repo.commit(files, "first")
        repo.git("remote", "add", "mawasu", str(self.home / "records" / "repos" / f"{name}.git"))
        self.cli("up", "--project", name)
        return repo

    # ------------------------------------------------------------------------------------ what it knows

    def state(self, feature: str) -> State:
        """What the feature's ledger says: for looking often, since each command starts an interpreter."""
        home = Home(self.home)
        return Ledger(DirectoryShelf(home.ledger, feature, home.checkpoints)).state()

    def serving(self, feature: str, environment: str = "staging") -> str:
        """The revision that an environment serves."""
        serving = self.state(feature).environments[environment].serving
        return serving.revision if serving else ""

    def builds(self, feature: str) -> list[dict[str, Any]]:
        """Newest first."""
        found: list[dict[str, Any]] = self.cli("builds", feature, "--json").json()
        return found

    def build(self, feature: str, number: int | None = None) -> Any:
        """`mawasu show --json` of one build (default: the newest)."""
        which = [str(number)] if number else []
        return self.cli("show", *which, "--feature", feature, "--json").json()

    def finished(self, feature: str, number: int) -> BuildState:
        """The build, once it has ended."""

        def look() -> BuildState | None:
            build = self.state(feature).builds.get(number)
            return build if build is not None and build.result is not None else None

        return eventually(look, f"the end of build {number}", 60.0)

    def status(self) -> dict[str, dict[str, Any]]:
        """feature/environment → its row of `mawasu status`."""
        rows = self.cli("status", "--json").json()["environments"]
        return {f"{row['feature']}/{row['environment']}": row for row in rows}

    def pid(self) -> int:
        """The daemon's process."""
        return int(self.cli("status", "--json").json()["up"]["pid"])

    # ------------------------------------------------------------------------------------ callers

    def call(self, path: str, key: str | None = "", body: object = None, headers: Mapping[str, str] = {}) -> Answer:
        """Ask the gateway, by default with this home's key; `key=None` sends none. Status 0: no answer at all."""
        sent = {"content-type": "application/json", **headers}
        if key is not None:
            sent["x-api-key"] = key or self.key
        data = json.dumps({"x": 0.5} if body is None else body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, sent, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                told = {name.lower(): value for name, value in response.headers.items()}
                return Answer(response.status, json.loads(response.read()), told)
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read().decode())
        except OSError as error:
            return Answer(0, str(error))

    def says(self, feature: str, environment: str = "staging") -> object:
        """What the handler that answers now was written to say."""
        answer = self.call(f"/{feature}/{environment}/predict")
        return answer.body["says"] if answer.status == 200 else answer


class Repo:
    """A checkout; `push` gives the `remote:` lines that git printed, with single spaces."""

    def __init__(self, mawasu: Mawasu, path: Path) -> None:
        self.mawasu = mawasu
        self.path = path
        path.mkdir()
        self.git("init", "-q", "-b", "main")

    def git(self, *args: str, check: bool = True) -> Done:
        done = self.mawasu.run(["git", *args], self.path)
        assert not check or done.status == 0, f"git {' '.join(args)} → {done.status}\n{done.text}"
        return done

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def commit(self, files: Mapping[str, str], message: str = "change") -> str:
        """Write files, commit everything; the commit's name."""
        self.write(files)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD").out.strip()

    def push(self, branch: str = "main", *options: str, check: bool = True) -> str:
        done = self.git("push", "mawasu", branch, *options, check=check)
        lines = (line.removeprefix("remote: ") for line in done.text.splitlines() if line.startswith("remote: "))
        return "\n".join(" ".join(line.split()) for line in lines)

    def push_files(self, files: Mapping[str, str], branch: str = "main") -> str:
        """Commit on the branch one is on and push it."""
        self.commit(files)
        return self.push(branch)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def alive(text: str) -> dict[int, str]:
    """Living processes (no zombies) whose command line or environment holds `text`, with their command lines."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command, environ = (path / "cmdline").read_bytes(), (path / "environ").read_bytes()
        except OSError:
            continue
        if command and text.encode() in command + environ:
            found[int(path.name)] = command.replace(b"\0", b" ").decode(errors="replace")
    return found
