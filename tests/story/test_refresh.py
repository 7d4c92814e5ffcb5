"""New data with nobody at the keyboard: it arrives as a commit, is trained, judged, and served or blocked."""

from __future__ import annotations

import re

import pytest

from tests.story import texts
from tests.story.world import Mawasu, Repo, eventually

WRONG = texts.points(7).replace(",1\n", ",x\n").replace(",0\n", ",1\n").replace(",x\n", ",0\n")
"""Rows whose labels are the other way round."""

LINE = "    row: id\n"


def fed(mawasu: Mawasu, name: str, period: str = "1s", **files: str) -> Repo:
    """A feature whose data lies outside the repository; nobody ever ran `mawasu data lock`."""
    source = mawasu.top / "data" / name
    source.mkdir()
    (source / "points.csv").write_text(texts.points())
    project = dict(texts.project(name, data=f"{{path: {source}}}"))
    del project["data/points.csv"]
    project["mawasu.yaml"] = project["mawasu.yaml"].replace(LINE, f"{LINE}    refresh: {period}\n")
    return mawasu.repo(name, {**project, **files})


def arrived(mawasu: Mawasu, name: str, build: int) -> str:
    """How the build ended, once it has."""
    ended = mawasu.finished(name, build)
    return f"{ended.result} {ended.reason}"


def log(mawasu: Mawasu) -> str:
    return (mawasu.home / "daemon.log").read_text()


def test_new_data_is_committed_trained_judged_and_served_and_worse_data_is_blocked(mawasu: Mawasu) -> None:
    repo = fed(mawasu, "fed")
    source = mawasu.top / "data" / "fed" / "points.csv"
    said = repo.push()
    assert "data.lock does not pin" in said
    assert arrived(mawasu, "fed", 2).startswith("served staging serves fed/main/")

    repo.git("pull", "-q", "mawasu", "main")
    assert repo.git("log", "-1", "--format=%an|%s").out == "mawasu refresh|New data: points\n"
    assert repo.git("diff", "--name-only", "HEAD~1").out == "data.lock\n"
    looks = mawasu.state("fed").looks["points/main"]
    eventually(lambda: mawasu.state("fed").looks["points/main"].at > looks.at, "another look")
    assert len(mawasu.state("fed").builds) == 2  # the same data is no commit

    source.write_text(texts.points(2))
    assert arrived(mawasu, "fed", 3).startswith("served")
    serving = mawasu.serving("fed")
    assert mawasu.says("fed") == "one"

    source.write_text(WRONG)
    assert re.match("blocked .*roc_auc", arrived(mawasu, "fed", 4))
    assert mawasu.serving("fed") == serving
    assert mawasu.says("fed") == "one"

    repo.git("pull", "-q", "mawasu", "main")
    repo.git("revert", "--no-edit", "HEAD")
    assert "build 5 served" in repo.push()
    before = mawasu.state("fed").looks["points/main"].at
    eventually(lambda: mawasu.state("fed").looks["points/main"].at > before, "a look after the revert")
    assert len(mawasu.state("fed").builds) == 5  # what was reverted does not come back by itself


def test_a_source_that_is_gone_or_not_allowed_is_told_and_keeps_nothing_waiting(mawasu: Mawasu) -> None:
    repo = fed(mawasu, "dry")
    repo.push()
    assert arrived(mawasu, "dry", 2).startswith("served")
    source = mawasu.top / "data" / "dry"
    source.rename(mawasu.top / "data" / "elsewhere")
    trouble = eventually(lambda: mawasu.state("dry").looks["points/main"].trouble, "a look at nothing")
    assert trouble.startswith(f"data set points: there is no {source}")
    assert f"dry: data set points is not refreshed: data set points: there is no {source}" in log(mawasu)
    assert f"warning: dry: data set points is not refreshed: data set points: there is no {source}" in (
        mawasu.cli("status").text
    )
    assert mawasu.says("dry") == "one"

    (mawasu.top / "data" / "elsewhere").rename(source)
    (source / "points.csv").write_text(texts.points(3))
    assert arrived(mawasu, "dry", 3).startswith("served")
    assert mawasu.state("dry").looks["points/main"].trouble == ""

    settings = repo.path / "mawasu.yaml"
    settings.write_text(settings.read_text().replace(str(source), "gs://somebodys-bucket/points"))
    repo.git("pull", "-q", "mawasu", "main")
    repo.push_files({})
    said = eventually(lambda: mawasu.state("dry").looks["points/main"].trouble, "a look that is not allowed")
    assert "gs://somebodys-bucket/points is not below a directory or bucket that may be read here" in said
    assert "mawasu up --data gs://somebodys-bucket" in said


def test_a_push_that_comes_between_is_kept_and_the_data_comes_after_it(mawasu: Mawasu) -> None:
    """Pushes come all the time while data does: every one of them is in the history, in its order."""
    repo = fed(mawasu, "busy")
    repo.push()
    assert arrived(mawasu, "busy", 2).startswith("served")
    source = mawasu.top / "data" / "busy" / "points.csv"
    pushed = []
    for number in range(4):
        source.write_text(texts.points(10 + number))
        repo.git("pull", "-q", "--rebase", "mawasu", "main")
        name = repo.commit({"notes.txt": f"{number}\n"})
        if repo.git("push", "-q", "-o", "nofollow", "mawasu", "main", check=False).status == 0:
            pushed.append(name)
    eventually(lambda: _locked(mawasu, repo) == mawasu.state("busy").looks["points/main"].digest, "the last data")
    eventually(lambda: mawasu.status()["busy/staging"]["state"] == "in sync", "the end of all builds")
    history = repo.git("log", "--format=%H", "FETCH_HEAD").out.split()
    assert pushed
    assert [name for name in reversed(history) if name in pushed] == pushed
    assert "New data: points" in repo.git("log", "--format=%s", "FETCH_HEAD").out


def _locked(mawasu: Mawasu, repo: Repo) -> str:
    repo.git("fetch", "-q", "mawasu", "main")
    found = re.search("digest: (sha256:[0-9a-f]+)", repo.git("show", "FETCH_HEAD:data.lock").out)
    assert found
    return found[1]


def test_a_project_that_follows_another_remote_is_told_that_refresh_cannot_write_there(
    mawasu: Mawasu, tmp_path_factory: pytest.TempPathFactory
) -> None:
    repo = fed(mawasu, "mirrored")
    mawasu.cli("watch", str(repo.path), "--interval", "1")
    trouble = eventually(
        lambda: (look := mawasu.state("mirrored").looks.get("points/main")) and look.trouble, "a look at a mirror"
    )
    assert "project mirrored follows" in trouble
    assert "refresh needs a repository that is pushed to mawasu" in trouble
