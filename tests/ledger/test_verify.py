"""`verify` names every broken thing, in one line each, and changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from mawasu.home import Home
from mawasu.ledger.ledger import Ledger
from mawasu.ledger.shelf import DirectoryShelf, entry_path
from mawasu.ledger.verify import verify
from mawasu.store.directory import DirectoryStore
from mawasu.words import Digest
from tests.ledger.ledger_tools import whole_build


class Made:
    """A home with one build, its plan and its model: a directory of two files."""

    def __init__(self, path: Path) -> None:
        self.home = Home(path / "home")
        self.store = DirectoryStore(self.home.store)
        (path / "model").mkdir()
        (path / "model" / "weights").write_bytes(b"weights")
        (path / "model" / "config").write_bytes(b"config")
        self.model = self.store.put_tree(path / "model")
        self.plan = self.store.put_bytes(b"{}")
        self.ledger = Ledger(DirectoryShelf(self.home.ledger, "flight-delay", self.home.checkpoints))
        for body in whole_build(1, "main", "staging", self.model, self.plan):
            self.ledger.append(body)

    def blob(self, digest: Digest) -> Path:
        return self.home.store / "blobs" / "sha256" / digest[7:9] / digest[9:]

    def weights(self) -> Digest:
        return self.store.manifest(self.model).files[1].digest

    def entry(self, number: int) -> Path:
        return entry_path(self.home.ledger, "flight-delay", number)

    def faults(self) -> list[str]:
        return [str(fault) for fault in verify(self.home).faults]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def damage(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def test_a_sound_home_has_no_faults_and_an_empty_one_neither(made: Made, tmp_path: Path) -> None:
    report = verify(made.home)
    assert (report.objects, report.entries, report.faults) == (4, 8, ())
    assert report.size == sum(made.blob(digest).stat().st_size for digest, _ in made.store.objects())
    assert verify(Home(tmp_path / "new")).faults == ()
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("bad", [b"weight", b"wfights"], ids=["truncated", "one bit flipped"])
def test_a_damaged_object_is_named_and_stays_where_it_is(made: Made, bad: bytes) -> None:
    damage(made.blob(made.weights()), bad)
    (fault,) = made.faults()
    assert made.weights() in fault
    assert "backup" in fault
    assert made.blob(made.weights()).read_bytes() == bad
    assert made.faults() == [fault]


def test_a_damaged_manifest_is_named_once(made: Made) -> None:
    damage(made.blob(made.model), made.blob(made.model).read_bytes()[:-1])
    (fault,) = made.faults()
    assert made.model in fault


def test_a_missing_object_is_named_with_what_needs_it(made: Made) -> None:
    made.blob(made.plan).unlink()
    (fault,) = made.faults()
    assert f"flight-delay needs {made.plan}, the plan of build 1" in fault


def test_a_missing_file_of_a_model_is_named_by_its_path(made: Made) -> None:
    weights = made.weights()
    made.blob(weights).unlink()
    (fault,) = made.faults()
    assert f"flight-delay needs {weights}, weights of the model of release flight-delay/main/" in fault


def test_an_edited_entry_is_named_by_the_link_it_breaks(made: Made) -> None:
    damage(made.entry(3), made.entry(3).read_bytes().replace(b'"train"', b'"trane"'))
    (fault,) = made.faults()
    assert "the link from entry 4 of flight-delay to entry 3 is broken" in fault
    assert str(made.entry(3)) in fault


def test_a_missing_entry_is_named_and_the_rest_is_still_looked_at(made: Made) -> None:
    made.entry(2).unlink()
    damage(made.entry(6), made.entry(6).read_bytes() + b" ")
    gap, broken = made.faults()
    assert "entry 2 of flight-delay missing" in gap
    assert "the link from entry 7" in broken


def test_an_entry_that_cannot_be_read_is_named(made: Made) -> None:
    damage(made.entry(2), b"\xff{")
    (fault,) = made.faults()
    assert "entry 2 of flight-delay cannot be read" in fault


def test_an_entry_in_the_place_of_another_is_named(made: Made) -> None:
    damage(made.entry(8), made.entry(7).read_bytes())
    assert any("entry 8 of flight-delay calls itself 7" in fault for fault in made.faults())


def test_progress_is_told(made: Made) -> None:
    told: list[tuple[str, int]] = []
    verify(made.home, lambda what, count: told.append((what, count)))
    assert told == [("objects", 4), ("flight-delay", 8)]
