"""What an evaluation command wrote, joined to the labels it never saw."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mawasu.data.split import SLICE
from mawasu.errors import StepError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_SHOWN = 3
_CONTRACT = "MAWASU_PREDICTIONS is CSV or Parquet with the columns row and score, one line for every holdout row"


@dataclass(frozen=True)
class Scores:
    """One model's scores beside the truth; every array has shape (rows,), in the order of the labels.

    `row`: the ids, as the data has them. `label`, `score`: float64, all finite. `slices`: column → text.
    """

    row: NDArray[np.generic]
    label: NDArray[np.float64]
    score: NDArray[np.float64]
    slices: Mapping[str, NDArray[np.str_]]


def join(labels: pa.Table, predictions: bytes, slices: tuple[str, ...] = ()) -> Scores:
    """Align predictions (CSV or Parquet, told apart by content) with the labels that `split` wrote.

    Raises StepError for predictions that are unreadable, miss rows, hold rows nobody asked for, hold a row twice or a
    score that is no finite number: how many, and the first few.
    """
    import pyarrow.compute as pc

    ids = labels.column("row").combine_chunks()
    table = _read(predictions)
    given = _ids(table.column("row"), ids.type)
    _check(given, ids)
    order = pc.index_in(ids, value_set=given)
    scores = _numbers(table.column("score")).take(order)
    _check_finite(scores, ids)
    known = {name: SLICE + name for name in slices}
    for name, column in known.items():
        if column not in labels.column_names:
            raise StepError(f"the labels were split without the slice column {name!r}", "split the snapshot again")
    return Scores(
        row=ids.to_numpy(zero_copy_only=False),
        label=labels.column("label").to_numpy(),
        score=scores.to_numpy(),
        slices={name: labels.column(column).to_numpy().astype(str) for name, column in known.items()},
    )


def _read(predictions: bytes) -> pa.Table:
    import pyarrow as pa

    if not predictions.strip():
        raise StepError("the predictions are empty", _CONTRACT)
    try:
        if predictions.startswith(b"PAR1"):
            return _read_parquet(predictions)
        return _read_csv(predictions)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StepError(f"the predictions cannot be read: {reason}", _CONTRACT) from error


def _read_parquet(predictions: bytes) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(pa.BufferReader(predictions)) as source:
        _check_columns(source.schema_arrow.names)
        return source.read(columns=["row", "score"])


def _read_csv(predictions: bytes) -> pa.Table:
    """Ids are read as text: whether `007` is a number is decided by the type they have in the data."""
    import pyarrow as pa
    import pyarrow.csv as pc

    try:
        first = predictions.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0].decode()
    except UnicodeDecodeError as error:
        raise StepError("the predictions are neither CSV nor Parquet", _CONTRACT) from error
    _check_columns(next(csv.reader([first.rstrip("\r")])))
    return pc.read_csv(
        io.BytesIO(predictions),
        parse_options=pc.ParseOptions(newlines_in_values=True),
        convert_options=pc.ConvertOptions(
            include_columns=["row", "score"], column_types={"row": pa.string(), "score": pa.string()}
        ),
    )


def _check_columns(names: Sequence[str]) -> None:
    for wanted in ("row", "score"):
        if names.count(wanted) != 1:
            near = difflib.get_close_matches(wanted, names, 1)
            hint = f"is {near[0]!r} meant to be it?" if near else _CONTRACT
            count = "several columns" if names.count(wanted) else "no column"
            raise StepError(f"the predictions have {count} {wanted!r}, they have {', '.join(names)}", hint)


def _ids(given: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    if pa.types.is_dictionary(given.type):
        given = given.cast(given.type.value_type)
    if given.null_count:
        raise StepError(f"{given.null_count:,} of {len(given):,} predictions have no row", _CONTRACT)
    try:
        return given.cast(kind).combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        some = ", ".join(repr(value) for value in given[:_SHOWN].to_pylist())
        raise StepError(
            f"the predictions' rows are not like the data's, which are {kind}; they begin {some}", _CONTRACT
        ) from error


def _check(given: pa.Array, ids: pa.Array) -> None:
    import pyarrow.compute as pc

    faults = []
    missing = ids.filter(pc.invert(pc.is_in(ids, value_set=given)))
    if len(missing):
        faults.append(f"{len(missing):,} of {len(ids):,} holdout rows have no score ({_few(missing)})")
    extra = given.filter(pc.invert(pc.is_in(given, value_set=ids)))
    if len(extra):
        faults.append(f"{len(extra):,} of {len(given):,} predictions are for rows outside the holdout ({_few(extra)})")
    if pc.count_distinct(given).as_py() != len(given):
        counts = pc.value_counts(given)
        twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
        faults.append(f"{len(twice):,} of {len(counts):,} rows are predicted more than once ({_few(twice)})")
    if faults:
        raise StepError("the predictions do not fit the holdout: " + "; ".join(faults), _CONTRACT)


def _numbers(scores: pa.ChunkedArray) -> pa.Array:
    """Scores as float64; what is no number becomes null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(scores.type):
        scores = scores.cast(scores.type.value_type)
    if pa.types.is_string(scores.type) or pa.types.is_large_string(scores.type):
        texts = pc.ascii_trim_whitespace(scores)
        number = pc.match_substring_regex(texts, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
        scores = pc.if_else(number, texts, None)
    if pa.types.is_boolean(scores.type):
        scores = scores.cast(pa.int8())
    try:
        return scores.cast(pa.float64(), safe=False).combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise StepError(f"the scores are {scores.type}, not numbers", _CONTRACT) from error


def _check_finite(scores: pa.Array, ids: pa.Array) -> None:
    import pyarrow.compute as pc

    wrong = ids.filter(pc.invert(pc.fill_null(pc.is_finite(scores), False)))
    if len(wrong):
        said = f"{len(wrong):,} of {len(ids):,} scores are missing, NaN, infinite or no numbers"
        raise StepError(f"{said} (rows {_few(wrong)})", "a score is one finite number")


def _few(values: pa.Array) -> str:
    named = ", ".join(str(value) for value in values[:_SHOWN].to_pylist())
    return named + (", …" if len(values) > _SHOWN else "")
