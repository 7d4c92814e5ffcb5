"""Jobs on Vertex AI through the front door: `GcpJobs.run` on Google's double, with commands that really run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mawasu.words import Mount, Output, Result
from tests.gcp.bench import MODEL, Bench, a_bench

TRAIN = 'import os, pathlib; pathlib.Path(os.environ["MAWASU_MODEL"], "m").write_text("42"); print("trained")'


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with a_bench(tmp_path, monkeypatch) as made:
        yield made


def test_what_a_command_writes_is_stored_and_what_it_prints_is_logged(bench: Bench) -> None:
    outcome = bench.python(TRAIN)
    assert (outcome.result, outcome.message) == (Result.OK, "")
    assert (bench.laid(outcome.outputs["MAWASU_MODEL"]) / "m").read_text() == "42"
    assert bench.log.printed == ["trained"]
