"""Services on Google Cloud through the front door: `GcpServices` on the double, whose revisions really run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mawasu.errors import BlockedError, PlatformError, StepError
from mawasu.words import Handler, Health
from tests.gcp.floor import ECHO, Floor, a_floor, eventually


@pytest.fixture
def floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Floor]:
    with a_floor(tmp_path, monkeypatch) as made:
        yield made


def test_the_first_release_answers_with_its_code_and_its_model(floor: Floor) -> None:
    spec = floor.spec(model=floor.model("forty-two"))
    endpoint = floor.deploy(spec)
    assert floor.served(endpoint) == "forty-two"
    assert floor.traffic() == {spec.revision: (100, True)}
    assert floor.objects(f"services/late--production/{spec.revision}/") == [
        "code/f/",
        "code/f/api/handler.py",
        "model/says",
        "worker.py",
    ]
