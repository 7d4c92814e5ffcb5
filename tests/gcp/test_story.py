"""The whole way on Google's double: pushes, previews, production, roll-back; and the same pushes on one machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mawasu.google.call import Call
from mawasu.ledger.entries import BuildQueued, BuildTaken
from mawasu.platforms.gcp.infra.converge import Given, destroy, everything, look
from mawasu.platforms.gcp.infra.settings import agree
from mawasu.words import Commit, Push, Result
from tests.gcp.permissions import NEEDS, is_by_hand
from tests.gcp.story import GCP, RUNNER, Google, google
from tests.google.double.cloudbuild import cloudbuild_of
from tests.google.double.run import run_of
from tests.google.double.vertex import vertex_of
from tests.story import texts
from tests.story.conftest import living
from tests.story.world import Mawasu, Repo

DAY = 86400.0


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Google]:
    (tmp_path / "google").mkdir()
    with google(tmp_path / "google", monkeypatch) as made:
        yield made
        called = {one.id for one in made.double.requests}
        assert [method for method in sorted(called) if method not in NEEDS and not is_by_hand(method)] == []


@pytest.fixture
def mawasu() -> Iterator[Mawasu]:
    with living("mg-") as made:
        made.up()
        yield made


@pytest.fixture
def started(world: Google) -> Google:
    """Staging serves the first commit."""
    world.commit(texts.project("sums", extra=GCP))
    world.apply()
    world.push("main")
    assert world.build("sums").result is Result.SERVED, "\n".join(world.said)
    return world


def branch(world: Google, name: str) -> None:
    world.git("checkout", "-q", "-b", name)


def test_a_branch_is_tried_in_a_preview_and_its_very_bytes_reach_production(started: Google) -> None:
    world = started
    key = world.key("sums/*")
    assert world.call("sums", "staging").status_code == 401
    assert world.call("sums", "staging", "made.up.key").status_code == 401
    assert world.call("sums", "staging", key).json() == {"score": 0.5, "says": "one"}

    branch(world, "try-other")
    world.commit({"training/train.py": texts.train(2.0)})
    world.push("try-other")
    assert world.call("sums", "preview-try-other", key).json()["score"] == 1.0
    assert world.call("sums", "staging", key).json()["score"] == 0.5

    trained = vertex_of(world.double).ran
    world.git("checkout", "-q", "main")
    world.git("merge", "-q", "--no-ff", "-m", "merge try-other", "try-other")
    world.push("main")
    branch(world, "production")
    world.push("production")
    assert vertex_of(world.double).ran == trained, "the model was judged on its branch, and is not trained again"
    state = world.state("sums")
    assert [state.builds[number].result for number in (2, 3, 4)] == [Result.SERVED] * 3
    releases = [state.builds[number].release for number in (2, 3, 4)]
    models = {state.releases[one].parts["model"] for one in releases if one is not None}
    assert len(models) == 1
    assert world.call("sums", "production", key).json() == {"score": 1.0, "says": "one"}

    world.delete("try-other")
    assert world.reconcile() == ["sums: preview-try-other is gone with its branch"]
    assert world.reconcile() == []
    assert world.call("sums", "preview-try-other", key).status_code == 404
    assert world.call("sums", "production", key).status_code == 200
    services = world.client.send(Call("GET", "run.googleapis.com", f"/v2/{world.parent}/services"))["services"]
    assert {one["name"].rpartition("/")[2] for one in services} == {
        "sums--0gateway",
        "sums--staging",
        "sums--production",
    }


def test_going_back_to_a_release_moves_traffic_only(started: Google) -> None:
    world = started
    first = world.git("rev-parse", "HEAD")
    key = world.key("sums/staging")
    world.commit({"api/handler.py": texts.handler("two")})
    world.push("main")
    assert world.call("sums", "staging", key).json()["says"] == "two"
    revisions = len(world.double.seen("services.patch"))
    jobs = vertex_of(world.double).ran

    world.git("revert", "--no-edit", "HEAD")
    world.push("main")
    assert world.git("diff", "--stat", first, "HEAD") == ""
    assert world.call("sums", "staging", key).json()["says"] == "one"
    assert vertex_of(world.double).ran == jobs
    assert len({serving.revision for serving in world.state("sums").environments["staging"].history}) == 2
    assert revisions < len(world.double.seen("services.patch"))


def test_a_worse_model_is_blocked_and_the_old_one_serves_on(started: Google) -> None:
    world = started
    key = world.key("sums/staging")
    world.commit({"training/predict.py": texts.predict("1 - weight * float(row['x'])")})
    world.push("main")
    assert world.build("sums").result is Result.BLOCKED
    assert world.call("sums", "staging", key).json()["says"] == "one"


def test_a_push_of_documentation_fires_no_trigger(started: Google) -> None:
    started.commit({"README.md": "# Sums\n"})
    assert started.push("main") == []


def test_a_second_run_of_a_commit_finds_it_built(started: Google) -> None:
    world = started
    jobs, commit = vertex_of(world.double).ran, world.git("rev-parse", "main")
    (trigger,) = world.fired("main", "", commit)
    (done,) = world.run_trigger(trigger, "main", commit)
    assert (done.build, done.result) == (1, Result.SERVED)
    assert vertex_of(world.double).ran == jobs


def test_the_commands_of_triggers_and_of_the_clock_run_as_they_are_called(started: Google) -> None:
    world, commit = started, started.git("rev-parse", "main")
    ran = world.command("build", "--commit", commit, "--branch", "main", "--feature", "sums")
    assert ran.returncode == 0, ran.stderr
    assert "sums build 1 was this commit: served" in ran.stdout
    ran = world.command("reconcile")
    assert (ran.returncode, ran.stdout) == (0, "nothing is due\n"), ran.stderr
    ran = world.command("build", "--commit", commit, "--branch", "main", "--feature", "other")
    assert (ran.returncode, ran.stderr.splitlines()[0]) == (2, f"mawasu: commit {commit[:10]} has no feature `other`")


def test_what_was_done_is_read_from_anywhere(started: Google) -> None:
    world = started
    status = world.command("status", "--records", "gs://acme-ml-mawasu")
    assert status.returncode == 0, status.stderr
    assert "sums" in status.stdout
    assert "in sync" in status.stdout
    shown = world.command("show", "--records", "gs://acme-ml-mawasu")
    assert "build 1 served: staging serves sums/main/" in shown.stdout
    logs = world.command("logs", "--records", "gs://acme-ml-mawasu")
    assert "train trained on 200 rows" in logs.stdout


def test_a_branch_cannot_send_its_build_to_another_project(started: Google) -> None:
    world = started
    branch(world, "sly")
    world.commit({"mawasu.yaml": texts.feature("sums", extra=GCP.replace("acme-ml", "another-project"))})
    (done,) = world.push("sly")
    assert done.result is Result.FAILED
    assert "gcp.project is another-project, this trigger is of acme-ml" in done.reason


def test_production_brings_its_infrastructure_with_it(started: Google) -> None:
    world = started
    branch(world, "production")
    more = texts.feature("sums", extra=GCP).replace("staging: {branch: main}", "staging: {branch: next}")
    world.commit({"mawasu.yaml": more})
    world.push("production")
    patterns = {trigger["name"]: trigger["repositoryEventConfig"]["push"] for trigger in world.triggers()}
    assert "next" in patterns["mawasu-sums--staging"]["branch"]


def test_an_expired_preview_goes(started: Google) -> None:
    world = started
    branch(world, "try-other")
    world.commit({"api/handler.py": texts.handler("two")})
    world.push("try-other")
    preview = world.state("sums").environments["preview-try-other"]
    assert world.reconcile(preview.last_push + 6 * DAY) == []
    assert world.reconcile(preview.last_push + 8 * DAY) == [
        "sums: preview-try-other is gone: nobody pushed to it for its time"
    ]


def test_a_build_whose_run_died_is_started_again_once_and_then_given_up(started: Google) -> None:
    world = started
    ledger, builds = world.records.ledger("sums"), cloudbuild_of(world.double)
    (trigger,) = world.fired("main", "", world.git("rev-parse", "main"))
    run = builds.begin(trigger, {})
    ledger.append(BuildQueued(2, Push("acme-resumes", "main", None, Commit("a" * 40)), "staging"))
    ledger.append(BuildTaken(2, f"cloudbuild/{run}"))
    assert world.reconcile() == [], "its run is at it"
    builds.end(run, "TIMEOUT")
    assert world.reconcile() == ["sums: build 2 had lost its run; it is started again"]
    assert builds.retried == [run]

    again = builds.begin(trigger, {})
    ledger.append(BuildTaken(2, f"cloudbuild/{again}"))
    builds.end(again, "TIMEOUT")
    (said,) = world.reconcile()
    assert said.startswith("sums: build 2 is given up: its run ended before it did")
    assert world.build("sums").result is Result.FAILED


# ------------------------------------------------------------------------------------------------ the same, locally


def test_what_was_torn_down_is_gone_and_can_be_made_anew(started: Google) -> None:
    world = started
    scope = agree(world.features())
    assert destroy(world.client, everything(world.client, scope, records=False), pause=0.01).error is None
    assert everything(world.client, scope, records=False).changes == ()
    assert not run_of(world.double).doors
    plan = look(world.client, world.features(), Given(RUNNER))
    assert {change.verb for change in plan.changes} <= {"create", "update"}
    assert not any(change.by_hand for change in plan.changes)
    world.apply()
    world.push("main")


class Both:
    """The same commits on one machine and on Google's double."""

    def __init__(self, mawasu: Mawasu, world: Google) -> None:
        self.world = world
        self.repo: Repo = mawasu.repo("same", texts.project("same", extra=GCP))
        self.mawasu = mawasu
        world.commit(texts.project("same", extra=GCP))

    def change(self, files: dict[str, str]) -> None:
        if files:
            self.world.commit(files)
            self.repo.commit(files)

    def git(self, *arguments: str) -> None:
        self.world.git(*arguments)
        self.repo.git(*arguments)

    def push(self, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """How the push went on each: result, gate, verdict, and every step with its key and whether it was reused."""
        self.repo.push(name)
        self.world.push(name)
        there = self.world.build("same")
        here = self.mawasu.state("same").builds[there.number]
        plans = self.mawasu.build("same", there.number)["plan"]
        plan = self.world.plan("same")
        return (
            {
                "result": here.result,
                "gate": plans["gate"],
                "steps": [(one["name"], one["key"], one.get("reused")) for one in plans["steps"]],
                "verdicts": verdicts(here),
            },
            {
                "result": there.result,
                "gate": plan.gate,
                "steps": [(one.name, one.key, one.reused) for one in plan.steps],
                "verdicts": verdicts(there),
            },
        )


def verdicts(build: Any) -> list[Any]:
    return [step.outcome.facts["verdict"] for step in build.steps if step.outcome and "verdict" in step.outcome.facts]


def test_pushes_have_the_same_keys_verdicts_and_reuse_as_on_one_machine(mawasu: Mawasu, world: Google) -> None:
    both = Both(mawasu, world)
    world.apply()
    for name, files, start in (
        ("main", {}, []),
        ("try-other", {"training/train.py": texts.train(2.0)}, ["checkout", "-q", "-b", "try-other"]),
        ("worse", {"training/predict.py": texts.predict("1 - float(row['x'])")}, ["checkout", "-q", "-b", "worse"]),
        ("main", {"api/handler.py": texts.handler("two")}, ["checkout", "-q", "main"]),
        ("production", {}, ["checkout", "-q", "-b", "production"]),
        ("main", {"training/predict.py": texts.predict("1 - float(row['x'])")}, ["checkout", "-q", "main"]),
    ):
        if start:
            both.git(*start)
        both.change(files)
        here, there = both.push(name)
        assert there == here, f"the push of {name}"
