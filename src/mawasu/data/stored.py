"""The same work on digests: from the store, in a directory of its own, back to the store."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mawasu.data.disk import room_for
from mawasu.data.predictions import Scores, join
from mawasu.data.split import LABELS, split

if TYPE_CHECKING:
    from mawasu.ports import Store
    from mawasu.spec.feature import DataSet
    from mawasu.words import Digest


def split_snapshot(
    store: Store, snapshot: Digest, data: DataSet, slices: tuple[str, ...], workspace: Path
) -> Mapping[str, Digest]:
    """Split a stored snapshot; `train`, `evaluate` and `labels` are digests of stored directories.

    Without a holdout there is only `train`, which is the snapshot itself. `workspace`: an existing directory on a disk
    with room for twice the data; nothing is left in it. Raises StepError, PlatformError.
    """
    if data.holdout is None:
        return {"train": snapshot}
    said = f"splitting data set {data.name}"
    with room_for(said), tempfile.TemporaryDirectory(prefix="split-", dir=workspace) as temporary:
        laid_out, out = Path(temporary) / "snapshot", Path(temporary) / "split"
        store.write_tree(snapshot, laid_out)
        split(laid_out, data, out, slices)
        return {name: store.put_tree(out / name) for name in ("train", "evaluate", "labels")}


def read_scores(store: Store, labels: Digest, predictions: Digest, slices: tuple[str, ...] = ()) -> Scores:
    """Predictions (a stored file) joined to labels (the stored directory `split_snapshot` made). Raises StepError."""
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory(prefix="mawasu-labels-") as temporary:
        laid_out = Path(temporary) / "labels"
        store.write_tree(labels, laid_out)
        with pq.ParquetFile(laid_out / LABELS) as file:
            table = file.read()
    return join(table, store.read(predictions), slices)
