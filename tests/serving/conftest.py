from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.replica import Replica


@pytest.fixture
def replica() -> Iterator[Replica]:
    with tempfile.TemporaryDirectory(prefix="mw-") as directory:  # short: a socket's path holds 107 bytes
        replica = Replica(Path(directory))
        yield replica
        replica.close()
