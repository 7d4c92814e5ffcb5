"""A new Google for each test: the double, our client on it, and the real fake-gcs-server behind it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mawasu.google.client import ENDPOINT, Client
from tests.google import double as services
from tests.google.double.core import Double
from tests.google.double.storage import Storage

FIRST_WAIT = 0.01  # seconds: what the client waits before its second try

_SURROUNDINGS = (
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_CLOUD_PROJECT",
    "GOOGLE_CLOUD_QUOTA_PROJECT",
    "GCLOUD_PROJECT",
    "CLOUDSDK_CONFIG",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
)


@pytest.fixture
def double(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Double]:
    """A running double with credentials of mawasu-build, and the environment that leads to it.

    It has every service; in a test module with `BARE = True` none.

    At the end every request must have been right: Google would have taken each of them, and ignored nothing in it.
    """
    home = tmp_path_factory.mktemp("google")
    with Double() as running:
        bare = getattr(request.module, "BARE", False)
        for found in pkgutil.iter_modules(services.__path__) if not bare else ():
            module = importlib.import_module(f"{services.__name__}.{found.name}")
            if hasattr(module, "install"):
                module.install(running)
        surround(monkeypatch, running, home)
        yield running
    assert running.violations == []
    assert running.unchecked == []
    assert running.faults.left == [], "this trouble never came"


def surround(monkeypatch: pytest.MonkeyPatch, running: Double, home: Path) -> None:
    """The environment variables of a machine that has the double for Google."""
    for name in _SURROUNDINGS:
        monkeypatch.delenv(name, raising=False)
    address = running.url.removeprefix("http://")
    monkeypatch.setenv(ENDPOINT, running.url)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(running.identity.key_file(home / "key.json")))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(home / "gcloud"))
    monkeypatch.setenv("GCE_METADATA_HOST", address)
    monkeypatch.setenv("GCE_METADATA_IP", address)
    monkeypatch.setattr("google.auth.compute_engine._metadata._GCE_METADATA_HOST", address)  # read when it is imported


@pytest.fixture
def client(double: Double) -> Iterator[Client]:
    with Client(first_wait=FIRST_WAIT) as made:
        yield made


@pytest.fixture
def gcs(double: Double) -> Iterator[Storage]:
    """The real fake-gcs-server behind storage.googleapis.com."""
    running = Storage(double).start()
    yield running
    running.stop()


@pytest.fixture
def bucket(client: Client, gcs: Storage) -> str:
    """A bucket's name; it is empty."""
    from mawasu.google.call import Call

    name = "acme-mawasu"
    client.send(Call("POST", "storage.googleapis.com", "/storage/v1/b", {"project": "acme"}, {"name": name}))
    return name
