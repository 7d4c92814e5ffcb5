"""The queue of builds: order, the limit, and giving way to newer pushes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from mawasu.executor.queue import Job, Queue
from mawasu.ports import Cancel

PATIENCE = 10.0


class Builds:
    """Builds that run until they are let go or cancelled, and what became of each."""

    def __init__(self, limit: int) -> None:
        self.failed: list[tuple[int, str]] = []
        self.queue = Queue(limit, lambda job, error: self.failed.append((job.build, str(error))))
        self.started: list[int] = []
        self.skipped: list[int] = []
        self.ended: list[tuple[int, str]] = []
        self.go: dict[int, threading.Event] = {}
        self.changed = threading.Condition()

    def put(self, build: int, branch: str = "main", run: Callable[[Cancel], object] | None = None) -> None:
        self.go[build] = threading.Event()
        job = Job("f", build, ("f", "p", branch), run or self._run(build), lambda: self._note(self.skipped, build))
        self.queue.put(job)

    def _run(self, build: int) -> Callable[[Cancel], object]:
        def run(cancel: Cancel) -> None:
            self._note(self.started, build)
            while not self.go[build].is_set() and not cancel.wait(0.002):
                pass
            self._note(self.ended, (build, "cancelled" if cancel.is_set() else "done"))

        return run

    def _note(self, notes: list[Any], value: object) -> None:
        with self.changed:
            notes.append(value)
            self.changed.notify_all()

    def wait(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, PATIENCE)


@pytest.fixture
def builds() -> Builds:
    return Builds(limit=2)


def test_at_most_the_limit_runs_and_the_oldest_is_next(builds: Builds) -> None:
    for number, branch in enumerate("abcd", 1):
        builds.put(number, branch)
    builds.wait(lambda: len(builds.started) == 2)
    assert sorted(builds.started) == [1, 2]
    builds.go[1].set()
    builds.wait(lambda: len(builds.started) == 3)
    assert builds.started[2] == 3
    for event in builds.go.values():
        event.set()
    builds.wait(lambda: len(builds.ended) == 4)


def test_a_branch_is_built_once_at_a_time_and_a_newer_push_cancels_the_older(builds: Builds) -> None:
    builds.put(1)
    builds.wait(lambda: builds.started == [1])
    builds.put(2)
    builds.wait(lambda: builds.ended == [(1, "cancelled")] and builds.started == [1, 2])
    builds.go[2].set()
    builds.wait(lambda: builds.ended[-1] == (2, "done"))


def test_of_three_quick_pushes_the_last_wins_and_those_that_waited_never_run() -> None:
    builds = Builds(limit=1)
    builds.put(1, "other")
    builds.wait(lambda: builds.started == [1])
    for number in (2, 3, 4):
        builds.put(number)
    assert builds.skipped == [2, 3]
    builds.go[1].set()
    builds.go[4].set()
    builds.wait(lambda: (4, "done") in builds.ended)
    assert builds.started == [1, 4]


def test_an_older_build_that_comes_late_gives_way(builds: Builds) -> None:
    builds.put(5)
    builds.wait(lambda: builds.started == [5])
    builds.put(3)
    assert builds.skipped == [3]
    assert builds.queue.has("f", 5)
    builds.go[5].set()


def test_a_branch_nobody_wants_is_cancelled_and_what_waits_is_skipped() -> None:
    builds = Builds(limit=1)
    builds.put(1, "kept")
    builds.put(2, "gone")
    builds.wait(lambda: builds.started == [1])
    builds.queue.cancel(("f", "p", "gone"))
    assert builds.skipped == [2]
    builds.queue.cancel(("f", "p", "kept"))
    builds.wait(lambda: builds.ended == [(1, "cancelled")])


def test_a_bug_in_one_build_does_not_stop_the_next(builds: Builds) -> None:
    def bug(_: Cancel) -> None:
        raise ZeroDivisionError("a bug")

    builds.put(1, run=bug)
    builds.put(2, "other")
    builds.go[2].set()
    builds.wait(lambda: (2, "done") in builds.ended)
    assert builds.failed == [(1, "a bug")]


def test_a_stopped_queue_takes_nothing_more(builds: Builds) -> None:
    builds.queue.stop()
    builds.put(1)
    assert builds.queue.has("f", 1)
    assert builds.started == []
