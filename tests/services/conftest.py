from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mawasu.platforms.local.process import shut_down
from tests.services.house import House, alive


@pytest.fixture
def house() -> Iterator[House]:
    with tempfile.TemporaryDirectory(prefix="mw-") as directory:
        house = House(Path(directory))
        yield house
        shut_down(house.home, drain=0)
        assert not alive(directory)
