"""New data in a bucket: Cloud Scheduler's look commits it to GitHub, and the push is tried, judged and served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mawasu.google.buckets import insert_bucket
from mawasu.google.storage import Bucket
from mawasu.platforms.gcp.names import link
from mawasu.words import Look, Result
from tests.gcp.github import GitHub, github
from tests.gcp.permissions import NEEDS, is_by_hand
from tests.gcp.story import BUCKET, GCP, GITHUB, PROJECT, Google, google
from tests.google.double import infra
from tests.story import texts

DATA = "acme-data"
HOUR = 3600.0


class Fed:
    """A project whose data lies in a bucket, and its repository on GitHub."""

    def __init__(self, world: Google, hub: GitHub) -> None:
        self.world, self.hub = world, hub
        world.client.send(insert_bucket(PROJECT, DATA, {}))
        self.bucket = Bucket(world.client, DATA)
        self.now = 0.0

    def begin(self, source: str = f"gs://{DATA}/points") -> None:
        """The first push; nobody ever ran `mawasu data lock`."""
        world = self.world
        files = dict(texts.project("fed", data=f"{{path: {source}}}", extra=GCP))
        del files["data/points.csv"]
        files["mawasu.yaml"] = files["mawasu.yaml"].replace("    row: id\n", "    row: id\n    refresh: hourly\n")
        world.commit(files)
        world.apply()
        connected = infra.infra(world.double).of("cloudbuild.googleapis.com", "repositories")
        (repository,) = connected.items.values()
        repository["remoteUri"] = self.hub.url
        self.push()
        assert "data.lock does not pin" in world.build("fed").reason

    def push(self) -> None:
        """What a person pushes, or what mawasu has pushed: its triggers run."""
        self.world.git("push", "-q", str(self.hub.bare), "main")
        self.world.push("main")

    def look(self, hours: float = 1.0) -> list[str]:
        """What the clock brings, some hours after the last time."""
        first = self.world.build("fed").queued
        self.now = max(self.now, first) + hours * HOUR
        return self.world.reconcile(self.now)

    def take_up(self) -> None:
        """GitHub tells Cloud Build of the commit that is there."""
        self.world.git("pull", "-q", "--rebase", str(self.hub.bare), "main")
        self.world.push("main")

    @property
    def seen(self) -> Look:
        return self.world.state("fed").looks["points/main"]

    def downloads(self) -> int:
        return sum(
            one.path.startswith(f"/storage/v1/b/{DATA}/o/") and one.query.get("alt") == "media"
            for one in self.world.double.requests
        )


@pytest.fixture
def fed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fed]:
    (tmp_path / "google").mkdir()
    with google(tmp_path / "google", monkeypatch) as world:
        tokens = infra.infra(world.double).tokens
        with github(tmp_path / "github", lambda: tokens[-1] if tokens else "") as hub:
            yield Fed(world, hub)
        called = {one.id for one in world.double.requests}
        assert [method for method in sorted(called) if method not in NEEDS and not is_by_hand(method)] == []
        said = "\n".join([*hub.shown, *hub.asked, *world.said])
        assert not [token for token in tokens if token in said], "a token was shown"


def test_new_objects_arrive_as_a_commit_on_github_and_are_served(fed: Fed) -> None:
    world = fed.world
    fed.bucket.put("points/2024.csv", texts.points().encode())
    fed.begin()
    (said,) = fed.look()
    assert said.startswith("fed: data set points is ")
    assert said.endswith(" now, committed to main")
    assert fed.hub.git("log", "-1", "--format=%an|%s", "main") == "mawasu refresh|New data: points"
    assert fed.hub.git("diff", "--name-only", "main~1", "main") == "data.lock"

    fed.take_up()
    assert world.build("fed").result is Result.SERVED, "\n".join(world.said)
    assert world.call("fed", "staging", world.key("fed/staging")).json()["says"] == "one"

    read, tokens = fed.downloads(), len(infra.infra(world.double).tokens)
    assert fed.look() == []
    assert fed.downloads() == read, "the generations tell that nothing has changed"
    assert fed.look(0.5) == []
    assert len(infra.infra(world.double).tokens) == tokens + 1, "what is not due is not asked for"

    fed.bucket.put("points/2024.csv", texts.points(2).encode())
    ran = world.command("reconcile")  # by the clock of this machine, which is hours behind
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.endswith(" now, committed to main\n")
    assert fed.seen.digest is not None
    assert fed.seen.digest in fed.hub.git("show", "main:data.lock")


def test_a_push_that_comes_between_wins_and_the_data_comes_after_it(fed: Fed) -> None:
    world = fed.world
    fed.bucket.put("points/a.csv", texts.points().encode())
    fed.begin()

    def between() -> None:
        fed.hub.before_push = lambda: None
        world.commit({"notes.txt": "of a person"})
        world.git("push", "-q", str(fed.hub.bare), "main")

    fed.hub.before_push = between
    assert fed.look() == [f"{link(GITHUB)} main: points: a push came between, the next look takes it up"]
    assert fed.hub.git("log", "-1", "--format=%s", "main") == "change"
    assert len(fed.look(0.0)) == 1
    assert fed.hub.git("log", "-2", "--format=%s", "main").splitlines() == ["New data: points", "change"]


def test_what_is_in_the_way_is_told_and_tried_again(fed: Fed) -> None:
    fed.begin()
    assert fed.look() == [
        f"fed: data set points is not refreshed: there is nothing at gs://{DATA}/points"
        " — look at data.points.source.path"
    ]
    fed.bucket.put("points/a.csv", texts.points().encode())
    fed.hub.refuse("main is protected")
    (said,) = fed.look()
    assert said.startswith(f"fed: data set points is not refreshed: {fed.hub.url} does not take a commit on main: ")
    assert "do rules of the branch keep Cloud Build's app from pushing to it?" in said
    assert fed.seen.trouble


def test_the_records_of_mawasu_are_no_data(fed: Fed) -> None:
    fed.begin(f"gs://{BUCKET}/ledger")
    (said,) = fed.look()
    assert f"gs://{BUCKET} is mawasu's own" in said
