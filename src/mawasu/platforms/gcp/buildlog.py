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
_SILENT = 3  # reads
_LAST = "ERROR: build step"
_KEPT = 400  # lines, for the error


class BuildLog:
    """A build, as it was last seen, and what it printed so far."""

    def __init__(self, client: Client, project: str, build: dict[str, Any], log: Log) -> None:
        self.build = build
        self._lines: list[tuple[int, str, int, str]] = []  # time, entry, place in it, text
        self._client = client
        self._project = project
        self._log = log
        self._latest = 0
        self._known: set[tuple[str, str]] = set()
        self._readable = True

    @property
    def lines(self) -> list[str]:
        """The last ones, in the order in which they were printed, however they came."""
        return [line for *_, line in sorted(self._lines)[-_KEPT:]]

    def read(self) -> bool:
        """Write what is new; whether there was any. That the log cannot be read here is no reason to fail the build."""
        if not self._readable:
            return False
        try:
            new = [entry for entry in self._entries() if (entry.time, entry.id) not in self._known]
        except GoogleError as error:
            self._readable = False
            self._log.write(f"the build goes on, but what it prints cannot be read here: {error}")
            return False
        for entry in new:
            self._known.add((entry.time, entry.id))
            instant = logging.instant(entry.time)
            self._latest = max(self._latest, instant)
            for place, line in enumerate(entry.text.splitlines()):
                self._lines = [*self._lines[-2 * _KEPT :], (instant, entry.id, place, line)]
                if text := clean(line):
                    self._log.write(text)
        return bool(new)

    def settle(self, pause: float, cancel: Cancel) -> None:
        """Read on until the log is at its end, which is Cloud Build's own word about the step, or it stays silent."""
        until, silent = time.monotonic() + _SETTLE, 0
        while self._readable and (silent < _SILENT or not any(line.startswith(_LAST) for line in self.lines)):
            if time.monotonic() > until or cancel.wait(pause):
                return
            silent = 0 if self.read() else silent + 1

    def _entries(self) -> Iterator[Entry]:
        since = logging.written(self._latest - _OVERLAP) if self._latest else ""
        call = logging.listing(self._project, cloudbuild.printed(self.build["id"]), since)
        token = ""
        while True:
            answer = self._client.send(logging.following(call, token) if token else call)
            yield from map(logging.entry, answer.get("entries", []))
            if not (token := answer.get("nextPageToken", "")):
                return
