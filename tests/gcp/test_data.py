"""Data sets that lie in Cloud Storage: what a snapshot of them is, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from mawasu.data import Reach, make_snapshot, take
from mawasu.errors import MawasuError, StepError
from mawasu.google.client import Client
from mawasu.google.storage import Bucket
from mawasu.ports import Store
from mawasu.spec.feature import DataSet, DataSource
from mawasu.store.cloud import CloudStore
from mawasu.store.directory import DirectoryStore
from mawasu.words import Look, digest_of
from tests.gcp.front import BUCKET, Front
from tests.google.double.core import Answer, Request
from tests.google.double.server import Streamed


@pytest.fixture
def reach(client: Client) -> Reach:
    return Reach(client=client)


@pytest.fixture(params=["directory", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path, bucket: Bucket) -> Store:
    return DirectoryStore(tmp_path / "store") if request.param == "directory" else CloudStore(bucket)


def source(path: str) -> DataSet:
    return DataSet(name="resumes", source=DataSource(path=f"gs://{BUCKET}/{path}"))


def lay(gcs: Front, *names: str) -> None:
    for name in names:
        gcs.lay(name, f"content of {name}\n".encode())


def test_a_prefix_is_the_same_data_as_a_directory_of_the_same_files(
    gcs: Front, reach: Reach, store: Store, tmp_path: Path
) -> None:
    lay(gcs, "lake/a.csv", "lake/old/b.csv", "lakes/c.csv", "lake/old/")
    for name in ("a.csv", "old/b.csv"):
        path = tmp_path / "lake" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of lake/{name}\n")
    here = take(DataSet(name="resumes", source=DataSource(path=str(tmp_path / "lake"))), store, Reach())
    for uri in ("lake", "lake/"):
        found = take(source(uri), store, reach)
        assert found.locked == here.locked
        assert make_snapshot(source(uri), None, store, found.locked.digest, reach) == here.locked.digest
    single = take(source("lake/old/b.csv"), store, reach).locked
    store.write_tree(single.digest, tmp_path / "single")
    assert [file.name for file in (tmp_path / "single").iterdir()] == ["b.csv"]
    assert (tmp_path / "single" / "b.csv").read_text() == "content of lake/old/b.csv\n"


def test_nothing_is_read_again_as_long_as_every_object_is_the_one_it_was(
    gcs: Front, reach: Reach, store: Store
) -> None:
    lay(gcs, "lake/a.csv", "lake/b.csv")
    first = take(source("lake"), store, reach)
    read = gcs.count("GET", f"/storage/v1/b/{BUCKET}/o/lake/*")
    seen = Look(0.0, first.locked.digest, first.mark)
    assert take(source("lake"), store, reach, seen) == first
    assert gcs.count("GET", f"/storage/v1/b/{BUCKET}/o/lake/*") == read
    gcs.lay("lake/a.csv", b"other")
    assert take(source("lake"), store, reach, seen).locked.digest != first.locked.digest


def test_an_object_that_changes_while_the_data_is_read_is_no_snapshot(
    gcs: Front, reach: Reach, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(gcs, "lake/a.csv")
    forward = gcs.double.storage
    assert forward is not None

    def late(request: Request) -> Answer | Streamed:
        if request.query.get("alt") == "media":
            gcs.lay("lake/a.csv", b"other")
        return forward(request)

    monkeypatch.setattr(gcs.double, "storage", late)
    with pytest.raises(StepError, match=r"gs://records/lake/a.csv changed while the data was read"):
        take(source("lake"), store, reach)


@pytest.mark.parametrize(
    ("names", "path", "says"),
    [
        ((), "lake", "there is nothing at gs://records/lake"),
        (("lake/a", "lake/a/b"), "lake", "the object 'a/b' cannot be a file of a directory"),
        (("lake/a//b",), "lake", "the object 'a//b' cannot be a file of a directory"),
    ],
)
def test_what_is_no_directory_of_files_is_refused(
    gcs: Front, reach: Reach, tmp_path: Path, names: tuple[str, ...], path: str, says: str
) -> None:
    lay(gcs, *names)
    with pytest.raises(StepError, match=says):
        take(source(path), DirectoryStore(tmp_path / "store"), reach)


def test_a_bucket_that_is_not_there_and_one_that_is_closed_say_so(gcs: Front, reach: Reach, tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    nowhere = DataSet(name="resumes", source=DataSource(path="gs://nobodys-bucket/a"))
    with pytest.raises(StepError, match="data set resumes: there is no bucket gs://nobodys-bucket"):
        take(nowhere, store, reach)
    gcs.fail(status=403, times=9)
    with pytest.raises(MawasuError, match=f"no permission to read in gs://{BUCKET}") as caught:
        take(source("lake"), store, reach)
    assert f"roles/storage.objectViewer on gs://{BUCKET}" in caught.value.hint


def test_data_lock_pins_what_lies_in_a_bucket(machine: Front, client: Client, tmp_path: Path) -> None:
    """With the usual credentials, as on anybody's machine; the digest is the one that Google Cloud finds too."""
    lay(machine, "lake/a.csv")
    store = DirectoryStore(tmp_path / "store")
    assert take(source("lake"), store, Reach()) == take(source("lake"), store, Reach(client=client))
    assert store.has(digest_of(b"content of lake/a.csv\n"))
