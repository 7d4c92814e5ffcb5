"""What a nested build prints, from Cloud Logging into the step's log. Entries come late: every look goes back a bit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from mawasu.google import cloudbuild, logging
from mawasu.google.client import Client
from mawasu.google.faults import GoogleError
from mawasu.google.logging import Entry
from mawasu.platforms.gcp.refusals import clean
from mawasu.ports import Cancel, Log

_OVERLAP = 60 * 10**9  # nanoseconds: how late an entry may come
_SETTLE = 10.0  # seconds that the end of a failed build's log may come later than the build's own end
_KEPT = 400  # lines, for the error


class BuildLog:
    """A build, as it was last seen, and what it printed so far."""

    def __init__(self, client: Client, project: str, build: dict[str, Any], log: Log) -> None:
        self.build = build
        self.lines: list[str] = []
        self._client = client
        self._project = project
        self._log = log
        self._latest = 0
        self._known: set[tuple[str, str]] = set()
        self._readable = True

    def read(self) -> None:
        """Write what is new. That the log cannot be read here is no reason to fail the build."""
        try:
            new = [entry for entry in self._entries() if (entry.time, entry.id) not in self._known]
        except GoogleError as error:
            self._readable = False
            self._log.write(f"the build goes on, but what it prints cannot be read here: {error}")
            return
        for entry in new:
            self._known.add((entry.time, entry.id))
            self._latest = max(self._latest, logging.instant(entry.time))
            for line in entry.text.splitlines():
                self._take(line)

    def settle(self, pause: float, cancel: Cancel) -> None:
        """Read on until the log is at its end, which is Cloud Build's own word about the step, or it stays silent."""
        until = time.monotonic() + _SETTLE
        while self._readable and not any(line.startswith("ERROR: build step") for line in self.lines):
            if time.monotonic() > until or cancel.wait(pause):
                return
            self.read()

    def _take(self, line: str) -> None:
        self.lines = [*self.lines[1 - _KEPT :], line]
        if text := clean(line):
            self._log.write(text)

    def _entries(self) -> Iterator[Entry]:
        since = logging.written(self._latest - _OVERLAP) if self._latest else ""
        call = logging.listing(self._project, cloudbuild.printed(self.build["id"]), since)
        token = ""
        while True:
            answer = self._client.send(logging.following(call, token) if token else call)
            yield from map(logging.entry, answer.get("entries", []))
            if not (token := answer.get("nextPageToken", "")):
                return
