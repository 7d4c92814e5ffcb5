"""Reading the logs of a build's steps, in the order of the steps, to the end or as they grow."""

from __future__ import annotations

import time
from collections.abc import Iterator

from mawasu.executor.records import Records
from mawasu.ledger.ledger import Ledger

POLL = 0.05
"""Seconds between looks at a log on this machine; one that is far away is looked at as often as its ledger."""


def tail(records: Records, ledger: Ledger, build: int, step: str | None, live: bool) -> Iterator[tuple[str, str]]:
    """(step, line) of every line. With `live`, waits for more until the build is finished."""
    read: dict[str, int] = {}
    done: set[str] = set()  # finished and read to the end
    while True:
        state = ledger.state().builds[build]
        finished = state.result is not None
        for found in state.steps:
            name, ended = found.name, finished or found.outcome is not None
            if step not in (None, name) or not found.started or (name in done and not finished):
                continue  # at the end of all, once more: a step of a build that was cut off may have begun again
            data = records.read_log(ledger.feature, build, name, read.get(name, 0))
            whole = data if ended else data[: data.rfind(b"\n") + 1]
            read[name] = read.get(name, 0) + len(whole)
            if ended:
                done.add(name)
            for line in whole.decode(errors="replace").splitlines():
                yield name, line
        if finished or not live:
            return
        time.sleep(max(POLL, ledger.poll))
