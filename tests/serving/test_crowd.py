"""What is a burst and what is a crowd, told by a clock of the test's own."""

from __future__ import annotations

import pytest

from mawasu.serving.batching import Pace, depth
from mawasu.serving.crowd import Crowd


def test_too_many_at_once_are_a_burst_and_a_crowd_when_they_stay() -> None:
    crowd = Crowd()
    assert not crowd.stands(10.0)
    assert not crowd.stands(10.09)
    assert crowd.stands(10.11)
    assert crowd.stands(10.2)


def test_waves_are_a_crowd_though_nobody_is_there_between_them() -> None:
    crowd, now = Crowd(), 0.0
    seen = []
    for _ in range(20):  # a wave each 20 ms, answered within 18
        crowd.came(now, alone=True)
        seen.append(crowd.stands(now + 0.004))
        crowd.left(now + 0.018)
        now += 0.020
    assert seen == [False] * 6 + [True] * 14


def test_bursts_with_rest_between_them_stay_bursts() -> None:
    crowd, now = Crowd(), 0.0
    for _ in range(20):  # the same waves, answered within 10 ms
        crowd.came(now, alone=True)
        assert not crowd.stands(now + 0.004)
        crowd.left(now + 0.010)
        now += 0.020


def test_bursts_among_few_others_stay_bursts_when_they_are_rare() -> None:
    crowd, now = Crowd(), 0.0
    for step in range(2_000):  # somebody each millisecond, too many every 150
        crowd.came(now, alone=False)
        if step % 150 == 0:
            assert not crowd.stands(now)
        now += 0.001


@pytest.mark.parametrize(
    ("each", "whole", "batches"),
    [(0.0, 0.1, 2.0), (0.004, 0.0, 1.0), (0.001, 0.064, 4 / 3), (0.0, 0.001, 1.0), (0.00002, 0.0, 1.0)],
)
def test_a_crowd_fills_a_second_batch_where_a_large_one_takes_no_longer(
    each: float, whole: float, batches: float
) -> None:
    """By the seconds that each item takes, and those that any batch takes besides."""
    pace = Pace()
    for _ in range(50):
        for items in (8, 24, 64, 40):
            pace.saw(items, whole + each * items)
    assert depth(pace, 64) == pytest.approx(batches)
