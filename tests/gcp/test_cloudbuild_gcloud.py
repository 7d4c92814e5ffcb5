"""The real gcloud takes the builds that are rendered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mawasu.platforms.gcp.builders import IMAGES, Wanted, image_build
from mawasu.spec.feature import GcpImages
from mawasu.words import digest_of
from tests.gcp.gcloud import Gcloud, gcloud
from tests.gcp.kiln import CLOUD, Kiln, a_kiln
from tests.google.double.core import Double

__all__ = ["gcloud"]


@pytest.fixture
def kiln(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kiln]:
    with a_kiln(tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def double(kiln: Kiln) -> Double:
    return kiln.double


@pytest.mark.parametrize("builder", ["buildx", "kaniko"])
def test_gcloud_submits_a_nested_build_as_it_is_rendered(
    request: pytest.FixtureRequest, kiln: Kiln, tmp_path: Path, builder: str
) -> None:
    run: Gcloud = request.getfixturevalue("gcloud")
    wanted = Wanted(IMAGES, digest_of(b"key"), ("callback-main-1a2b3c4d5e-api",), "callback-api", "api/uv.lock")
    build = image_build(CLOUD, GcpImages(builder=builder), wanted, "sources/x.tar.gz", "Dockerfile")  # type: ignore[arg-type]
    source = build.pop("source")  # gcloud brings sources by itself
    file = tmp_path / "build.yaml"
    file.write_text(json.dumps(build))  # JSON is YAML
    run("builds", "submit", "--no-source", "--async", "--region", CLOUD.region, "--config", str(file))
    (sent,) = kiln.requests("cloudbuild.projects.locations.builds.create")
    assert {key: sent[key] for key in build} == build
    assert source["storageSource"]["bucket"] == f"{CLOUD.bucket}-sources"
