from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from mawasu.home import Home
from mawasu.platforms.local import linux
from mawasu.platforms.local.images import LocalImages
from mawasu.platforms.local.limits import Limiter
from mawasu.platforms.local.sandbox import Sandbox
from mawasu.platforms.local.watching import WatchLimiter
from mawasu.ports import Cancel
from mawasu.words import Image, ImageSpec, digest_of

from .support import Bench, Lines


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


@pytest.fixture(scope="session")
def closed() -> Sandbox:
    """The sandbox of this machine."""
    return Sandbox.detect(trust_pushers=False)


@pytest.fixture(scope="session")
def detected() -> Limiter:
    return Limiter.detect()


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory, closed: Sandbox, detected: Limiter) -> Image:
    """The interpreter and nothing else."""
    home = Home(tmp_path_factory.mktemp("image")).create()
    return LocalImages(home, closed, detected).ensure(ImageSpec(digest_of(b"bare")), Lines(), Cancel())


@pytest.fixture
def bench(home: Home, closed: Sandbox, detected: Limiter, image: Image) -> Bench:
    """Jobs as they run by default here."""
    return Bench(home, closed, detected, image)


@pytest.fixture(params=["sandboxed", "trusted"])
def any_sandbox(request: pytest.FixtureRequest) -> Sandbox:
    return Sandbox.detect(trust_pushers=request.param == "trusted")


@pytest.fixture(params=["detected", "watching"])
def any_limiter(request: pytest.FixtureRequest, detected: Limiter) -> Limiter:
    return detected if request.param == "detected" else WatchLimiter()


@pytest.fixture
def any_bench(home: Home, any_sandbox: Sandbox, any_limiter: Limiter, image: Image) -> Bench:
    """Jobs in every combination of sandbox and limits."""
    return Bench(home, any_sandbox, any_limiter, image)


@pytest.fixture
def word() -> str:
    """A word that nobody else's command line holds."""
    return f"w{secrets.token_hex(8)}"


@pytest.fixture(autouse=True)
def _nothing_left(tmp_path: Path) -> Iterator[None]:
    """No control group and no workspace stays behind, whatever a test does."""
    yield
    groups = [path for own in linux.own_cgroups().values() for path in own.glob(f"mawasu-{os.getpid()}-*")]
    assert groups == []
    assert [path for path in tmp_path.glob("**/cache/workspaces/*") if path.name != "kept"] == []
