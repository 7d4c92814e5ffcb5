"""Reading the logs of a build's steps, in the order of the steps, to the end or as they grow."""

from __future__ import annotations

import time
from collections.abc import Iterator

from mawasu.executor.logs import log_path
from mawasu.home import Home
from mawasu.ledger.ledger import Ledger

POLL = 0.05


def tail(
    home: Home, ledger: Ledger, feature: str, build: int, step: str | None, live: bool
) -> Iterator[tuple[str, str]]:
    """(step, line) of every line. With `live`, waits for more until the build is finished."""
    read: dict[str, int] = {}
    while True:
        state = ledger.state().builds[build]
        finished = state.result is not None
        for name in [found.name for found in state.steps]:
            if step in (None, name):
                path = log_path(home, feature, build, name)
                if path.exists():
                    with path.open("rb") as file:
                        file.seek(read.get(name, 0))
                        data = file.read()
                    whole = data if finished else data[: data.rfind(b"\n") + 1]
                    read[name] = read.get(name, 0) + len(whole)
                    for line in whole.decode(errors="replace").splitlines():
                        yield name, line
        if finished or not live:
            return
        time.sleep(POLL)
