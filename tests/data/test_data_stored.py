"""From digest to digest, the whole way: snapshot, split, predictions, verdict."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from mawasu import judge
from mawasu.data import make_snapshot, read_scores, split_snapshot
from mawasu.errors import PlatformError
from mawasu.spec.feature import DataSet, DataSource, Gate, Holdout
from mawasu.store.directory import DirectoryStore
from mawasu.words import Digest

DATA = DataSet(
    name="flights",
    source=DataSource(files=("data/flights.csv",)),
    holdout=Holdout(column="month", among=(11, 12)),
    label="late",
    row="id",
)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """3,000 flights, a third of them late, more of them from far away."""
    random = np.random.default_rng(0)
    lines = ["id,month,late,distance,carrier"]
    for row in range(3000):
        late = int(random.random() < 0.33)
        lines.append(f"F{row},{row % 12 + 1},{late},{random.normal(1000 + 300 * late, 300):.1f},{'AB'[row % 2]}")
    (tmp_path / "repo/data").mkdir(parents=True)
    (tmp_path / "repo/data/flights.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "repo"


def _predict(store: DirectoryStore, evaluate: Path, noise: float) -> Digest:
    """What a user's evaluation command does: it sees the rows without their labels and writes row, score."""
    rows = [line.split(",") for line in (evaluate / "flights.csv").read_text().splitlines()]
    assert rows[0] == ["id", "month", "distance", "carrier"]
    random = np.random.default_rng(1)
    lines = [f"{row[0]},{float(row[2]) + noise * random.normal()}" for row in rows[1:]]
    return store.put_bytes(("row,score\n" + "\n".join(lines) + "\n").encode())


def test_a_better_and_a_worse_model_are_told_apart_on_rows_neither_was_trained_on(tmp_path: Path, repo: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    snapshot = make_snapshot(DATA, repo, store, None)
    parts = split_snapshot(store, snapshot, DATA, ("carrier",), tmp_path)
    assert sorted(parts) == ["evaluate", "labels", "train"]
    store.write_tree(parts["train"], tmp_path / "train")
    assert ",11," not in (tmp_path / "train/flights.csv").read_text()
    store.write_tree(parts["evaluate"], tmp_path / "evaluate")
    good, bad = (
        read_scores(store, parts["labels"], _predict(store, tmp_path / "evaluate", noise), ("carrier",))
        for noise in (0.0, 900.0)
    )
    verdict = judge.compare("roc_auc", good.label, bad.score, good.score, Gate(), good.slices)
    assert verdict.decision is judge.Decision.WORSE
    assert verdict.rows == 500
    assert judge.compare("roc_auc", good.label, good.score, bad.score, Gate(), good.slices).passed
    first = judge.first(judge.measure(["roc_auc"], good.label, good.score), {"roc_auc": ">= 0.55"}, rows=500)
    assert first.passed


def test_splitting_twice_gives_the_same_digests_and_leaves_nothing_behind(tmp_path: Path, repo: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    snapshot = make_snapshot(DATA, repo, store, None)
    assert split_snapshot(store, snapshot, DATA, (), workspace) == split_snapshot(store, snapshot, DATA, (), workspace)
    assert list(workspace.iterdir()) == []


def test_without_a_holdout_training_gets_the_snapshot_itself(tmp_path: Path, repo: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    data = msgspec.structs.replace(DATA, holdout=None)
    snapshot = make_snapshot(data, repo, store, None)
    assert split_snapshot(store, snapshot, data, (), tmp_path) == {"train": snapshot}


def test_a_disk_without_room_is_the_machines_fault(tmp_path: Path, repo: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    snapshot = make_snapshot(DATA, repo, store, None)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(PlatformError, match=r"larger than allowed|file too large"):
            split_snapshot(store, snapshot, DATA, (), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_importing_the_room_does_not_load_pyarrow() -> None:
    code = "import sys, mawasu.data; sys.exit(bool({'numpy', 'pyarrow', 'pydantic'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
