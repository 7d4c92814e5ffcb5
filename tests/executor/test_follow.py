"""A build as lines for people, while it happens."""

from __future__ import annotations

from pathlib import Path

import pytest

from mawasu.executor import follow as room
from mawasu.executor.follow import follow
from mawasu.ledger.entries import BuildFinished, BuildQueued, StepFinished, StepStarted
from mawasu.ledger.ledger import Ledger
from mawasu.ledger.shelf import DirectoryShelf
from mawasu.store.directory import DirectoryStore
from mawasu.words import Commit, Outcome, Push, Result, digest_of

KEY = digest_of(b"key")
PUSH = Push("project", "main", None, Commit("1" * 40))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(DirectoryShelf(tmp_path / "ledger", "delays", tmp_path / "checkpoints"))


def told(ledger: Ledger, tmp_path: Path, build: int) -> list[str]:
    return list(follow(ledger, DirectoryStore(tmp_path / "store"), build, wait=False))


def test_a_build_is_told_in_the_order_of_its_entries_and_others_are_left_out(ledger: Ledger, tmp_path: Path) -> None:
    ledger.append(BuildQueued(1, PUSH, "staging"))
    ledger.append(BuildQueued(2, PUSH, ""))
    ledger.append(StepStarted(1, "train", KEY))
    ledger.append(StepFinished(1, "train", KEY, Outcome(Result.FAILED, seconds=2.0, message="it ended with status 1")))
    ledger.append(BuildFinished(2, Result.NOTHING, "no environment takes branch main"))
    ledger.append(BuildFinished(1, Result.FAILED, "train: it ended with status 1", "see its log", 2.5, ("a fault",)))
    assert told(ledger, tmp_path, 1) == [
        "delays build 1 · main 1111111111 → staging",
        "  train …",
        "  ✗ train 2.0 s  it ended with status 1",
        "  a fault",
        "✗ build 1 failed: train: it ended with status 1 (2.5 s)",
        "  see its log",
    ]


def test_a_working_tree_is_told_as_one(ledger: Ledger, tmp_path: Path) -> None:
    ledger.append(BuildQueued(1, Push("", "main", None, Commit("1" * 40), "run", dirty=True), ""))
    assert told(ledger, tmp_path, 1) == ["delays build 1 · main 1111111111 (working tree)"]


def test_a_step_that_runs_on_gives_a_sign_of_life(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "SIGN_OF_LIFE", 0.0)
    ledger.append(StepStarted(1, "train", KEY))
    lines = follow(ledger, DirectoryStore(tmp_path / "store"), 1)
    assert next(lines) == "  train …"
    assert next(lines).startswith("  train … ")
    ledger.append(BuildFinished(1, Result.OK))
    assert any("build 1 ok" in line for line in lines)
