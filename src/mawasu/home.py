"""The layout of a mawasu home, in one place: records (back these up), cache (delete at any time), run (sockets)."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

VARIABLE = "MAWASU_HOME"


class Home:
    """Paths below one directory. Creating a `Home` touches nothing."""

    def __init__(self, path: Path | str | None = None) -> None:
        chosen = path or os.environ.get(VARIABLE) or Path.home() / ".mawasu"
        self.path = Path(chosen).absolute()

    # records: what cannot be derived again
    @property
    def records(self) -> Path:
        return self.path / "records"

    @property
    def ledger(self) -> Path:
        return self.records / "ledger"  # one directory per feature

    @property
    def store(self) -> Path:
        return self.records / "store"

    @property
    def repos(self) -> Path:
        return self.records / "repos"  # <project>.git

    @property
    def keys(self) -> Path:
        return self.records / "keys"

    @property
    def secrets(self) -> Path:
        return self.records / "secrets"

    @property
    def logs(self) -> Path:
        return self.records / "logs"  # <feature>/<build>/<step>.log

    @property
    def predictions(self) -> Path:
        return self.records / "predictions"  # <feature>/<environment>/*.parquet, and spool/ for what comes in

    # cache: only time is lost with it
    @property
    def cache(self) -> Path:
        return self.path / "cache"

    @property
    def images(self) -> Path:
        return self.cache / "images"

    @property
    def uv_cache(self) -> Path:
        return self.cache / "uv"

    @property
    def trees(self) -> Path:
        return self.cache / "trees"  # stored directories, laid out: <hex digest>/

    @property
    def workspaces(self) -> Path:
        return self.cache / "workspaces"

    @property
    def checkpoints(self) -> Path:
        return self.cache / "checkpoints"

    # run: sockets and state of processes that are up
    @property
    def run(self) -> Path:
        """Sockets live here. A Unix socket's path holds 107 bytes, so a long home gets a short, private stand-in."""
        inside = self.path / "run"
        if len(os.fsencode(inside)) <= 50:
            return inside
        name = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"mawasu-{os.getuid()}-{name}"

    @property
    def daemon_socket(self) -> Path:
        return self.run / "daemon.sock"

    @property
    def supervisor_socket(self) -> Path:
        return self.run / "supervisor.sock"

    @property
    def services(self) -> Path:
        return self.run / "services"  # <revision>/: spec, sockets

    @property
    def gateway(self) -> Path:
        return self.run / "gateway"

    @property
    def lock(self) -> Path:
        return self.path / "lock"  # held by the daemon: one daemon per home

    @property
    def settings(self) -> Path:
        return self.path / "settings.json"

    def create(self) -> Home:
        """Make the directories, private to their owner."""
        for path in (self.path, self.records, self.cache, self.run):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.run.stat().st_uid != os.getuid():
            raise PermissionError(f"{self.run} belongs to another user")
        self.run.chmod(0o700)
        return self
