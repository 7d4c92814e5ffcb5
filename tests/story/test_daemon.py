"""What survives: the daemon killed, the supervisor killed, pushes while it is down, swaps under load."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mawasu.home import Home
from mawasu.ledger.entries import StepStarted
from mawasu.ledger.ledger import Ledger
from mawasu.ledger.shelf import DirectoryShelf
from tests.story import texts
from tests.story.world import Mawasu, Repo, eventually


class Callers:
    """Two clients, one with a connection for each call, asking as fast as answers come."""

    def __init__(self, mawasu: Mawasu, feature: str) -> None:
        self.answers: Counter[str] = Counter()
        self._mawasu, self._path = mawasu, f"/{feature}/staging/predict"
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(2)]

    def _call(self) -> None:
        while not self._stop.wait(0.01):
            answer = self._mawasu.call(self._path)
            self.answers[str(answer.body["says"]) if answer.status == 200 else f"failed: {answer}"] += 1

    @property
    def failed(self) -> dict[str, int]:
        return {text: count for text, count in self.answers.items() if text.startswith("failed")}

    def more(self, count: int = 50) -> None:
        """Return after so many more answers."""
        enough = self.answers.total() + count
        eventually(lambda: self.answers.total() >= enough, f"{count} answers")


@contextlib.contextmanager
def callers(mawasu: Mawasu, feature: str) -> Iterator[Callers]:
    found = Callers(mawasu, feature)
    for thread in found._threads:
        thread.start()
    try:
        yield found
    finally:
        found._stop.set()
        for thread in found._threads:
            thread.join()


def started(mawasu: Mawasu, name: str) -> Repo:
    """Up, with one feature served."""
    mawasu.up()
    repo = mawasu.repo(name, texts.project(name))
    assert "staging serves" in repo.push()
    return repo


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not alive_pid(pid), f"the end of process {pid}")


def alive_pid(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1] not in ("Z", "X")
    except OSError:
        return False


def supervised(mawasu: Mawasu) -> dict[str, int]:
    """Name → process of all that the supervisor runs."""
    return {process["name"]: process["pid"] for process in ask_supervisor(mawasu, "status")["processes"]}


def ask_supervisor(mawasu: Mawasu, what: str) -> Any:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(mawasu.home / "run" / "supervisor.sock"))
        connection.sendall(json.dumps({"do": what}).encode() + b"\n")
        return json.loads(connection.makefile().readline())


def starts(mawasu: Mawasu, feature: str, number: int) -> Counter[str]:
    """How often each step was begun in a build."""
    home = Home(mawasu.home)
    bodies = (entry.body for entry in Ledger(DirectoryShelf(home.ledger, feature, home.checkpoints)).entries(1))
    return Counter(body.step for body in bodies if isinstance(body, StepStarted) and body.build == number)


def begun(mawasu: Mawasu, feature: str, number: int, step: str) -> None:
    """Return when a step of a build has begun."""
    eventually(lambda: step in starts(mawasu, feature, number), f"{step} of build {number}")


def test_a_killed_daemon_fails_no_request_and_is_adopted_again(mawasu: Mawasu) -> None:
    repo = started(mawasu, "adopted")
    before = supervised(mawasu)
    with callers(mawasu, "adopted") as calling:
        calling.more()
        kill(mawasu.pid())
        calling.more()
        assert mawasu.cli("status", "--json").json()["up"] is None
        mawasu.up()
        calling.more()
        assert supervised(mawasu) == before
        repo.push_files({"api/handler.py": texts.handler("two")})
        calling.more()
    assert calling.failed == {}
    assert set(calling.answers) == {"one", "two"}


def test_a_build_cut_off_by_a_kill_goes_on_at_its_first_unfinished_step(mawasu: Mawasu) -> None:
    repo = started(mawasu, "resumed")
    slow = "import os, pathlib, time\nprint('training', flush=True)\ntime.sleep(1.5)\n" + texts.train(2.0)
    repo.commit({"training/train.py": slow, "data/points.csv": texts.points(2)})
    pid = mawasu.pid()
    repo.push("main", "-o", "nofollow")
    log = mawasu.home / "records" / "logs" / "resumed" / "000002" / "train.log"
    eventually(lambda: log.exists() and "training" in log.read_text(), "training")
    kill(pid)
    mawasu.up()
    assert mawasu.finished("resumed", 2).result == "served"
    assert mawasu.call("/resumed/staging/predict").body["score"] == 1.0
    counts = starts(mawasu, "resumed", 2)
    assert (counts["data/points"], counts["train"]) == (1, 2)


def test_of_three_pushes_in_a_row_the_last_one_is_served(mawasu: Mawasu) -> None:
    repo = started(mawasu, "hasty")
    for says, weight in (("a", 2.0), ("b", 3.0), ("c", 4.0)):
        repo.commit({"api/handler.py": texts.handler(says), "training/train.py": texts.train(weight)})
        repo.push("main", "-o", "nofollow")
    eventually(lambda: mawasu.says("hasty") == "c", "the last push served")
    results = {build["push"]["new"]: build["result"] for build in mawasu.builds("hasty")}
    heads = repo.git("log", "--format=%H", "-3").out.split()
    assert results[heads[0]] == "served"
    # How far the older ones came is chance: superseded, served before the next was pushed, or never seen.
    assert {results.get(head, "superseded") for head in heads[1:]} <= {"superseded", "served"}
    assert mawasu.call("/hasty/staging/predict").body == {"score": 2.0, "says": "c"}


def test_ten_deliveries_of_one_push_are_one_build(mawasu: Mawasu) -> None:
    repo = started(mawasu, "repeated")
    old, new = repo.git("rev-parse", "HEAD").out.strip(), repo.commit({"api/handler.py": texts.handler("two")})
    repo.push()
    message = {"op": "push", "project": "repeated", "updates": [[old, new, "refs/heads/main"]]}
    said = [deliver(mawasu, message) for _ in range(10)]
    assert all(answers[-1] == {"done": True} for answers in said)
    assert [build["number"] for build in mawasu.builds("repeated")] == [2, 1]


def deliver(mawasu: Mawasu, message: object) -> list[object]:
    """What the daemon answers to a hook's message."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(mawasu.home / "run" / "daemon.sock"))
        connection.sendall(json.dumps(message).encode() + b"\n")
        return [json.loads(line) for line in connection.makefile()]


def test_a_push_while_mawasu_is_down_is_picked_up_at_its_start(mawasu: Mawasu) -> None:
    repo = started(mawasu, "patient")
    mawasu.down()
    assert mawasu.call("/patient/staging/predict").status == 0
    said = repo.push_files({"api/handler.py": texts.handler("two")})
    assert "mawasu is not running: your push is safe and will be picked up by `mawasu up`" in said
    repo.git("push", "-q", "mawasu", "main:refs/heads/other")
    mawasu.up()
    eventually(lambda: mawasu.says("patient") == "two", "the push that waited")
    eventually(lambda: mawasu.says("patient", "preview-other") == "two", "the branch that waited")


def test_what_was_served_is_served_again_after_down_and_up(mawasu: Mawasu) -> None:
    started(mawasu, "lasting")
    key = mawasu.key
    mawasu.down()
    mawasu.up()
    assert mawasu.says("lasting") == "one"
    assert mawasu.call("/lasting/staging/predict", key).status == 200
    mawasu.cli("down", "--keep-serving")
    assert mawasu.says("lasting") == "one"
    mawasu.up()
    assert mawasu.status()["lasting/staging"]["state"] == "in sync"


def test_a_killed_supervisor_is_brought_back_with_all_it_ran(mawasu: Mawasu) -> None:
    started(mawasu, "revived")
    kill(ask_supervisor(mawasu, "ping")["pid"])
    eventually(lambda: mawasu.says("revived") == "one", "serving again without anybody's help", 30.0)


def test_twenty_swaps_under_load_fail_no_request(mawasu: Mawasu) -> None:
    repo = started(mawasu, "swapped")
    with callers(mawasu, "swapped") as calling:
        for number in range(20):
            repo.push_files({"api/handler.py": texts.handler(f"swap {number}")})
        calling.more()
    assert calling.failed == {}
    assert len(calling.answers) == 21


def test_a_kill_at_any_step_of_a_switch_ends_wholly_old_or_wholly_new(mawasu: Mawasu) -> None:
    repo = started(mawasu, "torn")
    with callers(mawasu, "torn") as calling:
        for number, step in enumerate(("start", "switch", "drain"), 2):
            repo.commit({"api/handler.py": texts.handler(step)})
            repo.push("main", "-o", "nofollow")
            pid = mawasu.pid()
            begun(mawasu, "torn", number, step)
            kill(pid)
            calling.more(10)
            mawasu.up()
            assert mawasu.finished("torn", number).result == "served"
            assert mawasu.says("torn") == step
        assert len([name for name in supervised(mawasu) if name.startswith("torn-")]) == 2, "one server, one worker"
    assert calling.failed == {}


SLOW = "import time\nprint('training', flush=True)\ntime.sleep(600)\n"


def training(mawasu: Mawasu, feature: str, number: int) -> None:
    """Return when the slow training of a build has begun."""
    log = mawasu.home / "records" / "logs" / feature / f"{number:06d}" / "train.log"
    eventually(lambda: log.exists() and "training" in log.read_text(), f"training of build {number}")


def test_a_newer_push_ends_the_training_of_the_older_one(mawasu: Mawasu) -> None:
    repo = started(mawasu, "newer")
    repo.commit({"training/train.py": SLOW + texts.train()})
    repo.push("main", "-o", "nofollow")
    training(mawasu, "newer", 2)
    said = repo.push_files({"training/train.py": texts.train(2.0)})
    assert "build 3 served" in said
    assert mawasu.finished("newer", 2).result == "superseded"
    assert not list((mawasu.home / "cache" / "workspaces").glob("*"))


def test_deleting_a_branch_ends_its_training(mawasu: Mawasu) -> None:
    repo = started(mawasu, "gone")
    repo.git("checkout", "-q", "-b", "idea")
    repo.commit({"training/train.py": SLOW + texts.train()})
    repo.push("idea", "-o", "nofollow")
    training(mawasu, "gone", 2)
    repo.push("--delete", "idea")
    assert mawasu.finished("gone", 2).result == "superseded"
    assert "gone/preview-idea" not in mawasu.status()


def test_a_preview_nobody_pushes_to_goes_after_its_time(mawasu: Mawasu) -> None:
    files = dict(texts.project("brief"))
    files["mawasu.yaml"] = files["mawasu.yaml"].replace("expires: 7d", "expires: 1s")
    mawasu.up()
    repo = mawasu.repo("brief", files)
    repo.push("main:idea")
    assert mawasu.state("brief").builds[1].result == "served"
    eventually(lambda: mawasu.call("/brief/preview-idea/predict").status == 404, "the end of the preview")
    eventually(lambda: mawasu.state("brief").environments["preview-idea"].gone, "its record")


def test_with_the_cache_nothing_but_time_is_lost(mawasu: Mawasu) -> None:
    repo = started(mawasu, "cached")
    mawasu.down()
    shutil.rmtree(mawasu.home / "cache")
    mawasu.up()
    assert mawasu.says("cached") == "one"
    said = repo.push_files({"api/handler.py": texts.handler("two")})
    assert "train reused from build 1" in said
    assert mawasu.says("cached") == "two"


def test_what_was_given_to_services_does_not_stay_readable_when_mawasu_is_down(own: Mawasu) -> None:
    word = "stays-with-us-only"
    own.up()
    own.cli("secrets", "set", "WORD", "-e", "staging", stdin=word)
    repo = own.repo("asleep", texts.project("asleep", secrets="[WORD]"))
    repo.push()
    assert own.says("asleep") == "one"
    own.down()
    assert own.run(["grep", "-rlaF", word, str(own.home)], own.top).out == ""
    own.up()
    assert own.says("asleep") == "one"
