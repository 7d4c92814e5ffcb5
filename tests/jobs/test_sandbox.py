from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from mawasu.errors import PlatformError, StepError
from mawasu.platforms.local import sandbox as sandbox_module
from mawasu.platforms.local.sandbox import USER, Bind, Bubblewrap, Direct, Sandbox, interpreter, tried


class Room:
    """A directory that code may write, one it may read, and a way to run something there."""

    def __init__(self, sandbox: Sandbox, path: Path) -> None:
        self.sandbox = sandbox
        self.work = path / "work"
        self.data = path / "data"
        for one in (self.work, self.data):
            one.mkdir()
        sandbox.own(self.work)

    def wrap(self, argv: Sequence[str], environ: Mapping[str, str], *, network: bool = False) -> list[str]:
        return self.sandbox.wrap(
            argv,
            cwd=self.work,
            read_only=[self.data],
            writable=[self.work],
            environ=environ,
            network=network,
            memory=None,
        )

    def sh(self, script: str, *, network: bool = False, **environ: str) -> subprocess.CompletedProcess[str]:
        argv = self.wrap(["/bin/sh", "-c", script], environ, network=network)
        return subprocess.run(argv, env=environ, capture_output=True, text=True, check=False, timeout=30)

    def python(self, code: str, *, network: bool = False, **environ: str) -> str:
        argv = self.wrap([str(interpreter()), "-c", code], environ, network=network)
        done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture
def room(closed: Sandbox, tmp_path: Path) -> Room:
    return Room(closed, tmp_path)


def test_code_writes_where_it_may(room: Room) -> None:
    assert room.sh("pwd; echo yes > here; cat here").stdout.split() == [str(room.work), "yes"]
    assert (room.work / "here").read_text() == "yes\n"


def test_code_cannot_read_a_file_of_root_in_a_directory_it_is_shown(room: Room) -> None:
    (room.data / "secret").write_text("only root reads this")
    (room.data / "secret").chmod(0o600)
    (room.work / "secret").write_text("only root reads this")
    (room.work / "secret").chmod(0o600)
    done = room.sh(f"cat {room.data}/secret {room.work}/secret /etc/shadow /etc/sudoers")
    assert done.returncode != 0
    assert "only root" not in done.stdout
    assert done.stderr.count("Permission denied") == 2


@pytest.mark.parametrize("where", ["/", "/usr", "/etc", "/dev", "/proc/sys/kernel", "{data}", "{work}/.."])
def test_code_cannot_write_outside_its_workspace(room: Room, where: str) -> None:
    path = where.format(data=room.data, work=room.work)
    assert room.sh(f"echo x > {path}/mawasu-was-here").returncode != 0


def test_code_has_its_own_user_no_capabilities_and_gains_none(room: Room) -> None:
    said = room.sh("id -u; id -un; cat /proc/self/status").stdout.split("\n")
    assert said[:2] == [str(USER), "mawasu"]
    status = dict(line.split(":\t") for line in said[2:] if ":\t" in line)
    assert {status[name] for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert status["Uid"].split() == [str(USER)] * 4


def test_files_that_code_made_belong_to_nobody_important(room: Room) -> None:
    room.sh("touch mine; chmod 4755 mine")
    assert (room.work / "mine").stat().st_uid == (USER if os.getuid() == 0 else os.getuid())


def test_code_sees_no_other_process(room: Room) -> None:
    seen = room.python("import os; print([n for n in os.listdir('/proc') if n.isdigit()])")
    assert seen == "['1', '2']"


def test_code_has_no_network(room: Room) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = f"""
import socket
print([name for _, name in socket.if_nameindex()])
try:
    socket.create_connection({server.getsockname()!r}, timeout=5)
except OSError as error:
    print(type(error).__name__)
"""
        assert room.python(code).split("\n") == ["['lo']", "ConnectionRefusedError"]


def test_code_has_the_network_when_it_is_declared(room: Room) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        code = f"import socket; socket.create_connection({address!r}, timeout=5).close(); print('connected')"
        assert room.python(code, network=True) == "connected"


def test_code_sees_neither_the_home_nor_other_workspaces(room: Room, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/ledger").write_text("x")
    assert room.sh(f"ls {tmp_path}").stdout.split() == ["data", "work"]


def test_code_sees_nothing_of_the_daemons_environment(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_DAEMON", "hidden-value")
    seen = room.sh("env; cat /proc/[0-9]*/environ | tr '\\0' '\\n'", GIVEN="shown-value").stdout
    assert "shown-value" in seen
    assert "hidden-value" not in seen


def test_values_of_variables_are_not_on_the_command_line(room: Room) -> None:
    assert not any("s3cret" in word for word in room.wrap(["true"], {"TOKEN": "s3cret"}))


@pytest.mark.parametrize("name", ["LD_PRELOAD", "LD_LIBRARY_PATH", "GLIBC_TUNABLES", "GCONV_PATH"])
def test_variables_that_would_reach_programs_outside_are_refused(room: Room, name: str) -> None:
    with pytest.raises(StepError, match=f"{name} may not be set .* set it in the command itself: {name}="):
        room.wrap(["true"], {name: "evil.so"})


@pytest.mark.parametrize("sandbox", [Direct(), Bubblewrap("/usr/bin/bwrap", root=True)])
def test_a_variable_that_a_shell_takes_for_a_function_is_refused(sandbox: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(StepError, match="no name for a variable"):
        Room(sandbox, tmp_path).wrap(["true"], {"BASH_FUNC_exec%%": "() { evil; }"})


def test_semaphores_and_temporary_files_work(room: Room) -> None:
    code = "import multiprocessing, tempfile; multiprocessing.Lock(); tempfile.TemporaryFile(); print('ok')"
    assert room.python(code) == "ok"


def test_tmp_is_bounded(closed: Sandbox, tmp_path: Path) -> None:
    argv = closed.wrap(
        ["/bin/sh", "-c", "head -c 20000000 /dev/zero > /tmp/much"],
        cwd=Path("/"),
        read_only=(),
        writable=(),
        environ={},
        network=False,
        memory=32 * 2**20,
    )
    done = subprocess.run(argv, env={}, capture_output=True, text=True, check=False, timeout=30)
    assert "No space left" in done.stderr


def test_a_directory_can_be_shown_elsewhere(closed: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("found")
    tmp_path.chmod(0o755)
    argv = closed.wrap(
        ["/bin/cat", "/mawasu/data/set/file"],
        cwd=Path("/mawasu"),
        read_only=[Bind(tmp_path, Path("/mawasu/data/set"))],
        writable=(),
        environ={},
        network=False,
        memory=None,
    )
    done = subprocess.run(argv, env={}, capture_output=True, text=True, check=False, timeout=30)
    assert (done.stdout, done.stderr) == ("found", "")


def test_a_user_who_is_not_root_gets_a_user_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sandbox_module, "interpreter_paths", lambda: ()
    )  # may lie in a home that this user cannot enter
    argv = Bubblewrap("/usr/bin/bwrap", root=False).wrap(
        ["/bin/sh", "-c", "id -un; grep CapEff /proc/self/status; touch /x /dev/x"],
        cwd=Path("/"),
        read_only=(),
        writable=(),
        environ={},
        network=False,
        memory=None,
    )
    if os.getuid() == 0:
        argv = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *argv]
    done = subprocess.run(argv, env={}, capture_output=True, text=True, check=False, timeout=30)
    assert done.stdout.split() == ["mawasu", "CapEff:", "0" * 16], done.stderr
    assert done.stderr.count("Read-only file system") == 2


def test_without_bubblewrap_one_line_says_how_to_get_it() -> None:
    with pytest.raises(PlatformError) as caught:
        tried(None)
    assert "apt-get install bubblewrap" in str(caught.value)
    assert "--trust-pushers" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bubblewrap_that_does_not_work_is_told_in_one_line() -> None:
    with pytest.raises(PlatformError, match=r"bubblewrap does not work here: status 1 .*--trust-pushers"):
        tried("/bin/false")


def test_trusting_pushers_is_said_and_runs_in_the_given_directory(tmp_path: Path) -> None:
    trusting = Sandbox.detect(trust_pushers=True)
    assert "trusted" in trusting.name
    assert not trusting.closed
    assert Room(trusting, tmp_path).sh("pwd").stdout.strip() == str(tmp_path / "work")
