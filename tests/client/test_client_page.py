"""The promise: a page of a real server, whose model's API is a process to which everything happens."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.redis_server import RedisServer

from bench import readers

LONGEST = 3.0  # seconds: fifteen times the page's budget, for machines that do much else
VISITS = 10  # of each reader
PAGES = 20


@pytest.fixture(scope="module")
def threads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[readers.World]:
    with readers.living(tmp_path_factory.mktemp("page"), "threads") as one:
        yield one


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[readers.World]:
    with readers.living(tmp_path_factory.mktemp("page"), "loop") as one:
        yield one


@pytest.mark.parametrize("mode", ["killed", "stopped", "dripping", "500", "garbage"])
def test_a_page_of_threads_stays_fast_while_its_models_api_is(threads: readers.World, mode: str) -> None:
    stays_fast(threads, mode)


@pytest.mark.parametrize("mode", ["stopped", "dripping"])
def test_a_page_in_a_loop_stays_fast_while_its_models_api_is(loop: readers.World, mode: str) -> None:
    stays_fast(loop, mode)


def stays_fast(world: readers.World, mode: str) -> None:
    world.recover()
    well = world.read(visits=1)
    world.become(mode)
    ill = world.read(visits=VISITS)
    assert max(well.seconds + ill.seconds) < LONGEST
    assert well.sources["live"] > 0
    assert set(ill.sources) == {"fallback"}
    assert ill.sources.total() == readers.READERS * VISITS
    # Five failures open the breaker; of those under way then, each has asked twice at most.
    assert ill.calls <= 5 + 2 * readers.READERS + 2


def test_a_page_with_a_redis_shows_what_was_known_and_stays_fast_when_that_is_stuck_too(tmp_path: Path) -> None:
    with (
        tempfile.TemporaryDirectory() as short,
        RedisServer(Path(short)) as redis,
        readers.living(tmp_path, "threads", redis=redis.url, pages=PAGES) as world,
    ):
        while len(redis.held()) < PAGES:  # a look-up that came late on a busy machine is made up for
            assert max(world.read(visits=PAGES).seconds) < LONGEST
        world.become("killed")
        gone = world.read(visits=VISITS)
        redis.stall()
        both = world.read(visits=VISITS)
    assert max(gone.seconds + both.seconds) < LONGEST
    assert gone.sources["stale"] > 0
    assert set(gone.sources) <= {"stale", "fallback"}  # on a busy machine a look-up may come late
    assert set(both.sources) == {"fallback"}
