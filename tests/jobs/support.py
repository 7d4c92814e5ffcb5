"""What the tests of this room share: a store in memory, a log in memory, and a bench that runs one job."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from mawasu.home import Home
from mawasu.platforms.local.jobs import LocalJobs
from mawasu.platforms.local.limits import Limiter
from mawasu.platforms.local.sandbox import Sandbox
from mawasu.ports import Cancel
from mawasu.words import Digest, Image, JobSpec, Outcome, Output, Resources, Source, Tree, digest_of, digest_of_value

MIB = 2**20
MODEL = Output("MAWASU_MODEL", also=("AIP_MODEL_DIR",))


def eventually(condition: Callable[[], bool], timeout: float = 10.0) -> None:
    """Poll until the condition holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.01)


class Lines:
    """A log in memory."""

    path: Path | None = None

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: str) -> None:
        self.lines.append(line)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


class Folder:
    """A store that keeps everything in memory: the rooms below are not what these tests are about."""

    def __init__(self) -> None:
        self.blobs: dict[Digest, bytes] = {}
        self.trees: dict[Digest, dict[str, bytes]] = {}

    def put_bytes(self, data: bytes) -> Digest:
        self.blobs[digest_of(data)] = data
        return digest_of(data)

    def put_file(self, path: Path) -> Digest:
        return self.put_bytes(path.read_bytes())

    def put_tree(self, root: Path) -> Digest:
        files = {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}
        return self.put_files(files)

    def put_files(self, files: Mapping[str, bytes]) -> Digest:
        digest = digest_of_value({name: digest_of(data) for name, data in files.items()})
        self.trees[digest] = dict(files)
        return digest

    def has(self, digest: Digest) -> bool:
        return digest in self.blobs or digest in self.trees

    def read(self, digest: Digest) -> bytes:
        return self.blobs[digest]

    def write_file(self, digest: Digest, path: Path) -> None:
        path.write_bytes(self.blobs[digest])

    def write_tree(self, digest: Digest, root: Path) -> None:
        for name, data in self.trees[digest].items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)
            (root / name).chmod(0o400)

    def create(self, name: str, data: bytes) -> bool:
        raise AssertionError("jobs name nothing")

    def get(self, name: str) -> bytes | None:
        raise AssertionError("jobs name nothing")

    def names(self, prefix: str) -> Iterable[str]:
        raise AssertionError("jobs name nothing")


class Bench:
    """Runs one command as a job and keeps its log."""

    def __init__(self, home: Home, sandbox: Sandbox, limiter: Limiter, image: Image) -> None:
        self.home = home
        self.store = Folder()
        self.log = Lines()
        self.cancel = Cancel()
        self.sandbox = sandbox
        self.limiter = limiter
        self.image = image
        self.files: dict[str, str] = {}
        self.max_processes = 1024

    def jobs(self) -> LocalJobs:
        def lay_out(source: Source, dest: Path) -> None:
            dest.mkdir()
            for name, text in self.files.items():
                (dest / name).parent.mkdir(parents=True, exist_ok=True)
                (dest / name).write_text(text)

        return LocalJobs(self.home, self.store, self.sandbox, self.limiter, lay_out, max_processes=self.max_processes)

    def run(
        self,
        command: str,
        *,
        memory: int = 512 * MIB,
        timeout: float = 60,
        root: str = "",
        workers: int = 1,
        accelerator: str = "",
        **more: Any,
    ) -> Outcome:
        spec = JobSpec(
            name="callback/main/1a2b3c/train",
            command=command,
            source=Source("", root, Tree({})),
            image=self.image,
            resources=Resources(
                cpu=1,
                memory=memory,
                timeout=timeout,
                workers=workers,
                accelerator=accelerator,
                accelerators=1 if accelerator else 0,
            ),
            **more,
        )
        return self.jobs().run(spec, self.log, self.cancel)

    def python(self, code: str, **more: Any) -> Outcome:
        self.files["code.py"] = code
        return self.run("python code.py", **more)


def alive(word: str) -> list[int]:
    """Processes of the machine whose command line holds `word`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if word.encode() in words:
            found.append(int(path.parent.name))
    return found
