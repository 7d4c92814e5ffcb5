"""The five capabilities of a platform (design §6), and the two small things they are given: a log and a way to stop."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from mawasu.words import (
    Digest,
    Endpoint,
    Image,
    ImageSpec,
    JobSpec,
    Outcome,
    RevisionStatus,
    ServiceSpec,
    Site,
)

Cancel = threading.Event
"""Set by whoever gives the work up; the work ends within a second and leaves no process behind."""


class Log(Protocol):
    """Where one step writes what its user should read. `path` is None where the log is not a local file."""

    @property
    def path(self) -> Path | None: ...

    def write(self, line: str) -> None:
        """One line, without its newline."""


class Store(Protocol):
    """Bytes by digest, directories by the digest of their manifest, and named objects created only if absent."""

    def put_bytes(self, data: bytes) -> Digest: ...

    def put_file(self, path: Path) -> Digest: ...

    def put_tree(self, root: Path) -> Digest:
        """Store a directory (files and their executable bit; no links, no special files)."""

    def has(self, digest: Digest) -> bool: ...

    def read(self, digest: Digest) -> bytes:
        """The bytes, verified. Raises CorruptError, also when the object is missing."""

    def write_file(self, digest: Digest, path: Path) -> None: ...

    def write_tree(self, digest: Digest, root: Path) -> None:
        """Lay a stored directory out at `root` (which must not exist), every byte verified; complete or absent."""

    def create(self, name: str, data: bytes) -> bool:
        """Create a named object; False if the name is taken (the first stands)."""

    def get(self, name: str) -> bytes | None: ...

    def names(self, prefix: str) -> Iterable[str]: ...


class Images(Protocol):
    def has(self, key: Digest) -> bool: ...

    def ensure(self, spec: ImageSpec, log: Log, cancel: Cancel) -> Image:
        """Make the image unless it is there. Raises StepError with what the package manager said."""


class Jobs(Protocol):
    def run(self, job: JobSpec, log: Log, cancel: Cancel) -> Outcome:
        """Run to its end; never raises for what the user's code does. Outputs are in the store when it returns OK."""


class Services(Protocol):
    def name(self, spec: ServiceSpec, build: int) -> str:
        """What the revision is to be called, whatever `spec.revision` says; the same when a build is resumed.

        A platform that keeps old revisions gives a release the name it had before, so that a revert finds it.
        """

    def start(self, spec: ServiceSpec, log: Log) -> Endpoint:
        """Start the revision's replicas (again: nothing happens if it runs with the same spec); does not wait."""

    def wait_ready(self, revision: str, timeout: float, cancel: Cancel) -> None:
        """Until every replica is ready. Raises BlockedError with the last lines of its log when it will not be."""

    def grant(self, revision: str) -> None:
        """Let the gateway, and nobody else, call the revision."""

    def warm(self, revision: str, previous: str) -> int:
        """Ask the revision what `previous` keeps as its most asked requests; how many. 0 where that cannot be done."""

    def promote(self, revision: str) -> None:
        """All calls by the gateway reach this revision from now on. Nothing to do where the gateway's switch did it."""

    def stop(self, revision: str, drain: float) -> None:
        """Finish what is under way for at most `drain` seconds, then end every process. Unknown revisions are fine.

        A revision that has the traffic of its service is left as it is.
        """

    def remove(self, feature: str, environment: str, drain: float) -> None:
        """Stop all revisions of an environment and forget its files. An unknown environment is fine."""

    def running(self) -> Sequence[RevisionStatus]: ...

    def printed(self, revision: str, lines: int, holding: str = "") -> Sequence[str]:
        """The last lines that each replica's own code printed. [] for an unknown revision.

        With `holding`, waits a while for a line with this text: what is printed takes its time to get here.
        """


class Gateway(Protocol):
    @property
    def url(self) -> str: ...

    def switch(self, sites: Sequence[Site]) -> None:
        """Serve exactly these sites from now on, without failing a request; returns when the gateway says it does.

        Raises SpecError for a document that cannot be compiled, PlatformError when the gateway refuses; in both
        cases what was served before is served on.
        """


class Machine(Protocol):
    """What steps run on; both are part of keys."""

    @property
    def architecture(self) -> str: ...

    @property
    def python(self) -> str: ...


class Workshop(Machine, Protocol):
    """What the steps up to the verdict need."""

    @property
    def store(self) -> Store: ...

    @property
    def images(self) -> Images: ...

    @property
    def jobs(self) -> Jobs: ...


class Platform(Workshop, Protocol):
    """All five capabilities, on one kind of machine."""

    @property
    def services(self) -> Services: ...

    @property
    def gateway(self) -> Gateway: ...
