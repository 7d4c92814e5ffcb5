"""The real gcloud takes the jobs that are rendered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from mawasu.google import vertex
from mawasu.google.vertex import Pool
from tests.gcp.bench import CLOUD, Bench, a_bench
from tests.gcp.gcloud import Gcloud, gcloud
from tests.gcp.test_jobs_requests import JOB
from tests.google.double.core import Double

__all__ = ["gcloud"]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with a_bench(tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def double(bench: Bench) -> Double:
    return bench.double


@pytest.mark.parametrize(
    "job",
    [
        JOB,
        msgspec.structs.replace(JOB, pools=(Pool("n1-standard-8"), Pool("n1-standard-8", 3)), strategy="SPOT"),
        msgspec.structs.replace(JOB, pools=(Pool("n1-standard-8", accelerator="NVIDIA_TESLA_T4", accelerators=1),)),
    ],
    ids=["one machine", "four machines, spot", "an accelerator"],
)
def test_gcloud_creates_a_job_as_it_is_rendered(
    request: pytest.FixtureRequest, bench: Bench, tmp_path: Path, job: vertex.Job
) -> None:
    run: Gcloud = request.getfixturevalue("gcloud")
    spec = vertex.body(job)["jobSpec"]
    file = tmp_path / "job.yaml"
    file.write_text(json.dumps(spec))  # JSON is YAML
    run("ai", "custom-jobs", "create", "--region", CLOUD.region, "--display-name", "train", "--config", str(file))
    (sent,) = [one.body["jobSpec"] for one in bench.double.seen("customJobs.create")]
    assert {key: sent[key] for key in spec if spec[key]} == {key: one for key, one in spec.items() if one}
