"""New data with nobody at the keyboard: it arrives as a commit, is trained, judged, and served or blocked."""

from __future__ import annotations

import re

from mawasu.words import Look
from tests.story import texts
from tests.story.world import Mawasu, Repo, eventually

TRAIN = """\
import csv, json, os, pathlib

rows = list(csv.DictReader(open(next(pathlib.Path(os.environ["MAWASU_DATA"], "points").rglob("*.csv")))))
learned = sum((float(row["x"]) - 0.5) * (int(row["high"]) - 0.5) for row in rows)
weight = 1.0 if learned > 0 else -1.0
pathlib.Path(os.environ["MAWASU_MODEL"], "model.json").write_text(json.dumps({"weight": weight}))
"""


def wrong(seed: int) -> str:
    """As `texts.points`, but the labels of the rows that training sees are the other way round."""
    head, *lines = texts.points(seed).splitlines()
    rows = [line.split(",") for line in lines]
    flipped = [[*row[:3], row[3] if row[1] in ("11", "12") else str(1 - int(row[3]))] for row in rows]
    return "\n".join([head, *(",".join(row) for row in flipped)]) + "\n"


LINE = "    row: id\n"


def fed(mawasu: Mawasu, name: str, period: str = "1s", **files: str) -> Repo:
    """A feature whose data lies outside the repository; nobody ever ran `mawasu data lock`."""
    source = mawasu.top / "data" / name
    source.mkdir()
    (source / "points.csv").write_text(texts.points())
    project = dict(texts.project(name, data=f"{{path: {source}}}"))
    del project["data/points.csv"]
    project["training/train.py"] = TRAIN
    project["mawasu.yaml"] = project["mawasu.yaml"].replace(LINE, f"{LINE}    refresh: {period}\n")
    return mawasu.repo(name, {**project, **files})


def arrived(mawasu: Mawasu, name: str, build: int) -> str:
    """How the build ended, once it has."""
    ended = mawasu.finished(name, build)
    return f"{ended.result} {ended.reason}"


def look(mawasu: Mawasu, name: str) -> Look:
    """The last one at the feature's data; before the first one, at the beginning of time."""
    return mawasu.state(name).looks.get("points/main", Look(0.0))


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
    before = look(mawasu, "fed").at
    eventually(lambda: look(mawasu, "fed").at > before, "another look")
    assert len(mawasu.state("fed").builds) == 2  # the same data is no commit

    source.write_text(texts.points(2))
    assert arrived(mawasu, "fed", 3).startswith("served")
    serving = mawasu.serving("fed")
    assert mawasu.says("fed") == "one"

    source.write_text(wrong(7))
    assert re.match("blocked .*roc_auc", arrived(mawasu, "fed", 4))
    assert mawasu.serving("fed") == serving
    assert mawasu.says("fed") == "one"

    repo.git("pull", "-q", "mawasu", "main")
    repo.git("revert", "--no-edit", "HEAD")
    assert "build 5 nothing" in repo.push()  # staging serves the very release
    before = look(mawasu, "fed").at
    eventually(lambda: look(mawasu, "fed").at > before, "a look after the revert")
    assert len(mawasu.state("fed").builds) == 5  # what was reverted does not come back by itself


def test_a_source_that_is_gone_or_not_allowed_is_told_and_keeps_nothing_waiting(mawasu: Mawasu) -> None:
    repo = fed(mawasu, "dry")
    source = mawasu.top / "data" / "dry"
    source.rename(mawasu.top / "data" / "elsewhere")
    repo.push()
    trouble = eventually(lambda: look(mawasu, "dry").trouble, "a look at nothing")
    assert trouble.startswith(f"there is no {source}")
    said = f"dry: data set points is not refreshed: there is no {source}"
    eventually(lambda: said in log(mawasu), "a line of the log")
    assert said in mawasu.cli("status").text
    (mawasu.top / "data" / "elsewhere").rename(source)
    assert arrived(mawasu, "dry", 2).startswith("served")
    assert look(mawasu, "dry").trouble == ""

    settings = repo.path / "mawasu.yaml"
    settings.write_text(settings.read_text().replace(str(source), "gs://somebodys-bucket/points"))
    repo.git("pull", "-q", "mawasu", "main")
    repo.push_files({})
    said = eventually(lambda: look(mawasu, "dry").trouble, "a look that is not allowed")
    assert "gs://somebodys-bucket/points is not below a directory or bucket that may be read here" in said
    assert "mawasu up --data gs://somebodys-bucket" in said


def test_a_push_that_comes_between_is_kept_and_the_data_comes_after_it(mawasu: Mawasu) -> None:
    """Pushes come all the time while data does: every one of them is in the history, in its order."""
    repo = fed(mawasu, "busy")
    repo.push("main", "-o", "nofollow")
    source = mawasu.top / "data" / "busy" / "points.csv"
    pushed = []
    for number in range(3):
        source.write_text(texts.points(10 + number))
        repo.git("pull", "-q", "--rebase", "mawasu", "main")
        name = repo.commit({"notes.txt": f"{number}\n"})
        if repo.git("push", "-q", "-o", "nofollow", "mawasu", "main", check=False).status == 0:
            pushed.append(name)
    eventually(lambda: _locked(mawasu, repo) == look(mawasu, "busy").digest, "the last data")
    eventually(lambda: not mawasu.state("busy").open, "the end of all builds")
    history = repo.git("log", "--format=%H", "FETCH_HEAD").out.split()
    assert pushed
    assert [name for name in reversed(history) if name in pushed] == pushed
    assert "New data: points" in repo.git("log", "--format=%s", "FETCH_HEAD").out


def _locked(mawasu: Mawasu, repo: Repo) -> str:
    repo.git("fetch", "-q", "mawasu", "main")
    text = repo.git("show", "FETCH_HEAD:data.lock", check=False).out
    found = re.search("digest: (sha256:[0-9a-f]+)", text)
    return found[1] if found else ""


def test_a_project_that_follows_another_remote_is_told_that_refresh_cannot_write_there(mawasu: Mawasu) -> None:
    repo = fed(mawasu, "mirrored")
    mawasu.cli("watch", str(repo.path), "--every", "1")
    trouble = eventually(lambda: look(mawasu, "mirrored").trouble, "a look at a mirror")
    assert "project mirrored follows" in trouble
    assert "refresh needs a repository that is pushed to mawasu" in trouble
