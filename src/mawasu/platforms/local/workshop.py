"""What the steps up to the verdict need of this machine; nothing of what serves."""

from __future__ import annotations

import platform
from pathlib import Path

from mawasu.git.checkout import checkout
from mawasu.home import Home
from mawasu.platforms.local.images import LocalImages
from mawasu.platforms.local.jobs import LocalJobs
from mawasu.platforms.local.limits import Limiter
from mawasu.platforms.local.sandbox import Sandbox
from mawasu.platforms.local.secrets import Secrets
from mawasu.store.directory import DirectoryStore
from mawasu.words import Source


def lay_out(source: Source, dest: Path) -> None:
    checkout(source.repo, source.tree, dest)


class Machine:
    """`ports.Machine`: this one."""

    @property
    def architecture(self) -> str:
        return platform.machine()

    @property
    def python(self) -> str:
        return platform.python_version()


class LocalWorkshop(Machine):
    """`ports.Workshop`: what the steps up to the verdict need. With `terminal`, the user's own code in the foreground:
    jobs have the terminal, nothing is sandboxed, and images are shared with `shared` (the user's own home).
    """

    def __init__(self, home: Home, sandbox: Sandbox, *, shared: Home | None = None, terminal: bool = False) -> None:
        self.home = home.create()
        self.sandbox = sandbox
        limiter = Limiter.detect()
        self.limiter = limiter.name
        self.store = DirectoryStore(home.store)
        self.images = LocalImages(shared or home, sandbox, limiter)
        self.jobs = LocalJobs(home, self.store, sandbox, limiter, lay_out, terminal=terminal)
        self.secrets = Secrets(shared or home)
