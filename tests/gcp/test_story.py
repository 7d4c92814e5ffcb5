"""The whole way on Google's double: pushes, previews, production, roll-back, tear-down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mawasu.words import Result
from tests.gcp.story import GCP, Google, google
from tests.story import texts


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Google]:
    with google(tmp_path, monkeypatch) as made:
        yield made


@pytest.mark.timeout(300)
def test_a_first_push_is_trained_judged_and_served_behind_the_gateway(world: Google) -> None:
    world.commit(texts.project("sums", extra=GCP))
    world.apply()
    (done,) = world.push("main")
    assert (done.result, done.reason) == (Result.SERVED, done.reason), "\n".join(world.said)
    key = world.key("sums/*")
    assert world.call("sums", "staging").status_code == 401
    answer = world.call("sums", "staging", key)
    assert (answer.status_code, answer.json()) == (200, {"score": 0.5, "says": "one"})
