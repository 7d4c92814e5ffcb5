from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from mawasu.home import Home
from mawasu.platforms.local.limits import CgroupV1Limiter, CgroupV2Limiter, Limiter
from mawasu.words import Image, Result

from .support import MIB, Bench, alive, eventually

EATER = """
kept = []
while True:
    kept.append(bytearray(4_000_000))
"""

# Bounded: were there no limit, it would end at 400 sleepers that end by themselves.
FORKS = """
import os, sys, time
for _ in range(400):
    try:
        if os.fork() == 0:
            time.sleep(20)
            os._exit(0)
    except OSError:
        pass
time.sleep(20)
"""


def test_a_job_that_eats_memory_is_ended_and_it_is_named(any_bench: Bench) -> None:
    outcome = any_bench.python(EATER, memory=96 * MIB, timeout=30)
    assert outcome.result is Result.OUT_OF_MEMORY, outcome
    assert outcome.message == "out of memory: train needs more than its 96 MiB"
    assert "resources.memory" in outcome.hint


def test_a_child_that_eats_memory_ends_the_whole_job(any_bench: Bench, word: str) -> None:
    any_bench.files["eat.py"] = EATER
    outcome = any_bench.run(f"python eat.py; python -c 'import time; time.sleep(30)' {word}", memory=96 * MIB)
    assert outcome.result is Result.OUT_OF_MEMORY
    assert not alive(word)


def test_a_job_that_forks_without_end_is_ended(any_bench: Bench, word: str) -> None:
    any_bench.max_processes = 100
    any_bench.files["forks.py"] = FORKS
    began = time.monotonic()
    outcome = any_bench.run(f"python forks.py {word}", timeout=30)
    assert outcome.message == "train made more than 100 processes and threads"
    assert time.monotonic() - began < 10
    assert not alive(word)


def test_a_job_that_hangs_is_ended_at_its_time(any_bench: Bench, word: str) -> None:
    outcome = any_bench.run(f"trap '' TERM INT HUP; python -c 'import time; time.sleep(60)' {word}", timeout=0.5)
    assert outcome.result is Result.TIMED_OUT
    assert outcome.message == "train was not done after 0.5 s"
    assert 0.5 <= outcome.seconds < 3
    assert outcome.facts["signal"] == "SIGKILL"
    assert not alive(word)


def test_a_job_that_is_given_up_ends_within_a_second(any_bench: Bench, word: str) -> None:
    at = 0.0

    def give_up() -> None:
        nonlocal at
        eventually(lambda: bool(alive(word)))
        at = time.monotonic()
        any_bench.cancel.set()

    thread = threading.Thread(target=give_up)
    thread.start()
    outcome = any_bench.run(f"python -c 'import time; time.sleep(60)' {word}")
    took = time.monotonic() - at
    thread.join()
    assert outcome.result is Result.CANCELLED
    assert took < 1
    assert not alive(word)


@pytest.mark.parametrize("ending", ["exit 0", "exit 3", "sleep 60"])
def test_a_process_that_left_its_parents_and_session_does_not_survive(any_bench: Bench, word: str, ending: str) -> None:
    any_bench.files["leave.py"] = f"""
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        code = "import time; print('away', flush=True); time.sleep(60)"
        os.execv(sys.executable, [sys.executable, "-c", code, {word!r}])
    os._exit(0)
os.wait()
"""
    command = f"python leave.py; until grep -q away log; do sleep 0.01; done; {ending}"
    any_bench.run(f"touch log; ({command}) > log 2>&1", timeout=1.5)
    assert not alive(word)


def test_a_survivor_that_holds_the_output_open_does_not_hold_the_job_up(any_bench: Bench, word: str) -> None:
    outcome = any_bench.run(f"python -c 'import time; time.sleep(60)' {word} & echo started")
    assert outcome.result is Result.OK
    assert outcome.seconds < 5
    assert any_bench.log.lines == ["started"]
    assert not alive(word)


def test_ending_one_job_leaves_another_alone(any_bench: Bench, word: str) -> None:
    other = Bench(any_bench.home, any_bench.sandbox, any_bench.limiter, any_bench.image)
    outcomes = []
    thread = threading.Thread(
        target=lambda: outcomes.append(
            other.run(f"touch $HOME/on; until [ -e stop ]; do sleep 0.01; done; : {word}", timeout=1.5)
        )
    )
    thread.start()
    eventually(lambda: bool(alive(word)))
    assert any_bench.run("sleep 60", timeout=0.1).result is Result.TIMED_OUT
    assert alive(word)
    thread.join()
    assert [outcome.result for outcome in outcomes] == [Result.TIMED_OUT]


def test_processor_time_is_shared_out(bench: Bench, detected: Limiter) -> None:
    """Two busy processes on one core get one core's time."""
    spin = "import time; end = time.monotonic() + 1\nwhile time.monotonic() < end: pass"
    bench.files["spin.py"] = spin
    outcome = bench.run("python spin.py & python spin.py; wait")
    assert "cpu" in detected.name
    assert outcome.facts["cpu_seconds"] < 1.0 * outcome.seconds + 0.4


def test_the_limits_in_force_are_named(detected: Limiter) -> None:
    assert detected.name.startswith(("cgroup v2 (memory, pids", "cgroup v1 (memory, pids", "watching"))


def test_a_unified_hierarchy_without_controllers_is_not_taken(tmp_path: Path) -> None:
    for name in ("cgroup.controllers", "cgroup.subtree_control"):
        (tmp_path / name).write_text("hugetlb\n")
    assert CgroupV2Limiter.find({"": tmp_path}) is None
    assert CgroupV2Limiter.find({}) is None


def test_control_groups_that_cannot_be_written_are_not_taken(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert CgroupV1Limiter.find({"memory": tmp_path / "file", "pids": tmp_path / "file"}) is None
    assert CgroupV1Limiter.find({"memory": tmp_path}) is None


DAEMON = """
import sys
from pathlib import Path
from mawasu.home import Home
from mawasu.platforms.local.limits import Limiter
from mawasu.platforms.local.sandbox import Sandbox
from mawasu.words import Image
from tests.jobs.support import Bench
home, ref, trust, word = sys.argv[1:]
bench = Bench(Home(home), Sandbox.detect(trust == "trust"), Limiter.detect(), Image("sha256:" + "0" * 64, ref))
bench.run(f"python -c 'import time; time.sleep(60)' {word}")
"""


@pytest.mark.parametrize("trust", ["trust", "sandbox"])
def test_what_a_killed_daemon_left_behind_is_swept(bench: Bench, word: str, trust: str) -> None:
    argv = [sys.executable, "-c", DAEMON, str(bench.home.path), bench.image.ref, trust, word]
    path = os.pathsep.join(["src", *sys.path])
    with subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": path}) as daemon:
        try:
            eventually(lambda: len(alive(f"sleep(60)\0{word}")) >= 1)
        finally:
            daemon.kill()
    Limiter.detect()
    eventually(lambda: not alive(word))
    assert list(bench.home.workspaces.iterdir())
    bench.jobs().sweep()
    assert not list(bench.home.workspaces.iterdir())


def test_a_workspace_in_use_is_not_swept(bench: Bench) -> None:
    thread = threading.Thread(target=bench.run, args=("sleep 0.5; echo still here > $HOME/x && echo $?",))
    thread.start()
    eventually(lambda: any(bench.home.workspaces.glob("*/files")))
    bench.jobs().sweep()
    thread.join()
    assert bench.log.lines == ["0"]


def test_a_debugger_works_in_the_users_terminal(home: Home, image: Image, tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        from pathlib import Path
        from mawasu.home import Home
        from mawasu.platforms.local.jobs import LocalJobs
        from mawasu.platforms.local.limits import Limiter
        from mawasu.platforms.local.sandbox import Direct
        from mawasu.ports import Cancel
        from mawasu.words import Image, JobSpec, Resources, Source, Tree
        from tests.jobs.support import Folder, Lines
        def lay_out(source, dest):
            dest.mkdir()
            (dest / "train.py").write_text("answer = 42\\nbreakpoint()\\nprint('trained')\\n")
        jobs = LocalJobs(Home({str(home.path)!r}), Folder(), Direct(), Limiter.detect(), lay_out, terminal=True)
        job = JobSpec("f/b/c/train", "python train.py", Source("", "", Tree({{}})),
                      Image({image.key!r}, {image.ref!r}), Resources(timeout=0.01))
        print(jobs.run(job, Lines(), Cancel()).result.value)
    """)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(["src", *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, input="p answer\nc\n", capture_output=True, text=True, timeout=60
    )
    assert "42" in done.stdout, done.stderr
    assert done.stdout.split()[-2:] == ["trained", "ok"]
