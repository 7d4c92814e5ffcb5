"""The store in a bucket: the same digests and the same trees as in a directory, and as hard to fool."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mawasu.errors import CorruptError, PlatformError, StepError, UsageError
from mawasu.google.storage import Bucket
from mawasu.ports import Store
from mawasu.store.artifacts import find, name_artifact
from mawasu.store.cloud import CloudStore
from mawasu.store.directory import DirectoryStore
from mawasu.words import Digest, digest_of
from tests.gcp.front import Front


@pytest.fixture
def store(bucket: Bucket) -> CloudStore:
    return CloudStore(bucket)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Nested, executable, empty and Japanese; one file takes several chunks."""
    root = tmp_path / "tree"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "weights.bin").write_bytes(os.urandom(600_000))
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    (root / "a" / "nothing").write_bytes(b"")
    (root / "empty").mkdir()
    (root / "回す #1?.txt").write_text("turn")
    return root


def contents(root: Path) -> dict[str, tuple[int, bytes | None]]:
    """Mode and bytes of everything below `root`, by path."""
    return {
        path.relative_to(root).as_posix(): (
            stat.S_IMODE(path.stat().st_mode),
            path.read_bytes() if path.is_file() else None,
        )
        for path in sorted(root.rglob("*"))
    }


def blob(digest: Digest) -> str:
    return f"store/blobs/sha256/{digest[7:9]}/{digest[9:]}"


def test_it_is_a_store(store: CloudStore) -> None:
    port: Store = store
    assert port is store


def test_bytes_and_files_come_back_by_their_digest(store: CloudStore, tree: Path, tmp_path: Path) -> None:
    assert store.put_bytes(b"some bytes") == digest_of(b"some bytes")
    assert store.read(digest_of(b"some bytes")) == b"some bytes"
    weights = tree / "a" / "b" / "weights.bin"
    digest = store.put_file(weights)
    assert digest == digest_of(weights.read_bytes())
    store.write_file(digest, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == weights.read_bytes()
    assert store.size(digest) == 600_000
    assert sorted(store.objects()) == sorted([(digest, 600_000), (digest_of(b"some bytes"), 10)])


def test_a_tree_is_the_same_on_both_platforms(store: CloudStore, tree: Path, tmp_path: Path) -> None:
    local = DirectoryStore(tmp_path / "local")
    digest = store.put_tree(tree)
    assert digest == local.put_tree(tree)
    store.write_tree(digest, tmp_path / "cloud")
    local.write_tree(digest, tmp_path / "here")
    assert contents(tmp_path / "cloud") == contents(tmp_path / "here")


_names = st.text("ab.é%_- #?+&", min_size=1, max_size=6).filter(lambda name: name not in (".", ".."))
_trees = st.recursive(
    st.tuples(st.binary(max_size=40), st.booleans()),
    lambda inner: st.dictionaries(_names, inner, max_size=4),
    max_leaves=8,
).filter(lambda tree: isinstance(tree, dict))


def build(root: Path, tree: object) -> None:
    if isinstance(tree, dict):
        root.mkdir()
        for name, inner in tree.items():
            build(root / name, inner)
    else:
        assert isinstance(tree, tuple)
        data, executable = tree
        root.write_bytes(data)
        root.chmod(0o755 if executable else 0o644)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_trees)
def test_any_tree_has_one_digest_and_comes_back(store: CloudStore, made: object) -> None:
    with tempfile.TemporaryDirectory() as directory:
        top = Path(directory)
        build(top / "tree", made)
        local = DirectoryStore(top / "local")
        digest = store.put_tree(top / "tree")
        assert digest == local.put_tree(top / "tree")
        store.write_tree(digest, top / "cloud")
        local.write_tree(digest, top / "here")
        assert contents(top / "cloud") == contents(top / "here")


def test_what_is_there_is_not_sent_again(store: CloudStore, gcs: Front, tree: Path) -> None:
    digest = store.put_tree(tree)
    gcs.seen.clear()
    assert store.put_tree(tree) == digest
    assert gcs.count("P*") == 0
    assert store.has(digest)
    assert not store.has(digest_of(b"nothing"))
    assert gcs.count("GET", "*/o/store/*") == len(gcs.seen)
    assert not any(one.query.get("alt") for one in gcs.seen)


def test_what_is_no_digest_is_refused(store: CloudStore) -> None:
    with pytest.raises(UsageError, match="is no digest"):
        store.read(Digest("sha256:../../ledger"))


def test_a_missing_object_is_named_and_what_to_do(store: CloudStore, tmp_path: Path) -> None:
    gone = digest_of(b"gone")
    with pytest.raises(CorruptError, match=f"{gone} is not in the store gs://records/store — restore it"):
        store.read(gone)
    with pytest.raises(CorruptError):
        store.write_tree(gone, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_changed_object_is_not_read_and_set_aside_and_can_be_stored_again(
    store: CloudStore, bucket: Bucket, tmp_path: Path
) -> None:
    digest = store.put_bytes(b"good bytes")
    bucket.put(blob(digest), b"bad  bytes")
    with pytest.raises(CorruptError, match=f"its digest {digest}; it was set aside as gs://records/store/aside/"):
        store.write_file(digest, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    (aside,) = bucket.list("store/aside/")
    assert bucket.read(aside.name) == b"bad  bytes"
    assert not store.has(digest)
    store.put_bytes(b"good bytes")
    assert store.read(digest) == b"good bytes"


def test_who_may_only_read_is_told_of_a_changed_object_too(store: CloudStore, bucket: Bucket, gcs: Front) -> None:
    digest = store.put_bytes(b"good bytes")
    bucket.put(blob(digest), b"bad  bytes")
    gcs.fail("*/rewriteTo/*", status=403)
    with pytest.raises(CorruptError, match="it could not be set aside"):
        store.read(digest)


def test_a_damaged_object_is_mended_by_storing_it_again(store: CloudStore, bucket: Bucket) -> None:
    digest = store.put_bytes(b"good bytes")
    for damaged in (b"bad  bytes", b"cut"):
        bucket.put(blob(digest), damaged)
        store.put_bytes(b"good bytes")
        assert store.read(digest) == b"good bytes"


def test_a_tree_with_a_bad_file_does_not_appear(store: CloudStore, bucket: Bucket, tree: Path, tmp_path: Path) -> None:
    digest = store.put_tree(tree)
    bucket.put(blob(digest_of(b"turn")), b"burn")
    with pytest.raises(CorruptError):
        store.write_tree(digest, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]


def test_a_tree_is_laid_out_at_a_new_path_only(store: CloudStore, tree: Path) -> None:
    with pytest.raises(PlatformError, match="exists already"):
        store.write_tree(store.put_tree(tree), tree)


def test_nothing_is_followed_out_of_a_tree(store: CloudStore, tree: Path, bucket: Bucket) -> None:
    (tree / "link").symlink_to("/etc/passwd")
    with pytest.raises(StepError, match="link is a symbolic link"):
        store.put_tree(tree)
    (tree / "link").unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tree / "socket"))
        with pytest.raises(StepError, match="is a socket"):
            store.put_tree(tree)
    assert not [one for one in bucket.list("store/") if b"mediaType" in (bucket.read(one.name) or b"")]


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_google_changes_nothing(store: CloudStore, gcs: Front, tree: Path, tmp_path: Path, status: int) -> None:
    gcs.fail(status=status, times=4)
    digest = store.put_tree(tree)
    gcs.fail(status=status, times=4)
    gcs.cut_after_effect("/upload/*", times=2)
    gcs.cut_answer("*", times=2)
    store.write_tree(digest, tmp_path / "out")
    assert digest == DirectoryStore(tmp_path / "local").put_tree(tree)


def test_names_are_created_once_and_found_by_how_they_begin(store: CloudStore, tmp_path: Path) -> None:
    local = DirectoryStore(tmp_path / "local")
    made = ["names/a/Main/ü", "names/a/main/b", "names/a", "other", f"names/{'long' * 100}/x"]
    for each in (store, local):
        for name in made:
            assert each.create(name, name.encode())
            assert not each.create(name, b"second")
    assert store.get("names/a/Main/ü") == "names/a/Main/ü".encode()
    assert store.get("names/none") is None
    for prefix in ("", "names/", "names/a", "names/a/", "names/a/M", "none/"):
        assert store.names(prefix) == local.names(prefix)


def test_artifacts_are_named_in_the_bucket(store: CloudStore) -> None:
    digest = store.put_bytes(b"model")
    assert name_artifact(store, "delays", "try/x", "abc", "model", digest)
    assert name_artifact(store, "delays", "try/x", "abc", "model", digest)
    assert find(store, "delays/try/x/abc/model") == digest


# ---------------------------------------------------------------------------------------------------- plain objects


def test_a_tree_becomes_plain_objects_without_its_bytes_passing_here(
    store: CloudStore, bucket: Bucket, gcs: Front, tree: Path
) -> None:
    digest = store.put_tree(tree)
    gcs.seen.clear()
    laid = store.copy_tree(digest, "jobs/1/source", store.bucket)
    assert gcs.count("POST", "*/rewriteTo/*") == 4
    assert [one for one in gcs.seen if one.query.get("alt")] == [gcs.seen[0]], "the manifest alone was read"
    found = {one.name: bucket.read(one.name) for one in bucket.list("jobs/1/source/")}
    files = {path.relative_to(tree).as_posix(): path for path in tree.rglob("*") if path.is_file()}
    assert found == {f"jobs/1/source/{path}": file.read_bytes() for path, file in files.items()} | {
        "jobs/1/source/empty/": b""
    }
    assert sorted(laid) == sorted(
        (path, digest_of(file.read_bytes()), path == "run.sh") for path, file in files.items()
    )


def test_laying_out_what_is_damaged_is_refused(store: CloudStore, bucket: Bucket, tree: Path) -> None:
    digest = store.put_tree(tree)
    bucket.put(blob(digest_of(b"turn")), b"longer than it was")
    with pytest.raises(CorruptError, match=f"has 18 bytes, not 4 .*{digest_of(b'turn')}"):
        store.copy_tree(digest, "jobs/1/source/", store.bucket)
    bucket.delete(blob(digest_of(b"turn")))
    with pytest.raises(CorruptError, match=f"{digest_of(b'turn')} is not in the store"):
        store.copy_tree(digest, "jobs/1/source/", store.bucket)


def test_one_file_is_laid_out(store: CloudStore, bucket: Bucket) -> None:
    assert store.copy_file(store.put_bytes(b"file"), "jobs/1/file", store.bucket) == 4
    assert bucket.read("jobs/1/file") == b"file"
