from __future__ import annotations

import socket
from pathlib import Path

import pytest

from mawasu.errors import UsageError
from mawasu.git.repository import heads, read_tree
from mawasu.home import Home
from mawasu.triggers.projects import Watch, watch_project
from mawasu.triggers.watch import Watcher, check_url
from tests.git.repos import Repo


@pytest.fixture
def remote(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "remote")


def watcher_of(tmp_path: Path, url: str, timeout: float = 60.0) -> Watcher:
    home = Home(tmp_path / "home").create()
    watch = Watch(url, 60)
    return Watcher(watch_project(home, "demo", watch), watch, timeout)


def test_what_moves_at_the_remote_arrives_here_once(tmp_path: Path, remote: Repo) -> None:
    first = remote.commit({"a": "1"})
    watcher = watcher_of(tmp_path, str(remote.dir))
    assert watcher.poll_once() == [(None, first, "main")]
    assert watcher.poll_once() == []
    second = remote.commit({"a": "2"})
    remote.git("branch", "feature/x")
    assert watcher.poll_once() == [(None, second, "feature/x"), (first, second, "main")]
    assert list(read_tree(watcher.project.repo, second).files) == ["a"]
    assert watcher.state == "in sync"


def test_rewritten_and_deleted_branches_follow(tmp_path: Path, remote: Repo) -> None:
    first = remote.commit({"a": "1"})
    remote.git("branch", "side")
    watcher = watcher_of(tmp_path, f"file://{remote.dir}")
    watcher.poll_once()
    remote.git("branch", "--delete", "--force", "side")
    remote.git("commit", "--quiet", "--amend", "--message", "again")
    again = remote.git("rev-parse", "HEAD")
    assert watcher.poll_once() == [(first, None, "side"), (first, again, "main")]
    assert heads(watcher.project.repo) == {"main": again}


def test_branches_with_unsafe_names_and_tags_stay_there(tmp_path: Path, remote: Repo) -> None:
    commit = remote.commit()
    remote.git("tag", "v1")
    remote.git("update-ref", "refs/heads/--upload-pack=x", commit)
    remote.git("update-ref", "refs/heads/a\u202eb", commit)
    watcher = watcher_of(tmp_path, str(remote.dir))
    assert watcher.poll_once() == [(None, commit, "main")]
    assert watcher.state == r"in sync; left out for their names: '--upload-pack=x', 'a\u202eb'"
    refs = remote.git("--git-dir", watcher.project.repo, "for-each-ref", "--format=%(refname)")
    assert refs == "refs/heads/main"


def test_an_unreachable_remote_is_a_state_and_is_asked_ever_more_rarely(tmp_path: Path, remote: Repo) -> None:
    commit = remote.commit()
    watcher = watcher_of(tmp_path, str(remote.top))
    watcher.poll_once()
    away = remote.top.rename(tmp_path / "away")
    waits = []
    for _ in range(8):
        assert watcher.poll_once() == []
        waits.append(watcher.wait)
    assert watcher.state.startswith("unreachable: git ls-remote failed")
    assert "\n" not in watcher.state
    assert waits == [120, 240, 480, 960, 1920, 3600, 3600, 3600]
    assert heads(watcher.project.repo) == {"main": commit}
    away.rename(remote.top)
    assert watcher.poll_once() == []
    assert (watcher.state, watcher.wait) == ("in sync", 60)


def test_a_remote_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        watcher = watcher_of(tmp_path, f"git://127.0.0.1:{listening.getsockname()[1]}/x.git", timeout=0.5)
        assert watcher.poll_once() == []
    assert "took longer than 0.5 s" in watcher.state


def test_a_setting_of_the_user_cannot_bring_a_forbidden_transport_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "gitconfig"
    config.write_text('[protocol "ext"]\n\tallow = always\n[url "ext::touch "]\n\tinsteadOf = https://example.org/\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    watcher = watcher_of(tmp_path, f"https://example.org/{tmp_path}/touched")
    assert watcher.poll_once() == []
    assert "transport 'ext' not allowed" in watcher.state
    assert not (tmp_path / "touched").exists()


USUAL = [
    "https://example.org/x.git",
    "ssh://git@example.org:22/x",
    "git@example.org:x.git",
    "file:///srv/x.git",
    "/tmp",
]


@pytest.mark.parametrize("url", USUAL)
def test_a_usual_url_is_taken(url: str) -> None:
    assert check_url(url) == url


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ext::sh -c touch% x", "names a transport helper"),
        ("ftp://example.org/x.git", "'ftp' URLs are not followed"),
        ("http://example.org/x.git", "'http' URLs are not followed"),
        ("--upload-pack=x", "is no URL"),
        ("", "is no URL"),
        ("a\x1b", "is no URL"),
        ("https://user:secret@example.org/x.git", "credentials stand in the URL"),
        ("https://token@example.org/x.git", "credentials stand in the URL"),
        ("/no/such/directory", "there is no repository at"),
        ("-oProxyCommand=x:y", "is no URL"),
    ],
)
def test_another_url_is_refused_with_the_reason(url: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as refused:
        check_url(url)
    assert "secret" not in str(refused.value)
