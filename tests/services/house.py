"""A home with a real supervisor and real processes, and what tests ask about them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from mawasu.home import Home
from mawasu.platforms.local.process import LocalProcesses, ProcessStatus, ask
from mawasu.platforms.local.services import LocalServices
from mawasu.words import Digest, File, Handler, Image, Resources, ServiceSpec, Source, Tree, digest_of

T = TypeVar("T")
ENVIRON = {"PATH": "/usr/bin:/bin"}


def eventually(get: Callable[[], T | None], timeout: float = 20.0) -> T:
    """The first true answer of `get`; fails after `timeout` seconds."""
    give_up = time.monotonic() + timeout
    while not (answer := get()):
        assert time.monotonic() < give_up, "it never happened"
        time.sleep(0.01)
    return answer


def alive(text: str) -> list[int]:
    """Living processes (no zombies) whose command line or environment holds `text`."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            said = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
        except OSError:
            continue
        if text.encode() in said and said:
            found.append(int(path.name))
    return found


class Lines:
    """A step's log, as a list."""

    path = None

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: str) -> None:
        self.lines.append(line)


class Direct:
    """No sandbox: only the working directory."""

    def wrap(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        read_only: Sequence[Path],
        writable: Sequence[Path],
        environ: Mapping[str, str],
        network: bool,
        memory: int | None,
    ) -> list[str]:
        for path in (*read_only, *writable):
            assert path.exists(), path
        return ["/bin/sh", "-c", 'cd "$0" && exec "$@"', str(cwd), *argv]

    def own(self, path: Path) -> None:
        assert path.is_dir()


class Trees:
    """The one door of the store that services use: directories by digest."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def add(self, files: Mapping[str, str]) -> Digest:
        digest = digest_of(repr(sorted(files.items())).encode())
        for name, text in files.items():
            path = self._root / digest / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return digest

    def write_tree(self, digest: Digest, root: Path) -> None:
        shutil.copytree(self._root / digest, root)


class House:
    """`home`, its supervisor's client, and services whose sources are texts."""

    def __init__(self, directory: Path) -> None:
        self.home = Home(directory / "h").create()
        self.host = LocalProcesses(self.home)
        self.trees = Trees(directory / "trees")
        self.sources: dict[str, str] = {}
        self.services = self.new_services()
        self.image = image(directory / "image")

    def new_services(self) -> LocalServices:
        """As a daemon that was restarted makes them."""
        return LocalServices(self.home, LocalProcesses(self.home), Direct(), self.trees, self._lay_out)

    def _lay_out(self, source: Source, dest: Path) -> None:
        dest.mkdir()
        for path, file in source.tree.files.items():
            (dest / path).parent.mkdir(parents=True, exist_ok=True)
            (dest / path).write_text(self.sources[file.oid])

    def spec(self, code: str, revision: str = "r1", **fields: object) -> ServiceSpec:
        """A revision whose feature lives in `f/`, with `code` in `f/api/handler.py`."""
        self.sources[str(hash(code))] = code
        tree = Tree({"f/api/handler.py": File("100644", str(hash(code)))})
        told: dict[str, object] = {
            "revision": revision,
            "feature": "late",
            "environment": "staging",
            "release": digest_of(b"release"),
            "source": Source("", "f", tree),
            "image": Image(digest_of(b"image"), str(self.image)),
            "handler": Handler("api.handler:predict"),
            "model": None,
            "resources": Resources(),
        }
        return ServiceSpec(**{**told, **fields})  # type: ignore[arg-type]

    def supervisor(self) -> int:
        return int(ask(self.home, {"do": "ping"})["pid"])

    def process(self, name: str) -> ProcessStatus:
        return next(status for status in self.host.status() if status.name == name)


def image(path: Path) -> Path:
    """An image's directory as far as services look: its interpreter."""
    (path / "bin").mkdir(parents=True)
    python = path / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return path


def daemon(home: Home, code: str) -> subprocess.CompletedProcess[str]:
    """Another process that uses the home, and is gone afterwards."""
    program = f"from pathlib import Path\nfrom mawasu.home import Home\nhome = Home({str(home.path)!r})\n{code}"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
