"""Several workers: what they share, and how one that is lost is replaced."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.serving.replica import Replica, eventually

PID = "import os\ndef predict(model, batch): return [os.getpid() for _ in batch]\n"
SLOW_PID = "import os, time\ndef predict(model, batch): time.sleep(0.05); return [os.getpid() for _ in batch]\n"
MODEL = "import array\ndef load(directory): return array.array('b', bytes(100 * 2**20))\n"


def below(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def family(replica: Replica) -> list[int]:
    """The keeper, who loaded, and the workers."""
    assert replica.worker is not None
    (loaded,) = below(replica.worker.pid)
    return [replica.worker.pid, loaded, *below(loaded)]


def children(replica: Replica) -> list[int]:
    return family(replica)[2:]


def proportional(pid: int) -> int:
    """Bytes of a process, shared pages counted by share (proc_pid_smaps_rollup(5))."""
    found = re.search(r"^Pss: +(\d+) kB$", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def test_all_workers_answer_and_are_ready_before_the_replica_is_busy(replica: Replica) -> None:
    replica.ready(SLOW_PID, workers=3, max_batch=1)
    eventually(lambda: replica.metric("workers") == 3)
    answers = replica.ask_all([{}] * 24, callers=12)
    assert {answer.json for answer in answers} == set(children(replica))


def test_the_model_is_in_memory_once(replica: Replica) -> None:
    replica.ready(MODEL + "def predict(model, batch): return [sum(model[::4096])] * len(batch)", workers=4)
    eventually(lambda: replica.metric("workers") == 4)
    replica.ask_all([{}] * 32, callers=16)
    together = sum(map(proportional, family(replica)))
    assert 100 * 2**20 < together < 180 * 2**20


@pytest.mark.parametrize(
    ("loading", "why"),
    [
        ("import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()", "threads"),
        ("import socket\nkept = socket.socketpair()", "connections"),
    ],
)
def test_what_cannot_be_forked_is_loaded_by_every_worker(replica: Replica, loading: str, why: str) -> None:
    code = "import os\ndef load(directory): return os.getpid()\ndef predict(model, item): return model == os.getpid()\n"
    replica.ready(code + loading, workers=2)
    assert replica.ask({}).json is True
    assert re.search(f"api:predict .*{why} .*: every worker loads for itself", replica.log.read_text())


def test_sharing_can_be_declined(replica: Replica) -> None:
    code = "import os\ndef load(directory): return os.getpid()\ndef predict(model, item): return model == os.getpid()\n"
    replica.ready(code, workers=2, worker=["--apart"])
    assert replica.ask({}).json is True


def test_a_model_that_cannot_be_loaded_apart_ends_with_one_clear_line(replica: Replica) -> None:
    replica.start("def predict(m, b): pass\ndef load(d): raise OSError('no model')", workers=2, worker=["--apart"])
    assert replica.worker is not None
    assert replica.worker.wait(10) == 1
    assert "mawasu: cannot load api:predict: OSError: no model" in replica.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV])
def test_a_lost_worker_costs_nobody_an_answer(replica: Replica, number: signal.Signals) -> None:
    replica.ready(SLOW_PID, workers=2, max_batch=4)
    eventually(lambda: replica.metric("workers") == 2)
    for _ in range(2):
        victim = replica.ask({}).json
        os.kill(victim, number)
        answers = replica.ask_all([{}] * 16, callers=16)
        assert {answer.status for answer in answers} == {200}
        eventually(lambda: replica.metric("workers") == 2)
        assert victim not in children(replica)


def test_a_batch_under_way_is_tried_once_more_and_no_third_time(replica: Replica) -> None:
    replica.ready(
        "import os, pathlib\n"
        "def predict(model, batch):\n"
        "    with open('calls', 'a') as file: file.write(''.join(f'{item}\\n' for item in batch))\n"
        "    if 'poison' in batch or ('once' in batch and not os.path.exists('seen')):\n"
        "        pathlib.Path('seen').touch(); os._exit(9)\n"
        "    return batch",
        workers=2,
    )
    assert replica.ask(["once"]).json == ["once"]
    refused = replica.ask(["poison"])
    assert (refused.status, refused.headers.get("retry-after")) == (503, None), "it was begun, twice"
    calls = (replica.directory / "calls").read_text().split()
    assert (calls.count("once"), calls.count("poison")) == (2, 2)
    assert replica.metric("retried_total") == 2


def test_what_kills_a_worker_costs_only_its_own_caller(replica: Replica) -> None:
    """All sixteen wait for one slow call, so they go in one batch afterwards."""
    replica.ready(
        "import os, time\n"
        "def predict(model, batch):\n"
        "    if 'slow' in batch: time.sleep(0.3)\n"
        "    if 'poison' in batch: os._exit(9)\n    return batch",
        max_batch=16,
    )
    asked: list[Sequence[str]] = [["slow"], *([str(n)] if n != 7 else ["poison"] for n in range(16))]
    answers = replica.ask_all(list(asked), callers=17)
    assert [answer.status for answer in answers] == [503 if one == ["poison"] else 200 for one in asked]


def test_a_worker_that_grows_is_replaced_between_two_answers(replica: Replica) -> None:
    replica.ready(
        "import os\nkept = []\ndef predict(model, item): kept.append(bytearray(2 * 2**20)); return os.getpid()",
        worker=["--memory", str(100 * 2**20)],
    )
    pids = set()

    def asked() -> bool:
        answer = replica.ask({})
        assert answer.status == 200
        pids.add(answer.json)
        return len(pids) > 1

    eventually(asked)
    assert "worker 0 has grown too large; starting another" in replica.log.read_text()
    assert replica.metric("worker_losses_total") == 1


def test_a_keeper_that_was_stopped_replaces_lost_workers_all_the_same(replica: Replica) -> None:
    replica.ready(PID, workers=2)
    eventually(lambda: replica.metric("workers") == 2)
    _, keeper, *workers = family(replica)
    os.kill(keeper, signal.SIGSTOP)
    os.kill(workers[0], signal.SIGKILL)
    assert replica.ask({}).status == 200
    eventually(lambda: len(now := children(replica)) == 2 and workers[0] not in now)
    eventually(lambda: replica.metric("workers") == 2)


def test_workers_end_with_their_keeper(replica: Replica) -> None:
    replica.ready(PID, workers=3)
    eventually(lambda: len(children(replica)) == 3)
    pids = family(replica)[1:]
    assert replica.worker is not None
    replica.worker.kill()
    replica.worker.wait()
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
