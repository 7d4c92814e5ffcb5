"""A new revision begins with the answers that its predecessor is asked for most."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mawasu.platforms.local.warming import warm
from mawasu.words import Caching
from tests.serving.replica import Replica
from tests.serving.test_cache import COUNT, ask, status


def test_a_new_revision_knows_what_is_asked_most(replica: Replica) -> None:
    replica.ready(COUNT, cache=Caching(60.0, warm=2))
    for number, times in ((1, 1), (2, 4), (3, 3)):
        for _ in range(times):
            ask(replica, f'{{"x": {number}}}', "/predict?y=%20")
    with tempfile.TemporaryDirectory(prefix="mw-") as directory:
        new = Replica(Path(directory))
        try:
            new.ready(COUNT, cache=Caching(60.0, warm=2))
            gone = Path(directory) / "gone"
            assert warm([gone, replica.listen], [new.listen]) == 2
            told = [status(ask(new, f'{{"x": {number}}}', "/predict?y=%20")) for number in (1, 2, 3)]
            assert ["hit" in one for one in told] == [False, True, True]
        finally:
            new.close()


def test_nothing_to_warm_with_is_no_fault(replica: Replica) -> None:
    replica.ready(COUNT)
    assert warm([], [replica.listen]) == 0
    assert warm([replica.listen], [replica.listen]) == 0
