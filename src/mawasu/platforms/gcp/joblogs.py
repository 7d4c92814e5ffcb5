"""What a job prints, from Cloud Logging into the step's log: everything once, from its beginning to its end.

Entries come late and out of order (cloud.google.com/logging/docs/routing/overview), so every look goes back a little
and drops what was seen before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mawasu.errors import PlatformError
from mawasu.google import logging
from mawasu.google.client import Client
from mawasu.google.logging import Entry
from mawasu.ports import Log

CAP: Final = 10_000_000
"""Bytes of output kept per step, as everywhere."""

END: Final = "[mawasu: end of log]"
"""The last line that `enter.py` prints."""

OVERLAP: Final = 60 * 10**9  # nanoseconds: how late an entry may come
CHIEF: Final = "workerpool0-0"
SERVICE: Final = "service"


class JobLog:
    """The log of one job, read again and again. `ended` tells that the command's last line was there."""

    def __init__(self, client: Client, project: str, job: str, log: Log) -> None:
        self._client = client
        self._project = project
        self._wanted = {"resource.type": "ml_job", "resource.labels.job_id": job}
        self._log = log
        self._latest = 0
        self._seen: set[tuple[str, str]] = set()
        self._room = CAP
        self._warned = False
        self.last = ""
        self.ended = False

    def read(self) -> bool:
        """Write what is new; whether there was something. That the log cannot be read is no reason to end a job."""
        try:
            new = [entry for entry in self._entries() if (entry.time, entry.id) not in self._seen]
        except PlatformError as error:
            if not self._warned:
                self._warned = True
                self._log.write(f"the job goes on, but what it prints cannot be read: {error}")
            return False
        for entry in new:
            self._take(entry)
        self._forget()
        return bool(new)

    def _entries(self) -> Iterator[Entry]:
        since = logging.written(max(0, self._latest - OVERLAP)) if self._latest else ""
        call = logging.listing(self._project, self._wanted, since)
        token = ""
        while True:
            answer = self._client.send(logging.following(call, token) if token else call)
            yield from map(logging.entry, answer.get("entries", []))
            if not (token := answer.get("nextPageToken", "")):
                return

    def _take(self, entry: Entry) -> None:
        self._seen.add((entry.time, entry.id))
        self._latest = max(self._latest, logging.instant(entry.time))
        task = entry.labels.get("task_name", CHIEF)
        for line in entry.text.splitlines():
            if line == END:
                self.ended = self.ended or task == CHIEF
            else:
                self._write(line, task)

    def _write(self, line: str, task: str) -> None:
        """Other machines' lines say whose they are; Vertex AI's own are told from the command's."""
        if self._room < 0:
            return
        self._room -= len(line.encode()) + 1
        if self._room < 0:
            self._log.write(f"[log capped at {CAP / 1e6:g} MB]")
        elif task == CHIEF:
            self.last = line.strip() or self.last
            self._log.write(line)
        else:
            self._log.write(f"[{'vertex' if task == SERVICE else task}] {line}")

    def _forget(self) -> None:
        """Names of entries that no look will show again."""
        if len(self._seen) > 10_000:
            oldest = self._latest - OVERLAP
            self._seen = {name for name in self._seen if logging.instant(name[0]) >= oldest}
