"""A Cloud Storage that all tests of records share, empty for each; every request of theirs must have been right."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mawasu.google.client import Client
from mawasu.google.storage import Bucket
from tests.gcp.front import BUCKET, Front, running
from tests.google.conftest import surround


class Token:
    """Credentials of mawasu-build, at hand."""

    def __init__(self, token: str) -> None:
        self._token = token

    def token(self) -> str:
        return self._token

    def quota_project(self) -> str:
        return ""

    def renew(self, token: str) -> None:
        """It is good for the whole test."""

    def id_token(self, audience: str) -> str:
        raise NotImplementedError


@pytest.fixture(scope="session")
def storage() -> Iterator[Front]:
    with running() as front:
        yield front


@pytest.fixture
def gcs(storage: Front) -> Iterator[Front]:
    """A Cloud Storage whose bucket `records` is empty."""
    storage.reset()
    yield storage
    assert storage.double.violations == []
    assert storage.double.unchecked == []


@pytest.fixture
def machine(gcs: Front, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Front:
    """For commands: the environment of a machine that has the double for Google, and credentials for it."""
    surround(monkeypatch, gcs.double, tmp_path_factory.mktemp("google"))
    return gcs


@pytest.fixture
def client(gcs: Front) -> Iterator[Client]:
    with Client(Token(gcs.token), endpoint=gcs.url, first_wait=0.001) as made:
        yield made


@pytest.fixture
def bucket(client: Client) -> Bucket:
    return Bucket(client, BUCKET, chunk=256 * 2**10)
