"""`mawasu gcp …`, as people and machines call it, in a checkout with two features."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mawasu.cli.arguments import perform
from mawasu.cli.main import parser
from mawasu.errors import SpecError, UsageError
from tests.gcp.infra_world import FILES, GCP, MAWASU_YAML, World, running
from tests.google.double.core import Request
from tests.google.double.infra import REGISTRY, RUN

Mawasu = Callable[..., str]
DIGEST = "sha256:" + "b1" * 32


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    with running(monkeypatch, tmp_path) as made:
        _runner_is_made(made)
        _nothing_serves(made)
        yield made


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    top = tmp_path / "checkout"
    for name in ("callback", "second"):
        for file in FILES:
            path = top / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
        (top / name / "mawasu.yaml").write_text(MAWASU_YAML.format(name=name, gcp=GCP, least=0))
    subprocess.run(["git", "init", "-q", str(top)], check=True)
    monkeypatch.chdir(top)
    return top


@pytest.fixture
def mawasu(world: World, checkout: Path, capsys: pytest.CaptureFixture[str]) -> Mawasu:
    def run(*arguments: str) -> str:
        perform(parser(), ["gcp", *arguments])
        return capsys.readouterr().out

    return run


def _runner_is_made(world: World) -> None:
    tags = "artifactregistry.projects.locations.repositories.packages.tags.get"
    versions = "artifactregistry.projects.locations.repositories.packages.versions.get"

    @world.double.route(REGISTRY, tags)
    def tag(request: Request) -> dict[str, Any]:
        name = request.params["name"]
        return {"name": name, "version": f"{name.partition('/tags/')[0]}/versions/{DIGEST}"}

    @world.double.route(REGISTRY, versions)
    def version(request: Request) -> dict[str, Any]:
        return {"name": request.params["name"]}


def _nothing_serves(world: World) -> None:
    @world.double.route(RUN, "run.projects.locations.services.list")
    def services(request: Request) -> dict[str, Any]:
        uri = "https://callback--0gateway-abc.a.run.app"
        name = "projects/acme-ml/locations/europe-west1/services/callback--0gateway"
        return {"services": [{"name": name, "uri": uri, "labels": {"managed-by": "mawasu"}}]}

    @world.double.route("servicemanagement.googleapis.com", "servicemanagement.services.list")
    def endpoints(request: Request) -> dict[str, Any]:
        return {}


def test_plan_shows_and_changes_nothing(mawasu: Mawasu, world: World) -> None:
    text = mawasu("plan")
    assert "acme-ml · europe-west1 · gs://acme-ml-mawasu" in text
    assert text.splitlines()[-1] == "50 to create, 1 to change"
    assert not world.infra.accounts
    assert {one["verb"] for one in json.loads(mawasu("plan", "--json"))["changes"]} == {"create", "update"}


def test_apply_asks_and_does_nothing_when_nobody_answers(mawasu: Mawasu, world: World) -> None:
    with pytest.raises(UsageError) as error:
        mawasu("apply")
    assert error.value.hint == "say --yes"
    assert not world.infra.accounts


def test_apply_converges_and_a_second_one_finds_nothing_to_do(mawasu: Mawasu, world: World) -> None:
    world.infra.connect()
    assert "of" in mawasu("apply", "--yes").splitlines()[-1]
    assert len(world.infra.triggers) == 6
    step = next(iter(world.infra.triggers.values()))["build"]["steps"][0]
    assert step["name"] == f"europe-west1-docker.pkg.dev/acme-ml/mawasu/mawasu@{DIGEST}"
    assert "nothing to do" in mawasu("apply")
    assert json.loads(mawasu("apply", "--json"))["done"] == []


def test_status_shows_hosts_and_what_waits_for_people(mawasu: Mawasu, world: World) -> None:
    world.infra.connect()
    mawasu("apply", "--yes")
    text = mawasu("status")
    assert "https://callback--0gateway-abc.a.run.app" in text
    assert "not served yet" in text
    assert "no value yet: mawasu-second--staging--MAPS_TOKEN" in text
    assert json.loads(mawasu("status", "--json"))["hosts"]["second"] == ""


def test_destroy_wants_the_projects_id(mawasu: Mawasu, world: World) -> None:
    mawasu("apply", "--yes")
    with pytest.raises(UsageError, match="acme-other"):
        mawasu("destroy", "--yes", "acme-other")
    with pytest.raises(UsageError, match="nobody is there to ask"):
        mawasu("destroy")
    assert world.infra.accounts


def test_a_checkout_without_a_gcp_section_is_told_what_to_add(mawasu: Mawasu, checkout: Path) -> None:
    for file in checkout.glob("*/mawasu.yaml"):
        file.write_text(file.read_text().replace(f"gcp: {GCP}", ""))
    with pytest.raises(UsageError) as error:
        mawasu("plan")
    assert "gcp: {project:" in error.value.hint


def test_features_that_do_not_agree_are_told_before_google_is_asked(
    mawasu: Mawasu, world: World, checkout: Path
) -> None:
    file = checkout / "second" / "mawasu.yaml"
    file.write_text(file.read_text().replace("europe-west1", "asia-northeast1"))
    with pytest.raises(SpecError, match=r"second/mawasu\.yaml: gcp\.region is asia-northeast1"):
        mawasu("plan")
    assert world.double.requests == []
