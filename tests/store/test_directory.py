"""The store as a directory: what goes in comes out, once, read-only, and nothing else does."""

from __future__ import annotations

import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from mawasu.errors import CorruptError, PlatformError, StepError, UsageError
from mawasu.ports import Store
from mawasu.store.directory import CHUNK, DirectoryStore
from mawasu.store.manifest import PREFIX
from mawasu.words import Digest, digest_of


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory with a nested file, an executable one, an empty one, an empty directory and a name in Japanese."""
    root = tmp_path / "tree"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "weights.bin").write_bytes(os.urandom(3000))
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    (root / "a" / "nothing").write_bytes(b"")
    (root / "empty").mkdir()
    (root / "回す.txt").write_text("turn")
    return root


def blob(store: DirectoryStore, digest: Digest) -> Path:
    return store.root / "blobs" / "sha256" / digest[7:9] / digest[9:]


def damage(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def contents(root: Path) -> dict[str, tuple[int, bytes | None]]:
    """Mode and bytes of everything below `root`, by path."""
    return {
        path.relative_to(root).as_posix(): (
            stat.S_IMODE(path.stat().st_mode),
            path.read_bytes() if path.is_file() else None,
        )
        for path in sorted(root.rglob("*"))
    }


def test_it_is_a_store(store: DirectoryStore) -> None:
    port: Store = store
    assert not port.has(digest_of(b""))


def test_bytes_come_back_by_their_digest(store: DirectoryStore) -> None:
    digest = store.put_bytes(b"model")
    assert digest == digest_of(b"model")
    assert store.read(digest) == b"model"


def test_an_object_is_read_only_and_stands_where_the_design_says(store: DirectoryStore) -> None:
    path = blob(store, store.put_bytes(b"model"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o444


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7])
def test_a_file_of_any_size_comes_back(store: DirectoryStore, tmp_path: Path, size: int) -> None:
    (tmp_path / "in").write_bytes(data := os.urandom(size))
    digest = store.put_file(tmp_path / "in")
    assert digest == digest_of(data)
    store.write_file(digest, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data


def test_putting_what_is_there_does_not_write_it_again(store: DirectoryStore, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(data := os.urandom(2 * CHUNK))
    path = blob(store, store.put_file(tmp_path / "in"))
    before = path.stat().st_ino
    store.put_file(tmp_path / "in")
    store.put_bytes(data)
    assert path.stat().st_ino == before
    assert list((store.root / "tmp").iterdir()) == []


def test_a_directory_comes_back_with_its_modes_and_empty_directories(
    store: DirectoryStore, tree: Path, tmp_path: Path
) -> None:
    store.write_tree(store.put_tree(tree), tmp_path / "deep" / "out")
    found = contents(tmp_path / "deep" / "out")
    assert {path: data for path, (_, data) in found.items()} == {
        path: data for path, (_, data) in contents(tree).items()
    }
    assert (found["run.sh"][0], found["回す.txt"][0], found["empty"][0]) == (0o555, 0o444, 0o755)
    assert stat.S_IMODE((tmp_path / "deep" / "out").stat().st_mode) == 0o755


def test_a_laid_out_directory_shares_no_inode_with_the_store(store: DirectoryStore, tree: Path, tmp_path: Path) -> None:
    store.write_tree(store.put_tree(tree), tmp_path / "out")
    assert all(path.stat().st_nlink == 1 for path in (tmp_path / "out").rglob("*") if path.is_file())


def test_the_digest_of_a_directory_depends_on_names_modes_and_bytes_only(store: DirectoryStore, tree: Path) -> None:
    first = store.put_tree(tree)
    for path in tree.rglob("*"):
        os.utime(path, (1, 1))
    assert store.put_tree(tree) == first
    assert store.read(first).startswith(PREFIX)
    (tree / "run.sh").chmod(0o644)
    assert store.put_tree(tree) != first


def test_a_directory_of_many_files_comes_back(store: DirectoryStore, tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / "many" / f"{number % 7}").mkdir(parents=True, exist_ok=True)
        (tmp_path / "many" / f"{number % 7}" / f"{number}").write_text(str(number))
    store.write_tree(store.put_tree(tmp_path / "many"), tmp_path / "out")
    assert (tmp_path / "out" / "3" / "199").read_text() == "199"


def test_an_empty_directory_can_be_stored(store: DirectoryStore, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    store.write_tree(store.put_tree(tmp_path / "none"), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_links_and_special_files_are_refused_by_path(store: DirectoryStore, tree: Path) -> None:
    odd = tree / "a" / "odd"

    def refused(kind: str) -> None:
        with pytest.raises(StepError, match=rf"a/odd is {kind}"):
            store.put_tree(tree)
        odd.unlink()

    odd.symlink_to("/etc/passwd")
    refused("a symbolic link")
    odd.symlink_to(tree)
    refused("a symbolic link")
    os.mkfifo(odd)
    refused("a FIFO")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(odd.parent)  # a socket's path holds 107 bytes
        try:
            listener.bind("odd")
        finally:
            os.chdir(here)
        refused("a socket")


def test_a_link_in_place_of_the_directory_or_the_file_is_refused(store: DirectoryStore, tree: Path) -> None:
    (tree.parent / "link").symlink_to(tree)
    with pytest.raises(StepError, match="link is a symbolic link"):
        store.put_tree(tree.parent / "link")
    with pytest.raises(StepError, match="link is a symbolic link"):
        store.put_file(tree.parent / "link")


def test_a_file_in_place_of_the_directory_is_refused_and_so_is_nothing(store: DirectoryStore, tree: Path) -> None:
    with pytest.raises(StepError, match=r"run\.sh is a file"):
        store.put_tree(tree / "run.sh")
    with pytest.raises(StepError, match="no such file"):
        store.put_tree(tree / "nowhere")


def test_a_name_that_is_not_utf_8_is_refused(store: DirectoryStore, tree: Path) -> None:
    (tree / os.fsdecode(b"caf\xe9")).write_text("latin")
    with pytest.raises(StepError, match=r"caf\\xe9 has a name that is not UTF-8"):
        store.put_tree(tree)


def test_a_directory_nested_without_end_is_refused(store: DirectoryStore, tmp_path: Path) -> None:
    deep = tmp_path / "deep"
    deep.joinpath(*["d"] * 120).mkdir(parents=True)
    with pytest.raises(StepError, match="nested deeper than 100"):
        store.put_tree(deep)


def test_a_link_that_is_raced_in_is_never_followed(store: DirectoryStore, tmp_path: Path) -> None:
    root, secret = tmp_path / "racy", tmp_path / "secret"
    root.mkdir()
    secret.mkdir()
    (secret / "key").write_bytes(b"secret")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            (root / "data").mkdir()
            (root / "data" / "key").write_bytes(b"honest")
            (root / "data" / "key").unlink()
            (root / "data").rmdir()
            (root / "data").symlink_to(secret)
            (root / "data").unlink()

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(300):
            try:
                store.put_tree(root)
            except StepError:
                continue
    finally:
        stop.set()
        thread.join()
    assert not store.has(digest_of(b"secret"))


def test_no_descriptor_is_left_open_when_a_directory_is_refused(store: DirectoryStore, tree: Path) -> None:
    (tree / "z").symlink_to("/")
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(5):
        with pytest.raises(StepError):
            store.put_tree(tree)
    assert len(list(Path("/dev/fd").iterdir())) == before


@pytest.mark.parametrize("bad", [b"mode", b"modem", b""], ids=["truncated", "one bit flipped", "emptied"])
def test_a_damaged_object_is_refused_and_set_aside(store: DirectoryStore, bad: bytes) -> None:
    digest = store.put_bytes(b"model")
    damage(blob(store, digest), bad)
    with pytest.raises(CorruptError, match=f"{digest}.*set aside") as caught:
        store.read(digest)
    assert "backup" in caught.value.hint
    (aside,) = (store.root / "aside").iterdir()
    assert aside.read_bytes() == bad
    with pytest.raises(CorruptError, match="is not in the store"):
        store.read(digest)
    store.put_bytes(b"model")
    assert store.read(digest) == b"model"


def test_putting_over_a_truncated_object_heals_it(store: DirectoryStore) -> None:
    digest = store.put_bytes(b"model")
    damage(blob(store, digest), b"mod")
    store.put_bytes(b"model")
    assert store.read(digest) == b"model"


def test_a_directory_with_a_damaged_file_is_not_laid_out_at_all(
    store: DirectoryStore, tree: Path, tmp_path: Path
) -> None:
    digest = store.put_tree(tree)
    damage(blob(store, digest_of(b"turn")), b"torn")
    with pytest.raises(CorruptError):
        store.write_tree(digest, tmp_path / "out" / "tree")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_damaged_object_leaves_the_file_it_was_to_replace(store: DirectoryStore, tmp_path: Path) -> None:
    digest = store.put_bytes(b"new")
    damage(blob(store, digest), b"bad")
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(CorruptError):
        store.write_file(digest, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "store"]


def test_a_directory_is_laid_out_at_a_new_path_only(store: DirectoryStore, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(PlatformError, match="taken exists already"):
        store.write_tree(store.put_tree(tree), tmp_path / "taken")


@pytest.mark.parametrize("path", ["../out", "/etc/out", "a/../../out", "a//b", ".", "", "a\\u0000b"])
def test_a_forged_manifest_that_leads_outside_is_refused(store: DirectoryStore, tmp_path: Path, path: str) -> None:
    file = f'{{"path":"{path}","digest":"{store.put_bytes(b"x")}","size":1}}'
    forged = store.put_bytes(PREFIX + f'"files":[{file}]}}'.encode())
    with pytest.raises(CorruptError, match="leads outside"):
        store.write_tree(forged, tmp_path / "root" / "tree")
    assert not (tmp_path / "out").exists()


def test_an_object_that_is_no_directory_cannot_be_laid_out(store: DirectoryStore, tmp_path: Path) -> None:
    with pytest.raises(CorruptError, match="not the manifest"):
        store.write_tree(store.put_bytes(b"{}"), tmp_path / "out")


def test_what_is_no_digest_is_refused(store: DirectoryStore) -> None:
    with pytest.raises(UsageError, match="is no digest"):
        store.has(Digest("sha256:../../etc/passwd"))


def test_the_first_to_take_a_name_keeps_it(store: DirectoryStore) -> None:
    assert store.create("ledger/flight-delay/000000000001", b"first")
    assert not store.create("ledger/flight-delay/000000000001", b"second")
    assert store.get("ledger/flight-delay/000000000001") == b"first"


def test_a_name_may_be_the_beginning_of_another(store: DirectoryStore) -> None:
    assert store.create("a/b", b"1")
    assert store.create("a", b"2")
    assert store.create("a/b/c", b"3")
    assert store.names("") == ["a", "a/b", "a/b/c"]
    assert store.names("a/b") == ["a/b", "a/b/c"]
    assert store.get("a/c") is None
    assert store.get("nothing/here") is None


def test_names_come_sorted_by_any_prefix(store: DirectoryStore) -> None:
    for name in ("x/10", "x/02", "x/1/z", "y", "X/1"):
        store.create(name, b"")
    assert store.names("x/1") == ["x/1/z", "x/10"]
    assert store.names("x/") == ["x/02", "x/1/z", "x/10"]
    assert store.names("none/") == []


def test_of_many_who_want_one_name_one_gets_it(store: DirectoryStore) -> None:
    start = threading.Barrier(8)
    won: list[int] = []

    def take(number: int) -> None:
        start.wait()
        if store.create("the/name", str(number).encode()):
            won.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [str(number).encode() for number in won] == [store.get("the/name")]


def test_an_object_that_was_put_again_is_not_removed(store: DirectoryStore) -> None:
    digest = store.put_bytes(b"old")
    os.utime(blob(store, digest), (1000, 1000))
    assert store.remove(digest, before=500) is None
    store.put_bytes(b"old")
    assert store.remove(digest, before=2000) is None
    os.utime(blob(store, digest), (1000, 1000))
    assert store.remove(digest, before=2000) == 3
    assert not store.has(digest)


def test_files_of_others_in_the_store_are_not_taken_for_its_own(store: DirectoryStore) -> None:
    digest = store.put_bytes(b"model")
    store.create("a/name", b"")
    for path in (blob(store, digest).with_name("notes.txt"), store.root / "named" / "a" / ".DS_Store"):
        path.write_text("")
    assert [found for found, _ in store.objects()] == [digest]
    assert store.names("") == ["a/name"]
