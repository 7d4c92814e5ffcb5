"""Splitting a snapshot: what training sees, what evaluation sees, and the labels that only mawasu sees."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mawasu.data import holdout, tables
from mawasu.data.tables import TableFile
from mawasu.errors import StepError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from mawasu.spec.feature import DataSet, Holdout

LABELS = "labels.parquet"
SLICE = "slice."
MISSING = "(missing)"
_SHOWN = 3  # places named in a fault


@dataclass(frozen=True)
class SplitReport:
    """Rows on each side, and the number of files."""

    train: int
    holdout: int
    files: int


@dataclass(frozen=True)
class _Keys:
    """The few columns that decide, over all files' rows in order."""

    files: tuple[TableFile, ...]
    counts: tuple[int, ...]
    table: pa.Table

    def place(self, row: int) -> str:
        for file, count in zip(self.files, self.counts, strict=True):
            if row < count:
                return file.place(row)
            row -= count
        raise IndexError(row)

    def places(self, rows: Iterable[int]) -> str:
        """The first few rows as people find them."""
        rows = list(rows)
        named = ", ".join(self.place(row) for row in rows[:_SHOWN])
        return named + (", …" if len(rows) > _SHOWN else "")


def split(snapshot: Path, data: DataSet, out: Path, slices: tuple[str, ...] = ()) -> SplitReport:
    """Write `out`/train, `out`/evaluate and `out`/labels from the files below `snapshot`.

    train: the same files without the holdout rows. evaluate: the same files, the holdout rows only, without the label.
    labels: one Parquet file with `row`, `label` (float64) and, as text, `slice.<column>` for each of `slices`.
    The same input gives the same bytes. Without a holdout, train is everything and the other two are not written.
    Raises StepError for data that cannot be split, with its place.
    """
    if data.holdout is None:
        shutil.copytree(snapshot, out / "train", copy_function=shutil.copyfile)
        return SplitReport(0, 0, sum(1 for path in snapshot.rglob("*") if path.is_file()))
    row, label = _declared(data)
    keys = _read_keys(tables.find(snapshot, data.name), _wanted(data, data.holdout, row, label, slices))
    chosen = _choose(keys, data, data.holdout, row)
    _check_rows(keys, row)
    labels = _labels(keys, chosen, (row, label), slices)
    start = 0
    for file, count in zip(keys.files, keys.counts, strict=True):
        tables.split(file, chosen[start : start + count], out / "train", out / "evaluate", label)
        start += count
    _write(labels, out / "labels" / LABELS)
    return SplitReport(len(chosen) - labels.num_rows, labels.num_rows, len(keys.files))


def _declared(data: DataSet) -> tuple[str, str]:
    if data.row is None or data.label is None:
        missing = " and ".join(key for key in ("row", "label") if getattr(data, key) is None)
        hint = "row names the column that tells rows apart, label the one to predict"
        raise StepError(f"data set {data.name} has a holdout but no {missing}", hint)
    return data.row, data.label


def _wanted(data: DataSet, chosen: Holdout, row: str, label: str, slices: tuple[str, ...]) -> dict[str, str]:
    """Columns to read, each with the place in mawasu.yaml that names it."""
    column, key = holdout.column_of(chosen, row)
    wanted = dict.fromkeys(slices, "evaluation.gate.slices")
    return wanted | {row: f"data.{data.name}.row", label: f"data.{data.name}.label", column: f"data.{data.name}.{key}"}


def _read_keys(files: tuple[TableFile, ...], wanted: dict[str, str]) -> _Keys:
    parts = []
    for file in files:
        names = tables.column_names(file)
        for column, where in wanted.items():
            tables.index_of(column, names, file, where)
        parts.append(tables.read(file, wanted))
    return _Keys(files, tuple(part.num_rows for part in parts), tables.together(parts))


def _choose(keys: _Keys, data: DataSet, chosen: Holdout, row: str) -> NDArray[np.bool_]:
    import pyarrow.compute as pc

    column, _ = holdout.column_of(chosen, row)
    values = keys.table.column(column)
    mask = holdout.held(chosen, row, values)
    count, rows = int(mask.sum()), len(mask)
    if 0 < count < rows:
        return mask
    some = ", ".join(str(value) for value in pc.unique(values)[:8].to_pylist())
    what = "none" if not count else "all"
    said = f"the holdout of data set {data.name} ({holdout.described(chosen, row)}) is {what} of its {rows:,} rows"
    raise StepError(said, f"column {column!r} holds {some or 'nothing'}")


def _check_rows(keys: _Keys, row: str) -> None:
    """Row ids tell rows apart: none is missing, none comes twice."""
    import numpy as np
    import pyarrow.compute as pc

    ids = keys.table.column(row)
    missing = np.flatnonzero(_missing(ids))
    if missing.size:
        places = keys.places(missing.tolist())
        raise StepError(
            f"column {row!r} holds no id in {missing.size:,} of {len(ids):,} rows: {places}",
            "give every row its own id",
        )
    if pc.count_distinct(ids).as_py() == len(ids):
        return
    codes = pc.dictionary_encode(ids.combine_chunks()).indices.to_numpy()
    _, first = np.unique(codes, return_index=True)
    again = np.setdiff1d(np.arange(len(codes)), first)
    before = int(np.flatnonzero(codes == codes[again[0]])[0])
    said = f"{again.size:,} of {len(ids):,} rows repeat the id of another: {ids[int(again[0])].as_py()!r}"
    places = f"{keys.place(before)} and {keys.place(int(again[0]))}"
    raise StepError(f"{said} is on {places}", f"column {row!r} must tell rows apart")


def _missing(values: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Null, NaN, or no text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    missing = pc.is_null(values, nan_is_null=pa.types.is_floating(values.type))
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        missing = pc.or_(missing, pc.fill_null(pc.equal(values, ""), True))
    result: NDArray[np.bool_] = missing.to_numpy()
    return result


def _labels(keys: _Keys, mask: NDArray[np.bool_], named: tuple[str, str], slices: tuple[str, ...]) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    row, label = named
    held = np.flatnonzero(mask)
    taken = keys.table.take(pa.array(held))
    numbers = _numbers(keys.table.column(label).type, taken.column(label), label, lambda at: keys.place(int(held[at])))
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if wrong.size:
        places = keys.places(held[wrong].tolist())
        said = f"column {label!r} holds no label in {wrong.size:,} of {held.size:,} holdout rows: {places}"
        raise StepError(said, "label them, or leave those rows out of the data set")
    columns = {"row": taken.column(row), "label": pa.array(numbers)}
    return pa.table(columns | {SLICE + name: _as_text(taken.column(name)) for name in slices})


def _numbers(
    kind: pa.DataType, values: pa.ChunkedArray, label: str, place: Callable[[int], str]
) -> NDArray[np.float64]:
    """Labels as float64, NaN where there is none. Raises StepError for labels that are no numbers."""
    import pyarrow as pa

    checks = (pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
    if not any(check(kind) for check in checks):
        hint = "labels are numbers or true/false; for two classes write 0 and 1"
        raise StepError(f"{place(0)}: label {values[0].as_py()!r} in column {label!r} is no number", hint)
    if pa.types.is_boolean(kind):
        values = values.cast(pa.int8())
    result: NDArray[np.float64] = values.cast(pa.float64(), safe=False).to_numpy()
    return result


def _as_text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = pc.fill_null(values.cast(pa.string()), MISSING)
    return pc.if_else(pc.equal(texts, ""), MISSING, texts)


def _write(labels: pa.Table, path: Path) -> None:
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True)
    pq.write_table(labels.combine_chunks(), path)
