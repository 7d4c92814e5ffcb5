from __future__ import annotations

import stat
from pathlib import Path

import pytest

from mawasu.errors import PlatformError, UsageError
from mawasu.home import Home
from mawasu.triggers.hook import FOLLOWS
from mawasu.triggers.projects import Project, Watch, create_project, projects, watch_project


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


def test_a_home_without_projects_has_none(home: Home) -> None:
    assert projects(home) == []


def test_a_project_is_made_once_and_found_again(home: Home) -> None:
    repo = create_project(home, "flights")
    (repo / "mine").write_text("mine")
    assert create_project(home, "flights") == repo == home.repos / "flights.git"
    assert (repo / "mine").exists()
    assert projects(home) == [Project("flights", str(repo))]


def test_projects_are_listed_by_name_with_what_they_follow(home: Home) -> None:
    watch = Watch("https://example.org/x.git", 300)
    watched = watch_project(home, "b", watch)
    create_project(home, "a")
    (home.repos / "not-a-repository").mkdir()
    assert projects(home) == [Project("a", str(home.repos / "a.git")), watched]
    assert watched == Project("b", str(home.repos / "b.git"), watch)


def test_a_record_that_cannot_be_read_is_named(home: Home) -> None:
    repo = create_project(home, "a")
    (repo / FOLLOWS).write_text("{")
    with pytest.raises(PlatformError, match=r"a\.git/watch\.json cannot be read"):
        projects(home)


@pytest.mark.parametrize(
    "name", ["", "../x", "a/b", ".a", "-a", "A", "a.git", "a.lock", "a..b", "a b", "a" * 64, "é", "a\n"]
)
def test_a_name_that_is_no_safe_directory_is_refused(home: Home, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a project"):
        create_project(home, name)
    assert projects(home) == []


@pytest.mark.parametrize("name", ["a", "flights", "a-b_c.d2", "a" * 63])
def test_a_usual_name_is_taken(home: Home, name: str) -> None:
    assert create_project(home, name).name == f"{name}.git"


def test_hooks_are_replaced_whole_and_can_be_run(home: Home) -> None:
    repo = create_project(home, "a")
    hooks = repo / "hooks"
    (hooks / "pre-receive").write_text("old")
    create_project(home, "a")
    assert sorted(path.name for path in hooks.iterdir()) == ["post-receive", "pre-receive"]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o755 for path in hooks.iterdir())
    assert "old" not in (hooks / "pre-receive").read_text()
