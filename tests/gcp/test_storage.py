"""A bucket through the real fake-gcs-server: whole or absent, once, verified, whatever answers are lost."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from mawasu.errors import PlatformError
from mawasu.google import checksums, objects
from mawasu.google.client import Client
from mawasu.google.faults import GoogleError, NotFoundError
from mawasu.google.objects import ChangedError, MissingBucketError
from mawasu.google.storage import Bucket
from tests.gcp.front import Front

NAMES = ["plain", "a/b c%2F/é?#&=+", "x" * 900, "~@:,"]
LARGE = os.urandom(2**20 + 17)


def large(path: Path) -> Path:
    path.write_bytes(LARGE)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_whatever_its_name_an_object_comes_back(bucket: Bucket, name: str) -> None:
    assert bucket.create(name, b"bytes")
    assert bucket.read(name) == b"bytes"
    assert [one.name for one in bucket.list("")] == [name]
    bucket.delete(name)
    assert bucket.read(name) is None


def test_the_first_to_create_a_name_keeps_it(bucket: Bucket) -> None:
    assert bucket.create("name", b"first")
    assert not bucket.create("name", b"second")
    assert not bucket.create("name", b"first"), "the same bytes from somebody else are somebody else's"
    assert bucket.read("name") == b"first"


def test_of_many_who_create_a_name_at_once_one_does(bucket: Bucket) -> None:
    won: list[bool] = []
    threads = [threading.Thread(target=lambda: won.append(bucket.create("name", b"same"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 7 + [True]


@pytest.mark.parametrize("times", [1, 3])
def test_a_creation_whose_answer_is_lost_is_known_again(bucket: Bucket, gcs: Front, times: int) -> None:
    gcs.cut_after_effect("/upload/*", times=times)
    assert bucket.create("name", b"mine")
    assert bucket.read("name") == b"mine"


def test_a_creation_that_is_tried_again_does_not_take_anothers_for_its_own(bucket: Bucket, gcs: Front) -> None:
    bucket.create("name", b"same")
    gcs.fail("/upload/*", status=503)
    assert not bucket.create("name", b"same")


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_server_that_is_busy_is_asked_again(bucket: Bucket, gcs: Front, status: int) -> None:
    gcs.fail(status=status, times=2)
    bucket.put("name", b"bytes")
    gcs.fail(status=status, times=2)
    assert bucket.read("name") == b"bytes"
    gcs.fail(status=status, times=2)
    bucket.copy("name", "other")
    assert [one.name for one in bucket.list("")] == ["name", "other"]


def test_put_replaces_what_was_there(bucket: Bucket) -> None:
    bucket.put("name", b"old")
    bucket.put("name", b"new")
    assert bucket.read("name") == b"new"
    bucket.put("name", b"")
    assert bucket.read("name") == b""


def test_a_listing_has_all_pages_in_order_and_begins_where_it_is_told(bucket: Bucket, gcs: Front) -> None:
    gcs.page = 3
    names = [f"list/{number:02d}" for number in range(10)]
    for name in [*names, "list/sub/a", "list/sub/b", "other/a"]:
        bucket.put(name, b"x")
    gcs.seen.clear()
    assert [one.name for one in bucket.list("list/")] == [*names, "list/sub/a", "list/sub/b"]
    assert gcs.count("GET", "*/o") == 4
    assert [one.name for one in bucket.list("list/", "/")] == names
    assert [one.name for one in bucket.list("list/", start="list/08")] == [
        "list/08",
        "list/09",
        "list/sub/a",
        "list/sub/b",
    ]
    assert bucket.folders("") == ("list", "other")
    assert bucket.folders("list/") == ("sub",)


def test_what_is_known_of_an_object(bucket: Bucket) -> None:
    bucket.put("name", b"bytes")
    found = bucket.stat("name")
    assert found is not None
    assert (found.name, found.size) == ("name", 5)
    assert found.md5 == checksums.md5_of(b"bytes")
    crc = checksums.Crc32c()
    crc.update(b"bytes")
    assert found.crc32c == checksums.text(crc)
    assert found.generation > 0
    assert found.updated > 1.7e9
    assert bucket.stat("nothing") is None


def test_a_copy_takes_as_many_rounds_as_it_needs(bucket: Bucket, gcs: Front) -> None:
    bucket.put("a/source", b"bytes")
    gcs.rounds = 3
    bucket.copy("a/source", "b/target")
    assert gcs.count("POST", "*/rewriteTo/*") == 3
    assert bucket.read("b/target") == b"bytes"
    with pytest.raises(NotFoundError):
        bucket.copy("nothing", "b/target")


# ---------------------------------------------------------------------------------------------------- large ones


def test_a_large_file_goes_in_chunks_and_comes_back(bucket: Bucket, gcs: Front, tmp_path: Path) -> None:
    assert bucket.upload("large", large(tmp_path / "up"))
    ranges = [one.headers["content-range"] for one in gcs.seen if one.method == "PUT"]
    assert ranges[0] == f"bytes 0-262143/{len(LARGE)}"
    assert ranges[-1] == f"bytes 1048576-{len(LARGE) - 1}/{len(LARGE)}"
    assert len(ranges) == 5
    bucket.download("large", tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == LARGE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["down", "up"]


@pytest.mark.parametrize("fault", ["fail", "lose"])
@pytest.mark.parametrize("which", range(5))
def test_an_upload_that_is_cut_goes_on_where_it_was(
    bucket: Bucket, gcs: Front, tmp_path: Path, fault: str, which: int
) -> None:
    if fault == "fail":
        gcs.fail("/upload/*", "PUT", 503, skip=which)
    else:
        gcs.cut_after_effect("/upload/*", "PUT", skip=which)
    assert bucket.upload("large", large(tmp_path / "up"), once=True)
    assert bucket.read("large") == LARGE
    sent = [one.headers["content-range"] for one in gcs.seen if one.method == "PUT"]
    assert f"bytes */{len(LARGE)}" in sent, "it asked how far it came"
    assert len([one for one in sent if "*" not in one]) <= 6, "only what was lost was sent again"


def test_a_session_that_google_forgot_begins_anew(bucket: Bucket, gcs: Front, tmp_path: Path) -> None:
    gcs.fail("/upload/*", "PUT", 410, times=2, skip=2)
    assert bucket.upload("large", large(tmp_path / "up"))
    assert bucket.read("large") == LARGE


def test_an_upload_that_does_not_come_forward_ends(bucket: Bucket, gcs: Front, tmp_path: Path) -> None:
    gcs.fail("/upload/*", "PUT", 503, times=100)
    with pytest.raises(GoogleError):
        bucket.upload("large", large(tmp_path / "up"))
    assert gcs.count("PUT") < 40
    gcs.clear()
    assert bucket.stat("large") is None


def test_a_large_name_is_taken_once(bucket: Bucket, tmp_path: Path) -> None:
    assert bucket.upload("large", large(tmp_path / "up"), once=True)
    assert not bucket.upload("large", tmp_path / "up", once=True)


@pytest.mark.parametrize("size", [10, len(LARGE)])
def test_a_file_that_changes_while_it_is_sent_makes_no_object(bucket: Bucket, tmp_path: Path, size: int) -> None:
    path = large(tmp_path / "up")
    with path.open("rb") as file, pytest.raises(ChangedError, match="changed while it was uploaded"):
        bucket.send("name", file, size, checksums.md5_of(b"what it was before"), once=False)
    assert bucket.stat("name") is None


def test_a_download_that_is_cut_goes_on_with_the_same_generation(bucket: Bucket, gcs: Front, tmp_path: Path) -> None:
    bucket.upload("large", large(tmp_path / "up"))
    gcs.cut_answer("*/large", times=3)
    bucket.download("large", tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == LARGE
    first, *later = [one for one in gcs.seen if one.method == "GET"]
    begins = [int(one.headers["range"].removeprefix("bytes=").removesuffix("-")) for one in later]
    assert begins == sorted(set(begins))
    assert len(begins) == 3
    assert begins[0] > 0
    assert len({one.query["generation"] for one in later}) == 1
    assert "generation" not in first.query


def test_bytes_that_were_changed_on_the_way_are_refused(bucket: Bucket, gcs: Front, tmp_path: Path) -> None:
    bucket.put("name", b"bytes of an object")
    gcs.flip("*/name")
    with pytest.raises(PlatformError, match="not what Google says it stores"):
        bucket.download("name", tmp_path / "down")
    assert list(tmp_path.iterdir()) == []


def test_without_an_md5_the_crc32c_is_compared(bucket: Bucket, gcs: Front, tmp_path: Path) -> None:
    bucket.put("name", b"of a composite object")
    gcs.composite = True
    assert bucket.read("name") == b"of a composite object"
    gcs.flip("*/name")
    with pytest.raises(PlatformError, match="not what Google says it stores"):
        bucket.read("name")


def test_crc32c_gives_the_value_of_its_standard() -> None:
    crc = checksums.Crc32c()
    crc.update(b"12345")
    crc.update(b"6789")
    assert crc.digest().hex() == "e3069283"  # RFC 3720, B.4, and every catalogue of CRCs


# ---------------------------------------------------------------------------------------------------- what is wrong


def test_a_bucket_that_is_not_there_is_said_and_what_makes_it(client: Client, tmp_path: Path) -> None:
    nowhere = Bucket(client, "nowhere")
    with pytest.raises(MissingBucketError, match="there is no bucket gs://nowhere — `mawasu gcp apply`"):
        list(nowhere.list(""))


def test_no_permission_says_which_role_is_lacking_on_what(bucket: Bucket, gcs: Front) -> None:
    gcs.fail(status=403, times=2)
    with pytest.raises(GoogleError, match=r"read in gs://records.* roles/storage\.objectViewer on gs://records"):
        bucket.read("name")
    with pytest.raises(GoogleError, match=r"write in gs://records.* roles/storage\.objectUser on gs://records"):
        bucket.put("name", b"")


def test_a_missing_object_of_a_missing_bucket_is_no_missing_object() -> None:
    error = NotFoundError("GET storage.googleapis.com/x: The specified bucket does not exist.", status=404)
    call = objects.media("gone", "name")
    assert isinstance(objects.explained("gone", "name", call, error), MissingBucketError)
    error = NotFoundError("GET storage.googleapis.com/x: No such object: my-bucket/name", status=404)
    assert objects.explained("my-bucket", "name", call, error) is error
