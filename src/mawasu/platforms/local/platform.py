"""The local platform put together."""

from __future__ import annotations

import platform
from pathlib import Path

from mawasu import git
from mawasu.home import Home
from mawasu.platforms.local.gateway import LocalGateway
from mawasu.platforms.local.images import LocalImages
from mawasu.platforms.local.jobs import LocalJobs
from mawasu.platforms.local.limits import Limiter
from mawasu.platforms.local.process import SupervisorHost, ensure_running
from mawasu.platforms.local.sandbox import Sandbox
from mawasu.platforms.local.secrets import Secrets
from mawasu.platforms.local.services import LocalServices
from mawasu.store import DirectoryStore
from mawasu.words import Source


def lay_out(source: Source, dest: Path) -> None:
    git.checkout(source.repo, source.tree, dest)


class Machine:
    """`ports.Machine`: this one."""

    @property
    def architecture(self) -> str:
        return platform.machine()

    @property
    def python(self) -> str:
        return platform.python_version()


class LocalPlatform(Machine):
    """`ports.Platform` on this machine. `start` brings the supervisor and the gateway up (or finds them up)."""

    def __init__(self, home: Home, *, port: int, trust_pushers: bool) -> None:
        self.home = home.create()
        self.store = DirectoryStore(home.store)
        self.sandbox = Sandbox.detect(trust_pushers)
        self.images = LocalImages(home, self.sandbox)
        limiter = Limiter.detect()
        self.jobs = LocalJobs(home, self.store, self.sandbox, limiter, lay_out)
        self.limiter = limiter.name
        host = SupervisorHost(home)
        self.services = LocalServices(home, host, self.sandbox, self.store)
        self.gateway = LocalGateway(home, port, "127.0.0.1", host)
        self.secrets = Secrets(home)

    def start(self) -> None:
        ensure_running(self.home)
        self.gateway.start()

