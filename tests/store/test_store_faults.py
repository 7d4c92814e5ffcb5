"""The store when its process is killed, its disk is full, broken or read-only."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mawasu.store.directory import DirectoryStore
from mawasu.words import Digest, digest_of
from tests.store.store_tools import run_python, with_fault, with_read_only, with_small_disk

PUT = """
import sys
from pathlib import Path
from mawasu.store.directory import DirectoryStore
store = DirectoryStore(Path(sys.argv[1]))
print("started", flush=True)
for number in range(2):
    print(store.put_bytes(b"object %d" % number), flush=True)
print(store.put_tree(Path(sys.argv[2])), flush=True)
print("created", store.create("a/name", b"whole"), flush=True)
print("done", flush=True)
"""

TRY = """
import sys
from pathlib import Path
from mawasu.errors import PlatformError
from mawasu.store.directory import DirectoryStore
store = DirectoryStore(Path(sys.argv[1]))
try:
    print(eval(sys.argv[2]))
except PlatformError as error:
    print("REFUSED", error)
print("left", sorted(path.name for path in store.root.glob("blobs/sha256/??/*")), store.clean())
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    for number in range(3):
        (tmp_path / "tree" / "sub" / f"{number}").write_text(f"file {number}")
    return tmp_path / "tree"


def acknowledged_is_there(store: DirectoryStore, output: str, tree: Path) -> None:
    """Whatever was acknowledged is there, and whatever is there is whole and was attempted."""
    for line in output.split():
        if line.startswith("sha256:"):
            digest = Digest(line)
            if store.is_tree(digest):
                assert [store.read(file.digest) for file in store.manifest(digest).files]
            else:
                assert store.read(digest).startswith(b"object")
    attempted = {digest_of(b"object %d" % number) for number in range(3)}
    attempted |= {digest_of(path.read_bytes()) for path in tree.rglob("*") if path.is_file()}
    for digest, _ in store.objects():
        store.check(digest)
        assert digest in attempted or store.is_tree(digest)
    assert store.get("a/name") in (None, b"whole")


def test_killed_at_any_fsync_what_was_acknowledged_is_there_and_a_restart_goes_on(tmp_path: Path, tree: Path) -> None:
    when, finished = 1, False
    while not finished:
        store = DirectoryStore(tmp_path / f"store-{when}")
        run = run_python(PUT, store.root, tree, before=with_fault("fsync,fdatasync", "signal=KILL", when))
        assert run.stdout.startswith("started"), run.stderr
        finished = run.stdout.endswith("done\n")
        acknowledged_is_there(store, run.stdout, tree)
        store.clean()
        assert store.clean() == []
        if when in (1, 7):
            assert run_python(PUT, store.root, tree).stdout.endswith("done\n")
        when += 1 if when < 7 else 4
    assert when > 14


def test_killed_before_it_has_its_name_there_is_no_object(tmp_path: Path, tree: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    run_python(PUT, store.root, tree, before=with_fault("?link,linkat", "signal=KILL"))
    assert list(store.objects()) == []
    assert len(store.clean()) == 1
    assert store.put_bytes(b"object 0") == digest_of(b"object 0")


def test_killed_after_it_has_its_name_the_object_is_whole_and_putting_it_again_writes_nothing(
    tmp_path: Path, tree: Path
) -> None:
    store = DirectoryStore(tmp_path / "store")
    run_python(PUT, store.root, tree, before=with_fault("?unlink,unlinkat", "signal=KILL"))
    (found,) = store.objects()
    assert store.read(found[0]) == b"object 0"
    (path,) = store.root.glob("blobs/sha256/??/*")
    inode = path.stat().st_ino
    store.put_bytes(b"object 0")
    assert path.stat().st_ino == inode
    assert len(store.clean()) == 1
    assert store.read(found[0]) == b"object 0"


def test_an_fsync_that_fails_fails_the_write_and_leaves_earlier_objects(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    earlier = store.put_bytes(b"earlier")
    for when in range(1, 20, 2):
        before = with_fault("fsync,fdatasync", "error=EIO", when)
        run = run_python(TRY, store.root, f"store.put_bytes(b'new {when}')", before=before)
        if "REFUSED" not in run.stdout:
            break
        assert "cannot store an object" in run.stdout, run
        assert "input/output error" in run.stdout
        assert "dmesg" in run.stdout
    assert when > 5
    assert run.stdout.startswith("sha256:"), run
    assert store.read(earlier) == b"earlier"
    for digest, _ in store.objects():
        store.check(digest)


@pytest.mark.parametrize("what", ["store.put_bytes(bytes(3_000_000))", "store.put_file(Path('{big}'))"])
def test_a_full_disk_is_said_clearly_and_leaves_nothing(tmp_path: Path, what: str) -> None:
    (tmp_path / "big").write_bytes(os.urandom(3_000_000))
    (tmp_path / "disk").mkdir()
    script = what.format(big=tmp_path / "big")
    run = run_python(TRY, tmp_path / "disk" / "store", script, before=with_small_disk(tmp_path / "disk", 1_000_000))
    assert "REFUSED cannot store an object" in run.stdout, run
    assert "no space left" in run.stdout
    assert "mawasu gc" in run.stdout
    assert "left [] []" in run.stdout


def test_a_disk_that_fills_up_while_a_directory_is_stored_keeps_no_manifest_of_it(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "disk").mkdir()
    for number in range(20):
        (tmp_path / "tree" / f"{number}").write_bytes(os.urandom(100_000))
    script = f"store.put_tree(Path('{tmp_path / 'tree'}'))"
    script = f"[store.put_bytes(b'small'), {script}]"
    run = run_python(TRY, tmp_path / "disk" / "store", script, before=with_small_disk(tmp_path / "disk", 1_000_000))
    assert "REFUSED cannot store a directory" in run.stdout, run
    assert digest_of(b"small")[9:] in run.stdout


def test_a_process_that_may_not_write_large_files_is_told_so(tmp_path: Path) -> None:
    script = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n{TRY}"
    run = run_python(script, tmp_path / "store", "store.put_bytes(bytes(3_000_000))")
    assert "REFUSED" in run.stdout, run
    assert "file too large" in run.stdout
    assert "left [] []" in run.stdout


@pytest.mark.parametrize("what", ["store.put_bytes(b'new')", "store.create('a/b', b'')", "store.put_bytes(b'earlier')"])
def test_a_read_only_disk_is_said_clearly_and_is_read_on(tmp_path: Path, what: str) -> None:
    store = DirectoryStore(tmp_path / "store")
    earlier = store.put_bytes(b"earlier")
    run = run_python(TRY, store.root, what, before=with_read_only(tmp_path / "store"))
    assert "REFUSED" in run.stdout, run
    assert "read-only" in run.stdout
    read = run_python(TRY, store.root, f"store.read('{earlier}')", before=with_read_only(tmp_path / "store"))
    assert "b'earlier'" in read.stdout, read


def test_temporary_files_of_living_writers_are_left_alone(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    with store._area.temporary() as (_, path):
        assert store.clean() == []
        assert path.exists()
    assert not path.exists()
