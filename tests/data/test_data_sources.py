"""Snapshots: files of the commit, or a path outside that data.lock pins."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from mawasu.data import lock, make_snapshot
from mawasu.errors import StepError
from mawasu.spec.feature import DataSet, DataSource, Environment, Feature
from mawasu.store.directory import DirectoryStore
from mawasu.words import Digest, digest_of


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


def _files(*patterns: str) -> DataSet:
    return DataSet(name="resumes", source=DataSource(files=patterns))


def _path(path: Path | str) -> DataSet:
    return DataSet(name="resumes", source=DataSource(path=str(path)))


def _feature(*data: DataSet) -> Feature:
    return Feature(name="callback", environments=(Environment(name="staging", branch="main"),), data=data)


def _write(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"content of {name}\n")
    return root


def _refused(data: DataSet, root: Path | None, store: DirectoryStore, locked: Digest | None = None) -> str:
    with pytest.raises(StepError) as caught:
        make_snapshot(data, root, store, locked)
    assert caught.value.hint
    return str(caught.value)


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (("data/a.csv",), ["a.csv"]),
        (("data/*.csv",), ["a.csv"]),
        (("data/**",), ["a.csv", "old/2012/b.csv", "old/c.csv", "old/notes.txt"]),
        (("data/**/*.csv",), ["a.csv", "old/2012/b.csv", "old/c.csv"]),
        (("data/old/*.csv", "data/a.csv"), ["a.csv", "old/c.csv"]),
        (("data/old/[a-c].csv", "data/old/2012/?.csv"), ["2012/b.csv", "c.csv"]),
        (("top.csv", "data/a.csv"), ["data/a.csv", "top.csv"]),
        (("*.csv",), ["top.csv"]),
    ],
)
def test_files_of_the_commit_are_named_from_the_directory_all_patterns_share(
    tmp_path: Path, store: DirectoryStore, patterns: tuple[str, ...], names: list[str]
) -> None:
    listed = ("top.csv", "data/a.csv", "data/old/c.csv", "data/old/notes.txt", "data/old/2012/b.csv")
    root = _write(tmp_path / "repo", *listed)
    assert [file.path for file in store.manifest(make_snapshot(_files(*patterns), root, store, None)).files] == names


def test_modes_and_times_of_files_do_not_change_the_digest(tmp_path: Path, store: DirectoryStore) -> None:
    root = _write(tmp_path / "repo", "data/a.csv")
    before = make_snapshot(_files("data/a.csv"), root, store, None)
    (root / "data/a.csv").chmod(0o755)
    os.utime(root / "data/a.csv", (1, 1))
    assert make_snapshot(_files("data/a.csv"), root, store, None) == before


def test_a_pattern_without_a_file_is_refused_with_the_nearest(tmp_path: Path, store: DirectoryStore) -> None:
    root = _write(tmp_path / "repo", "data/resumes.csv")
    said = _refused(_files("data/resume.csv"), root, store)
    assert "no file of the commit matches data/resume.csv — did you mean data/resumes.csv?" in said


def test_links_are_refused_not_followed(tmp_path: Path, store: DirectoryStore) -> None:
    root = _write(tmp_path / "repo", "data/a.csv")
    (root / "data/b.csv").symlink_to("/etc/passwd")
    assert "b.csv is a link" in _refused(_files("data/*.csv"), root, store)
    assert "b.csv is a link" in _refused(_path(root), None, store, digest_of(b""))


def test_a_path_outside_is_stored_when_it_is_what_data_lock_says(tmp_path: Path, store: DirectoryStore) -> None:
    outside = _write(tmp_path / "lake", "flights 2013.csv", "old/b.csv")
    laptop = DirectoryStore(tmp_path / "laptop")
    for given, names in (
        (outside / "flights 2013.csv", ["flights 2013.csv"]),
        (f"file://{outside}/flights%202013.csv", ["flights 2013.csv"]),
        (f"file://localhost{outside}/old", ["b.csv"]),
        (outside, ["flights 2013.csv", "old/b.csv"]),
    ):
        entry = lock(_feature(_path(given)), laptop)["resumes"]
        assert [
            file.path for file in store.manifest(make_snapshot(_path(given), None, store, entry.digest)).files
        ] == names
        assert entry.files == len(names)


def test_a_link_that_is_itself_the_path_keeps_its_own_name(tmp_path: Path, store: DirectoryStore) -> None:
    outside = _write(tmp_path / "lake", "2013.csv")
    (outside / "latest.csv").symlink_to("2013.csv")
    digest = lock(_feature(_path(outside / "latest.csv")), store)["resumes"].digest
    assert [file.path for file in store.manifest(digest).files] == ["latest.csv"]


def test_changed_data_is_refused_with_both_digests_and_what_to_do(tmp_path: Path, store: DirectoryStore) -> None:
    path = _write(tmp_path / "lake", "a.csv") / "a.csv"
    laptop = DirectoryStore(tmp_path / "laptop")
    locked = lock(_feature(_path(path)), laptop)["resumes"].digest
    path.write_text("changed\n")
    now = lock(_feature(_path(path)), laptop)["resumes"].digest
    said = _refused(_path(path), None, store, locked)
    assert locked in said
    assert now in said
    assert "`mawasu data lock`" in said
    assert "commit" in said


def test_what_the_store_holds_is_used_even_when_the_path_has_changed_or_gone(
    tmp_path: Path, store: DirectoryStore
) -> None:
    path = _write(tmp_path / "lake", "a.csv") / "a.csv"
    locked = lock(_feature(_path(path)), store)["resumes"].digest
    path.write_text("changed\n")
    assert make_snapshot(_path(path), None, store, locked) == locked
    path.unlink()
    assert make_snapshot(_path(path), None, store, locked) == locked


def test_a_path_that_data_lock_does_not_pin_is_refused(tmp_path: Path, store: DirectoryStore) -> None:
    path = _write(tmp_path / "lake", "a.csv") / "a.csv"
    assert "which data.lock does not pin — run `mawasu data lock`" in _refused(_path(path), None, store)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/no/such/file.csv", "there is no /no/such/file.csv"),
        ("data/a.csv", "is relative"),
        ("s3://bucket/a.csv", "cannot be read from here"),
        ("file://elsewhere/a.csv", "cannot be read from here"),
    ],
)
def test_a_path_that_cannot_be_read_is_refused(store: DirectoryStore, path: str, says: str) -> None:
    assert says in _refused(_path(path), None, store, digest_of(b"locked"))


def test_an_empty_directory_and_a_special_file_are_refused(tmp_path: Path, store: DirectoryStore) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no file" in _refused(_path(tmp_path / "empty"), None, store, digest_of(b""))
    os.mkfifo(tmp_path / "empty" / "pipe")
    assert "special file" in _refused(_path(tmp_path / "empty"), None, store, digest_of(b""))


def test_a_data_set_without_a_source_is_refused(tmp_path: Path, store: DirectoryStore) -> None:
    assert "neither files nor a path" in _refused(_files(), tmp_path, store)


def test_locking_leaves_files_of_the_repository_alone(tmp_path: Path, store: DirectoryStore) -> None:
    path = _write(tmp_path / "lake", "a.csv", "b/c.csv")
    entries = lock(_feature(msgspec.structs.replace(_files("x.csv"), name="inside"), _path(path)), store)
    assert list(entries) == ["resumes"]
    size = len("content of a.csv\n") + len("content of b/c.csv\n")
    assert (entries["resumes"].bytes, entries["resumes"].files) == (size, 2)
