"""The queue of builds: who waits, who runs, and who gave way to a newer push of the same branch.

What is queued stands in the ledgers, so the queue itself is only memory: at start it is filled from `unfinished`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from mawasu.ports import Cancel

Branch = tuple[str, str, str]  # feature, project, branch


@dataclass
class Job:
    """One build in the queue. `run` walks it; `skip` records that it was superseded before it began."""

    feature: str
    build: int
    branch: Branch
    run: Callable[[Cancel], object]
    skip: Callable[[], object]
    cancel: Cancel = field(default_factory=Cancel)


class Queue:
    """At most `limit` builds at once, oldest first, one at a time for each branch of a feature."""

    def __init__(self, limit: int, failed: Callable[[Job, BaseException], None]) -> None:
        self._waiting: list[Job] = []
        self._running: list[Job] = []
        self._changed = threading.Condition()
        self._stopping = False
        self._failed = failed
        self._threads = [
            threading.Thread(target=self._work, name=f"build-{number}", daemon=True) for number in range(limit)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, job: Job) -> None:
        """Queue a build; older builds of the same branch give way, and so does it to a newer one."""
        with self._changed:
            same = [other for other in [*self._waiting, *self._running] if other.branch == job.branch]
            if any(other.build > job.build for other in same):
                job.skip()
                return
            older = [waiting for waiting in self._waiting if waiting.branch == job.branch]
            self._waiting = [waiting for waiting in self._waiting if waiting.branch != job.branch]
            for running in self._running:
                if running.branch == job.branch:
                    running.cancel.set()
            for waiting in older:
                waiting.skip()
            self._waiting.append(job)
            self._changed.notify_all()

    def cancel(self, branch: Branch) -> None:
        """Nobody wants this branch any more: what waits is skipped, what runs is cancelled."""
        with self._changed:
            gone = [waiting for waiting in self._waiting if waiting.branch == branch]
            self._waiting = [waiting for waiting in self._waiting if waiting.branch != branch]
            for running in self._running:
                if running.branch == branch:
                    running.cancel.set()
            for waiting in gone:
                waiting.skip()

    def stop(self) -> None:
        """Take no more; builds under way are left unfinished in the ledger, and resumed by the next start."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def has(self, feature: str, build: int) -> bool:
        """Whether the build waits or runs here."""
        with self._changed:
            return any((job.feature, job.build) == (feature, build) for job in [*self._waiting, *self._running])

    def _take(self) -> Job | None:
        """The oldest build whose branch is not being built; waits for one. None when the queue stops."""
        with self._changed:
            while not self._stopping:
                busy = {job.branch for job in self._running}
                for job in self._waiting:
                    if job.branch not in busy:
                        self._waiting.remove(job)
                        self._running.append(job)
                        return job
                self._changed.wait()
        return None

    def _work(self) -> None:
        while (job := self._take()) is not None:
            try:
                job.run(job.cancel)
            except BaseException as error:  # noqa: BLE001 — the boundary of a build: a bug ends it, not the daemon
                self._failed(job, error)
            finally:
                with self._changed:
                    self._running.remove(job)
                    self._changed.notify_all()
