"""The supervisor: what should run runs, whoever dies."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mawasu.errors import PlatformError
from mawasu.platforms.local.capped import CappedLog
from mawasu.platforms.local.process import ask, ensure_running, shut_down
from tests.services.house import ENVIRON, House, alive, daemon, eventually

FOREVER = ["/bin/sh", "-c", "echo here; exec sleep 1000"]


def log(house: House) -> Path:
    return house.home.path / "a.log"


def test_a_process_runs_with_its_environment_and_its_log(house: House) -> None:
    house.host.start(
        "a", ["/bin/sh", "-c", "echo $GREETING; exec sleep 1000"], {**ENVIRON, "GREETING": "hello"}, log(house)
    )
    assert house.host.running("a")
    assert eventually(lambda: log(house).exists() and log(house).read_text()) == "hello\n"
    assert stat.S_IMODE(log(house).stat().st_mode) == 0o600


def test_starting_the_same_twice_changes_nothing(house: House) -> None:
    house.host.start("a", FOREVER, ENVIRON, log(house))
    first = house.process("a")
    house.host.start("a", FOREVER, ENVIRON, log(house))
    assert house.process("a") == first


def test_starting_it_otherwise_replaces_it(house: House) -> None:
    house.host.start("a", FOREVER, ENVIRON, log(house))
    first = house.process("a").pid
    house.host.start("a", FOREVER, {**ENVIRON, "X": "1"}, log(house))
    second = eventually(lambda: (now := house.process("a")).state == "running" and now.pid != first and now.pid)
    assert b"X=1" in Path(f"/proc/{second}/environ").read_bytes().split(b"\0")
    assert not Path(f"/proc/{first}").exists()


def test_a_process_that_dies_is_started_again_ever_later(house: House) -> None:
    house.host.start("a", ["/bin/sh", "-c", "echo no; exit 3"], ENVIRON, log(house))
    status = eventually(lambda: now if (now := house.process("a")).exits >= 3 else None)
    assert status.last_exit == 3
    lines = [line for line in log(house).read_text().splitlines() if line != "no"]
    assert lines[:3] == [f"mawasu: a ended with status 3; again in {delay} s" for delay in ("0.1", "0.2", "0.4")]


def test_a_program_that_does_not_exist_is_tried_again_and_says_so(house: House) -> None:
    house.host.start("a", [str(house.home.path / "no")], ENVIRON, log(house))
    assert not house.host.running("a")
    assert "No such file or directory" in log(house).read_text()
    (house.home.path / "no").symlink_to("/bin/cat")
    house.host.stop("a", 0)


def test_stopping_ends_everything_it_started(house: House) -> None:
    forks = "trap '' TERM; sleep 1000 & (setsid sleep 1001 &) ; sh -c 'trap \"\" TERM; sleep 1002' & echo here; wait"
    house.host.start("a", ["/bin/sh", "-c", forks], ENVIRON, log(house))
    eventually(lambda: log(house).exists() and "here" in log(house).read_text())
    mark = f"MAWASU_PROCESS={house.home.run}:a"
    eventually(lambda: len(alive(mark)) >= 4)
    house.host.stop("a", 0.1)
    assert alive(mark) == []
    assert house.host.status() == []


def test_stopping_lets_a_process_finish(house: House) -> None:
    patient = "trap 'sleep 0.3; echo done; exit' TERM; echo here; while :; do sleep 0.05; done"
    house.host.start("a", ["/bin/sh", "-c", patient], ENVIRON, log(house))
    eventually(lambda: log(house).exists() and "here" in log(house).read_text())
    house.host.stop("a", 10)
    assert eventually(lambda: "done" in log(house).read_text())


def test_stopping_what_does_not_run_is_fine(house: House) -> None:
    house.host.stop("nobody", 1)


def test_when_the_leader_dies_its_offspring_goes_too(house: House) -> None:
    house.host.start("a", ["/bin/sh", "-c", "(setsid sleep 1001 &); exec sleep 1000"], ENVIRON, log(house))
    mark = f"MAWASU_PROCESS={house.home.run}:a"
    before = eventually(lambda: found if len(found := alive(mark)) == 2 else None)
    os.kill(house.process("a").pid, signal.SIGKILL)
    eventually(lambda: house.process("a").exits == 1)
    assert not set(before) & set(alive(mark))


def test_it_outlives_whoever_started_it(house: House) -> None:
    code = "from mawasu.platforms.local.process import LocalProcesses\n"
    code += f"LocalProcesses(home).start('a', {FOREVER!r}, {ENVIRON!r}, home.path / 'a.log')"
    daemon(house.home, code)
    first = house.process("a")
    os.kill(first.pid, signal.SIGKILL)
    assert eventually(lambda: now.pid if (now := house.process("a")).exits and now.pid else None) != first.pid


def test_a_killed_supervisors_processes_die_with_it_and_come_back_with_the_next(house: House) -> None:
    for name in ("a", "b"):
        house.host.start(name, ["/bin/sh", "-c", "(setsid sleep 1001 &); exec sleep 1000"], ENVIRON, log(house))
    before = {status.pid for status in house.host.status()}
    os.kill(house.supervisor(), signal.SIGKILL)
    eventually(lambda: not before & set(alive(str(house.home.run))))
    ensure_running(house.home)
    assert house.host.running("a")
    assert house.host.running("b")
    eventually(lambda: len(alive(f"{house.home.run}:")) == 4)  # and what had slipped away was ended


def test_the_client_brings_back_a_supervisor_that_is_gone(house: House) -> None:
    house.host.start("a", FOREVER, ENVIRON, log(house))
    os.kill(house.supervisor(), signal.SIGKILL)
    eventually(lambda: house.host.running("a"))


def test_a_second_supervisor_leaves(house: House) -> None:
    ensure_running(house.home)
    first = house.supervisor()
    command = [sys.executable, "-m", "mawasu.platforms.local.supervisor", str(house.home.path)]
    assert subprocess.run(command, check=False).returncode == 0
    assert house.supervisor() == first
    assert len(alive("mawasu.platforms.local.supervisor\0" + str(house.home.path))) == 1


def test_many_at_once_make_one_supervisor(house: House) -> None:
    code = "from mawasu.platforms.local.process import ensure_running\nensure_running(home)"
    program = f"from mawasu.home import Home\nhome = Home({str(house.home.path)!r})\n{code}"
    starting = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(4)]
    assert [process.wait() for process in starting] == [0] * 4
    assert len(alive("mawasu.platforms.local.supervisor\0" + str(house.home.path))) == 1


def test_shutting_down_ends_all_and_the_next_start_brings_it_back(house: House) -> None:
    house.host.start("a", FOREVER, ENVIRON, log(house))
    shut_down(house.home, drain=1)
    assert alive(str(house.home.path)) == []
    shut_down(house.home)
    ensure_running(house.home)
    assert house.host.running("a")


def test_what_was_stopped_does_not_come_back(house: House) -> None:
    house.host.start("a", FOREVER, ENVIRON, log(house))
    house.host.stop("a", 1)
    shut_down(house.home)
    ensure_running(house.home)
    assert house.host.status() == []


def test_a_torn_spec_does_not_stop_the_others(house: House) -> None:
    house.host.start("a", FOREVER, ENVIRON, log(house))
    shut_down(house.home)
    (house.home.run / "processes" / "b.json").write_text('{"argv": ["x"')
    ensure_running(house.home)
    assert [status.name for status in house.host.status()] == ["a"]


def test_what_it_was_told_is_private(house: House) -> None:
    house.host.start("a", FOREVER, {**ENVIRON, "TOKEN": "s3cret"}, log(house))
    assert stat.S_IMODE(house.home.supervisor_socket.stat().st_mode) == 0o600
    holding = [path for path in house.home.path.rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()]
    assert holding == [house.home.run / "processes" / "a.json"]
    assert stat.S_IMODE(holding[0].stat().st_mode) == 0o600


def test_orders_that_make_no_sense_are_refused_and_change_nothing(house: House) -> None:
    ensure_running(house.home)
    for order in ({}, {"do": "dance"}, {"do": "start", "name": "a"}, {"do": "stop", "name": "a", "drain": "long"}):
        if order.get("do") == "stop":
            house.host.start("a", FOREVER, ENVIRON, log(house))
        with pytest.raises(PlatformError):
            ask(house.home, {"do": "?", **order})
    with pytest.raises(PlatformError, match="no name for a process"):
        house.host.start("../a", FOREVER, ENVIRON, log(house))
    assert house.host.running("a")


def test_a_log_without_end_is_cut(house: House) -> None:
    house.host.start("a", ["/bin/sh", "-c", "exec yes"], ENVIRON, log(house))
    older = log(house).with_name("a.log.1")
    eventually(older.exists)
    house.host.stop("a", 0)
    assert older.stat().st_size <= 10 * 2**20
    assert log(house).stat().st_size <= 10 * 2**20
    assert log(house).read_bytes().startswith(b"[the log was full: older lines are in a.log.1")


def test_a_log_that_cannot_be_written_costs_lines_only(tmp_path: Path) -> None:
    full = CappedLog(Path("/dev/full"))
    full.write(b"x")
    full.close()
    rotated = CappedLog(tmp_path / "log", limit=100)
    for _ in range(10):
        rotated.write(b"y" * 30 + b"\n")
    rotated.close()
    assert {path.name for path in tmp_path.iterdir()} == {"log", "log.1"}


def test_it_stays_small(house: House) -> None:
    for number in range(5):
        house.host.start(f"a{number}", FOREVER, ENVIRON, log(house))
    text = Path(f"/proc/{house.supervisor()}/status").read_text()
    resident = next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS"))
    assert resident < 25_000  # kB; 13,000 where this was written
