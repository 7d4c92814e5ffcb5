"""`mawasu verify --records gs://…`: every link of every ledger, and by Google's word every object."""

from __future__ import annotations

from pathlib import Path

import pytest

from mawasu.google.storage import Bucket
from mawasu.ledger.cloud import CloudShelf
from mawasu.ledger.ledger import Ledger
from mawasu.ledger.shelf import relative
from mawasu.ledger.verify import Report, verify_bucket
from mawasu.store.cloud import CloudStore
from mawasu.words import Digest, digest_of
from tests.gcp.front import Front
from tests.ledger.ledger_tools import whole_build


class Made:
    """A bucket with one build that trained a model of one large file and a small one."""

    def __init__(self, bucket: Bucket, directory: Path) -> None:
        self.bucket, self.store = bucket, CloudStore(bucket)
        directory.mkdir()
        (directory / "weights").write_bytes(b"weights" * 50_000)
        (directory / "config").write_bytes(b"{}")
        self.model = self.store.put_tree(directory)
        self.plan = self.store.put_bytes(b"the plan")
        ledger = Ledger(CloudShelf(bucket, "delays"))
        for body in whole_build(1, "main", "staging", self.model, self.plan):
            ledger.append(body)

    def blob(self, digest: Digest) -> str:
        return f"store/blobs/sha256/{digest[7:9]}/{digest[9:]}"

    def entry(self, number: int) -> str:
        return f"ledger/delays/{relative(number)}"

    def edit(self, number: int, old: bytes, new: bytes) -> None:
        data = self.bucket.read(self.entry(number))
        assert data is not None
        assert old in data
        self.bucket.put(self.entry(number), data.replace(old, new))

    def report(self) -> Report:
        return verify_bucket(self.bucket)

    def faults(self) -> list[str]:
        return [str(fault) for fault in self.report().faults]


@pytest.fixture
def made(bucket: Bucket, tmp_path: Path) -> Made:
    return Made(bucket, tmp_path / "model")


def test_a_sound_bucket_has_no_faults_and_an_empty_one_neither(made: Made, gcs: Front) -> None:
    gcs.seen.clear()
    report = made.report()
    assert (report.objects, report.entries, report.faults) == (4, 8, ())
    assert report.size > 350_000
    media = [one.path for one in gcs.seen if one.query.get("alt") == "media"]
    assert not any(made.blob(digest_of(b"weights" * 50_000)).replace("/", "%2F") in path for path in media)
    gcs.reset()
    assert made.report().faults == ()


def test_a_missing_object_is_named_with_what_needs_it(made: Made) -> None:
    made.bucket.delete(made.blob(made.plan))
    made.bucket.delete(made.blob(digest_of(b"{}")))
    plan, config = sorted(made.faults(), key=lambda fault: "config" in fault)
    assert f"delays needs {made.plan}, the plan of build 1" in plan
    assert f"{digest_of(b'{}')}, config of the model of release" in config


def test_a_truncated_object_is_named(made: Made) -> None:
    made.bucket.put(made.blob(digest_of(b"{}")), b"{")
    (fault,) = made.faults()
    assert f"needs {digest_of(b'{}')}, config of" in fault
    assert "has 1 bytes, not 2" in fault


def test_a_damaged_manifest_is_named(made: Made) -> None:
    data = made.bucket.read(made.blob(made.model))
    assert data is not None
    made.bucket.put(made.blob(made.model), data.replace(b"config", b"conf1g"))
    (fault,) = made.faults()
    assert f"does not hold the bytes of its digest {made.model}" in fault
    assert made.faults() == [fault], "it stays where it is"


def test_an_edited_entry_is_named_by_the_link_it_breaks(made: Made) -> None:
    made.edit(3, b'"train"', b'"trane"')
    (fault,) = made.faults()
    assert "the link from entry 4 of delays to entry 3 is broken" in fault
    assert f"gs://records/{made.entry(3)}" in fault


def test_a_missing_entry_is_named_and_the_rest_is_still_looked_at(made: Made) -> None:
    made.bucket.delete(made.entry(2))
    made.edit(6, b'"build":1', b'"build":2')
    gap, broken = made.faults()
    assert "entry 2 of delays missing" in gap
    assert "the link from entry 7" in broken


def test_an_entry_that_cannot_be_read_is_named(made: Made) -> None:
    made.bucket.put(made.entry(2), b"\xff{")
    (fault,) = made.faults()
    assert "entry 2 of delays cannot be read (gs://records/ledger/delays/" in fault
