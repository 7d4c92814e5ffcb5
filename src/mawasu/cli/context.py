"""What several verbs need: the home, a feature's ledger, the daemon's socket, the checkout one stands in."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mawasu.errors import MawasuError, SpecError, UsageError
from mawasu.home import Home

if TYPE_CHECKING:
    from mawasu.executor.records import Records
    from mawasu.ledger.ledger import Ledger
    from mawasu.platforms.local.services import LocalServices


RECORDS = "MAWASU_RECORDS"
"""Where the verbs that read look, when they are not told."""

NAME_ONE = "name one (`mawasu builds NAME`, `mawasu logs --feature NAME`), or stand in its checkout"


def home() -> Home:
    return Home()


def records(at: str | None) -> Records:
    """Where builds are remembered: `gs://BUCKET`, or the home. Raises UsageError for anything else."""
    from mawasu.executor.records import CloudRecords, LocalRecords

    at = at or os.environ.get(RECORDS)
    if not at:
        return LocalRecords(home())
    from mawasu.google.client import Client
    from mawasu.google.objects import bucket_of

    bucket = bucket_of(at)
    return CloudRecords(Client(), bucket, home().cache / "buckets" / bucket)


def ledger(records: Records, feature: str | None) -> Ledger:
    """One feature's ledger; without a name that of the checkout one stands in, or the only one there is."""
    known = records.features()
    there = "there are " + (", ".join(known) or "none yet")
    if feature is None:
        if not known:
            raise UsageError(f"which feature? {there}", "push one first: `git push mawasu main`")
        feature = known[0] if len(known) == 1 else _here(known)
        if feature is None:
            raise UsageError(f"which feature? {there}", NAME_ONE)
    if feature not in known:
        raise UsageError(f"no feature `{feature}`", there + ("" if known else ": push first"))
    return records.ledger(feature)


def _here(known: Collection[str]) -> str | None:
    """The one of them whose mawasu.yaml is in the checkout that one stands in."""
    from mawasu.cli.tree import working_features

    try:
        names = [at.feature.name for _, at in working_features() if not isinstance(at, SpecError)]
    except MawasuError:
        return None
    found = [name for name in names if name in known]
    return found[0] if len(found) == 1 else None


def ask(request: dict[str, Any], timeout: float = 10.0) -> Iterator[dict[str, Any]]:
    """Send one request to the daemon and yield its answers. Raises UsageError when no daemon listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(str(home().daemon_socket))
        except (FileNotFoundError, ConnectionRefusedError):
            raise UsageError("mawasu is not up", "start it with `mawasu up`") from None
        connection.sendall(json.dumps(request).encode() + b"\n")
        for line in connection.makefile("rb"):
            yield json.loads(line)


def is_up() -> dict[str, Any] | None:
    """What the daemon says of itself, or None when there is none."""
    try:
        return next(ask({"op": "ping"}), None)
    except (UsageError, TimeoutError):
        return None


def services() -> LocalServices:
    """The services of the home, to look at."""
    from mawasu.platforms.local.process import LocalProcesses
    from mawasu.platforms.local.sandbox import Direct
    from mawasu.platforms.local.services import LocalServices
    from mawasu.platforms.local.workshop import lay_out
    from mawasu.store.directory import DirectoryStore

    at = home()
    return LocalServices(at, LocalProcesses(at), Direct(), DirectoryStore(at.store), lay_out)


def checkout_root(start: Path | None = None) -> Path:
    """The top of the git checkout one stands in."""
    start = (start or Path.cwd()).absolute()
    for path in (start, *start.parents):
        if (path / ".git").exists():
            return path
    raise UsageError(f"{start} is not in a git repository", "run `git init` first, or `mawasu init NEW-FOLDER`")
