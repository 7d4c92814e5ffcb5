"""Predictions joined to labels: what fits is aligned, what does not is refused with how many and which."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from mawasu.data.predictions import join
from mawasu.errors import StepError

LABELS = pa.table({"row": [10, 20, 30], "label": [1.0, 0.0, 1.0], "slice.gender": ["f", "m", "f"]})
NAMES = pa.table({"row": ["007", "08", "x"], "label": [1.0, 0.0, 1.0]})


def _parquet(columns: dict[str, Any]) -> bytes:
    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(pa.table(columns), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _refused(predictions: bytes, labels: pa.Table = LABELS) -> str:
    with pytest.raises(StepError) as caught:
        join(labels, predictions)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    return caught.value.message


def test_scores_are_put_in_the_order_of_the_labels() -> None:
    scores = join(LABELS, b"row,score\n30,0.3\n10,0.1\n20,2e-1\n", ("gender",))
    assert scores.row.tolist() == [10, 20, 30]
    assert scores.score.tolist() == [0.1, 0.2, 0.3]
    assert scores.label.tolist() == [1.0, 0.0, 1.0]
    assert scores.slices["gender"].tolist() == ["f", "m", "f"]
    assert (scores.score.dtype.name, scores.label.dtype.name) == ("float64", "float64")


def test_parquet_is_told_from_csv_by_its_content() -> None:
    columns = {
        "score": pa.array([3, 1, 2], pa.float32()),
        "row": pa.array([30, 10, 20], pa.uint8()),
        "why": ["", "", ""],
    }
    assert join(LABELS, _parquet(columns)).score.tolist() == [1.0, 2.0, 3.0]


def test_ids_are_compared_as_what_they_are_in_the_data() -> None:
    assert join(NAMES, b"row,score\nx,3\n08,2\n007,1\n").score.tolist() == [1.0, 2.0, 3.0]
    assert join(LABELS, _parquet({"row": ["10", "20", "30"], "score": [1.0, 2.0, 3.0]})).score.tolist() == [1, 2, 3]
    coded = pa.array(["x", "08", "007"]).dictionary_encode()
    assert join(NAMES, _parquet({"row": coded, "score": [3.0, 2.0, 1.0]})).score.tolist() == [1.0, 2.0, 3.0]


def test_quotes_windows_line_ends_and_a_byte_order_mark_are_fine() -> None:
    csv = b'\xef\xbb\xbf"row","why","score"\r\n"10","a,b","1"\r\n20,, 2 \r\n30,"\n",3\r\n'
    assert join(LABELS, csv).score.tolist() == [1.0, 2.0, 3.0]


def test_classes_given_as_truth_values_are_zero_and_one() -> None:
    assert join(LABELS, _parquet({"row": [10, 20, 30], "score": [True, False, True]})).score.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("csv", "message"),
    [
        (b"row,score\n10,1\n", "2 of 3 holdout rows have no score (20, 30)"),
        (b"row,score\n", "3 of 3 holdout rows have no score (10, 20, 30)"),
        (b"row,score\n10,1\n20,1\n30,1\n40,1\n", "1 of 4 predictions are for rows outside the holdout (40)"),
        (b"row,score\n10,1\n20,1\n30,1\n20,1\n", "1 of 3 rows are predicted more than once (20)"),
        (
            b"row,score\n10,1\n10,1\n40,1\n",
            "20, 30); 1 of 3 predictions are for rows outside the holdout (40); 1 of 2 rows",
        ),
        (b"row,score\n10,1\n20,nan\n30,inf\n", "2 of 3 scores are missing, NaN, infinite or no numbers (rows 20, 30)"),
        (b"row,score\n10,\n20,NA\n30,high\n", "3 of 3 scores are missing"),
        (b"row,score\n10,1e999\n20,-0x1\n30,1\n", "2 of 3 scores are missing"),
        (
            b"row,score\na,1\nb,1\nc,1\n",
            "the predictions' rows are not like the data's, which are int64; they begin 'a'",
        ),
        (b"row,score\n,1\n20,1\n30,1\n", "rows are not like the data's"),
        (b"row,scores\n10,1\n", "no column 'score', they have row, scores"),
        (b"id,score\n10,1\n", "no column 'row'"),
        (b"row,score,score\n10,1,1\n", "several columns 'score'"),
        (b"row,score\n10\n", "the predictions cannot be read"),
        (b"", "the predictions are empty"),
        (b"\n\n", "the predictions are empty"),
        (b"\x80\x04pickle\n", "neither CSV nor Parquet"),
        (b"PAR1 and then nothing", "the predictions cannot be read"),
    ],
)
def test_csv_that_does_not_fit_is_refused(csv: bytes, message: str) -> None:
    assert message in _refused(csv)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"row": [10, 20, 30], "score": [1.0, math.nan, None]}, "2 of 3 scores are missing, NaN"),
        ({"row": [10, 20, None], "score": [1.0, 2.0, 3.0]}, "1 of 3 predictions have no row"),
        ({"row": [10.5, 20, 30], "score": [1.0, 2.0, 3.0]}, "rows are not like the data's"),
        ({"row": [10, 20, 30], "score": [[1.0], [2.0], [3.0]]}, "not numbers"),
        ({"row": [[10], [20], [30]], "score": [1.0, 2.0, 3.0]}, "rows are not like the data's"),
    ],
)
def test_parquet_that_does_not_fit_is_refused(columns: dict[str, Any], message: str) -> None:
    assert message in _refused(_parquet(columns))


def test_only_the_first_few_of_many_rows_are_named() -> None:
    labels = pa.table({"row": list(range(2000)), "label": [0.0] * 2000})
    assert "2,000 of 2,000 holdout rows have no score (0, 1, 2, …)" in _refused(b"row,score\n", labels)


def test_a_slice_the_labels_were_not_split_with_is_refused() -> None:
    with pytest.raises(StepError, match="without the slice column 'age'"):
        join(LABELS, b"row,score\n10,1\n20,1\n30,1\n", ("age",))
