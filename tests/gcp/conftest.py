from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from mawasu.google.client import Client
from mawasu.google.storage import Bucket
from tests.gcp.front import Front, running


class Token:
    """Credentials that somebody else has checked."""

    def token(self) -> str:
        return "t"

    def renew(self) -> None:
        pass

    def id_token(self, audience: str) -> str:
        return "i"


@pytest.fixture(scope="session")
def storage() -> Iterator[Front]:
    with tempfile.TemporaryDirectory() as directory, running(Path(directory)) as front:
        yield front


@pytest.fixture
def gcs(storage: Front) -> Iterator[Front]:
    """A Cloud Storage whose bucket `records` is empty."""
    yield storage
    storage.reset()
    server = storage.server
    server.post("/_internal/delete_all").raise_for_status()
    if server.get("/storage/v1/b/records").status_code == httpx.codes.NOT_FOUND:
        server.post("/storage/v1/b", json={"name": "records"}).raise_for_status()


@pytest.fixture
def client(gcs: Front) -> Iterator[Client]:
    made = Client(Token(), endpoint=gcs.url, first_wait=0.001)
    yield made
    made.http.close()


@pytest.fixture
def bucket(client: Client) -> Bucket:
    return Bucket(client, "records", chunk=256 * 2**10)
