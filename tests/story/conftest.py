"""One mawasu a module, since starting it costs most; every test pushes features or branches of its own to it."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.story.world import Mawasu, alive, eventually


@contextlib.contextmanager
def living(prefix: str) -> Iterator[Mawasu]:
    """A mawasu in a short temporary path; at the end it goes down, and nothing of it is left."""
    top = Path(tempfile.mkdtemp(prefix=prefix))
    top.chmod(0o755)
    mawasu = Mawasu(top)
    try:
        yield mawasu
    finally:
        mawasu.cli("down", check=False)
        eventually(lambda: not alive(str(top)), f"the end of {alive(str(top))}", 10.0)
        shutil.rmtree(top)


@pytest.fixture(scope="module")
def mawasu() -> Iterator[Mawasu]:
    """Shared by the tests of a module: up, with a key that opens everything."""
    with living("ms-") as mawasu:
        mawasu.up()
        yield mawasu


@pytest.fixture
def own() -> Iterator[Mawasu]:
    """One for a test that stops or kills it; not up yet."""
    with living("mo-") as mawasu:
        yield mawasu
