from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from mawasu.git.repository import heads, resolve
from mawasu.home import Home
from mawasu.triggers.projects import Watch, create_project, install_hooks, unwatch_project, watch_project
from tests.git.repos import ENVIRON, Repo
from tests.triggers.peer import Peer, eventually, say

ZEROS = "0" * 40
DOWN = "remote: mawasu is not running: your push is safe and will be picked up by `mawasu up`"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


@pytest.fixture
def bare(home: Home) -> Path:
    return create_project(home, "demo")


@pytest.fixture
def repo(tmp_path: Path, bare: Path) -> Repo:
    work = Repo(tmp_path / "work")
    work.commit({"a": "1"})
    work.git("remote", "add", "mawasu", str(bare))
    return work


def push(repo: Repo, *arguments: str) -> tuple[int, str]:
    done = repo.run("push", *arguments)
    return done.returncode, done.stderr.decode()


def done(connection: socket.socket) -> None:
    say(connection, {"done": True})


def silent(connection: socket.socket) -> None:
    connection.recv(1)  # until the hook leaves


def test_the_daemon_is_told_what_has_moved_and_what_it_says_is_shown(home: Home, repo: Repo) -> None:
    def answer(connection: socket.socket) -> None:
        say(
            connection,
            {"say": "build 1 of flight-delay → staging"},
            {"say": "train: runs\njudge: runs"},
            {"done": True},
        )

    commit = repo.git("rev-parse", "HEAD")
    with Peer(home.daemon_socket, answer) as daemon:
        status, shown = push(repo, "mawasu", "main", "main:feature/x")
    assert status == 0
    updates = [[ZEROS, commit, "refs/heads/main"], [ZEROS, commit, "refs/heads/feature/x"]]
    assert len(daemon.requests) == 1
    assert sorted(daemon.requests[0].pop("updates")) == sorted(updates)
    assert daemon.requests[0] == {"op": "push", "project": "demo"}
    said = [line.rstrip() for line in shown.splitlines() if line.startswith("remote:")]
    assert said == ["remote: build 1 of flight-delay → staging", "remote: train: runs", "remote: judge: runs"]


def test_a_deleted_branch_is_told_with_zeros(home: Home, repo: Repo) -> None:
    commit = repo.git("rev-parse", "HEAD")
    push(repo, "mawasu", "main:side")
    with Peer(home.daemon_socket, done) as daemon:
        assert push(repo, "mawasu", ":side")[0] == 0
    assert daemon.requests[0]["updates"] == [[commit, ZEROS, "refs/heads/side"]]


def test_a_forced_push_is_taken(home: Home, repo: Repo, bare: Path) -> None:
    push(repo, "mawasu", "main")
    old = repo.git("rev-parse", "HEAD")
    repo.git("commit", "--quiet", "--amend", "--message", "again")
    with Peer(home.daemon_socket, done) as daemon:
        assert push(repo, "--force", "mawasu", "main")[0] == 0
    assert daemon.requests[0]["updates"] == [[old, heads(bare)["main"], "refs/heads/main"]]


def test_a_tag_alone_tells_the_daemon_nothing(home: Home, repo: Repo) -> None:
    repo.git("tag", "v1")
    with Peer(home.daemon_socket, done) as daemon:
        assert push(repo, "mawasu", "v1")[0] == 0
    assert daemon.requests == []


def test_while_the_daemon_is_down_a_push_is_stored_and_says_so(repo: Repo, bare: Path) -> None:
    status, shown = push(repo, "mawasu", "main")
    assert status == 0
    assert DOWN in shown
    assert heads(bare) == {"main": repo.git("rev-parse", "HEAD")}


def test_a_socket_that_nobody_listens_on_any_more_counts_as_down(home: Home, repo: Repo) -> None:
    left_behind = socket.socket(socket.AF_UNIX)
    left_behind.bind(str(home.daemon_socket))
    left_behind.close()
    status, shown = push(repo, "mawasu", "main")
    assert status == 0
    assert DOWN in shown


def test_a_daemon_that_dies_meanwhile_costs_nothing(home: Home, repo: Repo) -> None:
    def dies(connection: socket.socket) -> None:
        say(connection, {"say": "queued"})
        connection.shutdown(socket.SHUT_RDWR)

    with Peer(home.daemon_socket, dies):
        status, shown = push(repo, "mawasu", "main")
    assert status == 0
    assert "remote: queued" in shown
    assert "remote: mawasu has stopped: your push is safe" in shown


def test_a_long_build_is_left_after_the_time_to_follow_with_how_to_see_the_rest(home: Home, repo: Repo) -> None:
    def works_on(connection: socket.socket) -> None:
        say(connection, {"say": "training…", "follow": "mawasu logs -f flight-delay 7"})
        connection.recv(1)

    with Peer(home.daemon_socket, works_on):
        status, shown = push(repo, "-o", "follow=1", "mawasu", "main")
    assert status == 0
    assert "remote: training…" in shown
    assert "remote: still at work; follow it with: mawasu logs -f flight-delay 7" in shown


def test_nofollow_leaves_at_once_and_the_daemon_knows(home: Home, repo: Repo) -> None:
    with Peer(home.daemon_socket, silent) as daemon:
        status, shown = push(repo, "-o", "nofollow", "mawasu", "main")
        eventually(lambda: len(daemon.requests) == 1, "the daemon is told")
    assert status == 0
    assert "still at work" not in shown


def test_an_unknown_push_option_is_named_and_the_push_taken(repo: Repo, bare: Path) -> None:
    status, shown = push(repo, "-o", "folow=9", "mawasu", "main")
    assert status == 0
    assert "remote: unknown push option 'folow'" in shown
    assert list(heads(bare)) == ["main"]


def test_what_the_daemon_says_cannot_steer_the_terminal(home: Home, repo: Repo) -> None:
    def answer(connection: socket.socket) -> None:
        say(connection, {"say": "a\x1b[2Jb\u202ec"}, {"done": True})

    with Peer(home.daemon_socket, answer):
        _, shown = push(repo, "mawasu", "main")
    assert "remote: a?[2Jb?c" in shown


HOSTILE = ["$(touch${IFS}x)", "--upload-pack=x", "<script>", "main\u202etxt", "a" * 300, ";id", "|id", "é"]


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_hostile_branch_name_is_refused_and_shown_escaped(repo: Repo, bare: Path, name: str) -> None:
    status, shown = push(repo, "mawasu", f"main:refs/heads/{name}", "main:good")
    assert status == 1
    said = [line for line in shown.splitlines() if line.startswith("remote:")]
    assert [line for line in said if line.startswith("remote: refused: the branch name ")]
    assert "".join(said).replace("…", "").isascii()
    assert heads(bare) == {}
    assert not (bare / "x").exists()


def test_a_ref_that_is_neither_branch_nor_tag_is_refused(repo: Repo, bare: Path) -> None:
    for ref in ("refs/notes/x", "refs/replace/" + "1" * 40):
        status, shown = push(repo, "mawasu", f"main:{ref}")
        assert status == 1
        assert f"refused: '{ref}' is neither a branch nor a tag" in shown
        assert resolve(bare, ref) is None


def test_a_branch_whose_name_is_refused_may_be_deleted(repo: Repo, bare: Path) -> None:
    push(repo, "mawasu", "main")
    repo.git("--git-dir", str(bare), "update-ref", "refs/heads/<script>", heads(bare)["main"])
    assert push(repo, "mawasu", ":refs/heads/<script>")[0] == 0
    assert list(heads(bare)) == ["main"]


def test_with_the_empty_environment_of_a_server_the_hooks_work(home: Home, repo: Repo) -> None:
    with Peer(home.daemon_socket, done) as daemon:
        receive = f"env -i PATH={os.environ['PATH']} git-receive-pack"
        assert push(repo, f"--receive-pack={receive}", "mawasu", "main")[0] == 0
    assert daemon.requests[0]["project"] == "demo"


def test_a_home_with_blanks_and_quotes_in_its_path_works(tmp_path: Path, repo: Repo) -> None:
    home = Home(tmp_path / "it's a $HOME").create()
    other = create_project(home, "demo")
    with Peer(home.daemon_socket, done) as daemon:
        status, _ = push(repo, str(other), "main")
    assert status == 0
    assert len(daemon.requests) == 1


def test_an_installation_that_is_gone_refuses_and_is_repaired_by_installing_the_hooks(
    home: Home, repo: Repo, bare: Path
) -> None:
    for script in (bare / "hooks").iterdir():
        script.write_text(script.read_text().replace("python='", "python='/gone"))
    status, shown = push(repo, "mawasu", "main")
    assert status == 1
    assert "run mawasu up, which repairs this, and push again" in shown
    install_hooks(home, bare)
    assert push(repo, "mawasu", "main")[0] == 0


def test_a_project_that_follows_a_remote_takes_no_push_until_it_no_longer_does(home: Home, repo: Repo) -> None:
    watch_project(home, "demo", Watch("https://example.org/x.git"))
    status, shown = push(repo, "mawasu", "main")
    assert status == 1
    assert "refused: this project follows another remote" in shown
    assert unwatch_project(home, "demo")
    assert not unwatch_project(home, "demo")
    assert push(repo, "mawasu", "main")[0] == 0


def start_push(repo: Repo, follow: int) -> subprocess.Popen[bytes]:
    command = ["git", "push", "-o", f"follow={follow}", "mawasu", "main"]
    return subprocess.Popen(command, cwd=repo.top, env=ENVIRON, stderr=subprocess.DEVNULL, start_new_session=True)


def test_a_terminal_that_hangs_up_takes_the_hook_along_and_the_push_stays(home: Home, repo: Repo, bare: Path) -> None:
    with Peer(home.daemon_socket, silent) as daemon, start_push(repo, 600) as client:
        eventually(lambda: len(daemon.requests) == 1, "the daemon is told")
        os.killpg(client.pid, signal.SIGHUP)
        assert daemon.left.wait(20), "the hook ends"
    assert heads(bare) == {"main": repo.git("rev-parse", "HEAD")}


def test_a_client_that_was_killed_loses_nothing_and_its_hook_ends(home: Home, repo: Repo, bare: Path) -> None:
    killed = threading.Event()

    def says_more_than_a_pipe_holds(connection: socket.socket) -> None:
        assert killed.wait(20)
        for _ in range(1000):
            say(connection, {"say": "x" * 1000})

    with Peer(home.daemon_socket, says_more_than_a_pipe_holds) as daemon, start_push(repo, 1) as client:
        eventually(lambda: len(daemon.requests) == 1, "the daemon is told")
        client.kill()
        client.wait()
        killed.set()
        assert daemon.left.wait(20), "the hook ends"
    assert heads(bare) == {"main": repo.git("rev-parse", "HEAD")}
