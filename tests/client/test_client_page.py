"""The promise: a page of a real server, whose model's API is a process to which everything happens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import page

LONGEST = 3.0  # seconds: fifteen times the page's budget, for machines that do much else
VISITS = 15  # of each reader


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[page.World]:
    with page.living(tmp_path_factory.mktemp("page"), "mawasu") as one:
        yield one


@pytest.mark.parametrize("mode", [mode for mode in page.MODES if mode != "well"])
def test_a_page_stays_fast_while_its_models_api_is(world: page.World, mode: str) -> None:
    world.recover()
    well = world.read(visits=1)
    world.become(mode)
    ill = world.read(visits=VISITS)
    assert max(well.seconds + ill.seconds) < LONGEST
    assert well.sources["live"] > 0
    assert set(ill.sources) == {"fallback"}
    assert ill.sources.total() == page.READERS * VISITS
    # Five failures open the breaker; of those under way then, each has asked twice at most.
    assert ill.calls <= 5 + 2 * page.READERS + 2


def test_a_page_by_plain_httpx_waits_for_an_answer_that_drips(tmp_path: Path) -> None:
    """What the bench compares with is what it says: otherwise the promise would be nothing."""
    with page.living(tmp_path, "naive") as world:
        world.become("dripping")
        assert max(world.read(visits=1).seconds) > 4 * page.BUDGET
