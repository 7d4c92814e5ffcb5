"""The split: training never sees holdout rows, evaluation never sees labels."""

from __future__ import annotations

import datetime
import gzip
import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from mawasu.data.split import SplitReport, split
from mawasu.errors import StepError
from mawasu.spec.feature import DataSet, DataSource, Holdout

CSV = '''id,month,called,gender,note
a1,9,0,f,"one, two"
a2,10,1,m,"say ""hi"""
a3,11,1,f,
a4,12,0,m,"two
lines"
a5,11,1,f, spaced
'''


def _data(holdout: Holdout | None = None, **changes: Any) -> DataSet:
    fields: dict[str, Any] = {"name": "resumes", "source": DataSource(files=("x",)), "label": "called", "row": "id"}
    chosen = holdout or Holdout(column="month", among=(11, 12))
    return DataSet(**(fields | {"holdout": chosen} | changes))


def _split(tmp_path: Path, files: Mapping[str, str | bytes], data: DataSet, *slices: str) -> SplitReport:
    for name, content in files.items():
        path = tmp_path / "snapshot" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return split(tmp_path / "snapshot", data, tmp_path / "out", slices)


def _labels(tmp_path: Path) -> dict[str, list[Any]]:
    found = pyarrow.parquet.read_table(tmp_path / "out" / "labels" / "labels.parquet").to_pydict()
    return {str(name): values for name, values in found.items()}


def _refused(tmp_path: Path, text: str, data: DataSet | None = None) -> StepError:
    with pytest.raises(StepError) as caught:
        _split(tmp_path, {"r.csv": text}, data or _data())
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    return caught.value


def _parquet(columns: dict[str, Any], rows_in_a_group: int = 2) -> bytes:
    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(pa.table(columns), sink, row_group_size=rows_in_a_group)
    content: bytes = sink.getvalue().to_pybytes()
    return content


# ---------------------------------------------------------------------------------------------------- what comes out


def test_rows_stay_byte_for_byte_and_the_label_is_cut_out_of_what_evaluation_sees(tmp_path: Path) -> None:
    report = _split(tmp_path, {"resumes.csv": CSV}, _data(), "gender")
    assert (tmp_path / "out/train/resumes.csv").read_text() == (
        'id,month,called,gender,note\na1,9,0,f,"one, two"\na2,10,1,m,"say ""hi"""\n'
    )
    assert (tmp_path / "out/evaluate/resumes.csv").read_text() == (
        'id,month,gender,note\na3,11,f,\na4,12,m,"two\nlines"\na5,11,f, spaced\n'
    )
    expected = {"row": ["a3", "a4", "a5"], "label": [1.0, 0.0, 1.0], "slice.gender": ["f", "m", "f"]}
    assert _labels(tmp_path) == expected
    assert report == SplitReport(train=2, holdout=3, files=1)


@pytest.mark.parametrize("among", [("11", "12"), (11.0, 12.0), (12, "11", 11), ("011", 12)])
def test_holdout_values_are_read_as_what_the_column_holds(tmp_path: Path, among: tuple[Any, ...]) -> None:
    _split(tmp_path, {"r.csv": CSV}, _data(Holdout(column="month", among=among)))
    assert _labels(tmp_path)["row"] == ["a3", "a4", "a5"]


@pytest.mark.parametrize(
    ("cells", "among", "held"),
    [
        (["x1", "2", "3"], (2, "3"), [1, 2]),
        (["true", "false", "true"], (True,), [0, 2]),
        (["2013-11-01", "2013-12-01", "2013-10-01"], (datetime.date(2013, 11, 1),), [0]),
        (["2013-11-01 10:00:00", "2013-12-01 00:00:00", "2013-12-02 00:00:00"], ("2013-12-01",), [1]),
        (["0.5", "1", "2"], (1, 0.5), [0, 1]),
    ],
)
def test_a_holdout_column_may_hold_text_truth_dates_and_numbers(
    tmp_path: Path, cells: list[str], among: tuple[Any, ...], held: list[int]
) -> None:
    text = "id,month,called\n" + "".join(f"{at},{cell},1\n" for at, cell in enumerate(cells))
    _split(tmp_path, {"r.csv": text}, _data(Holdout(column="month", among=among)))
    assert _labels(tmp_path)["row"] == held


def test_gzipped_csv_and_parquet_keep_their_names_and_formats(tmp_path: Path) -> None:
    table = {"id": ["p1", "p2", "p3"], "month": [10, 11, 12], "called": [True, False, True], "extra": [[1], [], None]}
    files = {"in/a.csv.gz": gzip.compress(CSV.encode()), "b.parquet": _parquet(table)}
    report = _split(tmp_path, files, _data())
    assert report == SplitReport(train=3, holdout=5, files=2)
    assert gzip.decompress((tmp_path / "out/evaluate/in/a.csv.gz").read_bytes()).startswith(b"id,month,gender,note\n")
    train = pyarrow.parquet.read_table(tmp_path / "out/train/b.parquet")
    assert train.to_pydict() == {"id": ["p1"], "month": [10], "called": [True], "extra": [[1]]}
    seen = pyarrow.parquet.read_table(tmp_path / "out/evaluate/b.parquet")
    assert seen.to_pydict() == {"id": ["p2", "p3"], "month": [11, 12], "extra": [[], None]}
    assert _labels(tmp_path) == {"row": ["p2", "p3", "a3", "a4", "a5"], "label": [0.0, 1.0, 1.0, 0.0, 1.0]}


def test_dictionary_encoded_columns_of_parquet_work_as_their_values(tmp_path: Path) -> None:
    month = pa.array(["sep", "nov", "sep"]).dictionary_encode()
    files = {"a.parquet": _parquet({"id": [1, 2, 3], "month": month, "called": [0, 1, 0]})}
    _split(tmp_path, files, _data(Holdout(column="month", among=("nov",))), "month")
    assert _labels(tmp_path) == {"row": [2], "label": [1.0], "slice.month": ["nov"]}


def test_files_whose_columns_differ_in_type_are_brought_together(tmp_path: Path) -> None:
    files = {
        "a.csv": "id,month,called\n1,11,0\n2,9,1\n",
        "b.csv": "id,month,called\nx3,11,0.5\n",
        "c.csv": "id,month,called\n",
    }
    _split(tmp_path, files, _data())
    assert _labels(tmp_path) == {"row": ["1", "x3"], "label": [0.0, 0.5]}
    assert (tmp_path / "out/train/b.csv").read_text() == "id,month,called\n"


def test_windows_line_ends_a_byte_order_mark_and_a_missing_last_line_end_are_fine(tmp_path: Path) -> None:
    text = "\ufeffcalled,month,id\r\n1,11,a\r\n\r\n0,9,b\r\n0,11,c"
    _split(tmp_path, {"r.csv": text}, _data())
    assert (tmp_path / "out/evaluate/r.csv").read_bytes() == b"month,id\r\n11,a\r\n11,c"
    assert (tmp_path / "out/train/r.csv").read_bytes() == b"called,month,id\r\n0,9,b\r\n"


def test_the_same_snapshot_gives_the_same_bytes(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"a.csv.gz": gzip.compress(CSV.encode()), "b.csv": CSV.replace("\na", "\nb")}
    digests = []
    for run in ("one", "two"):
        (tmp_path / run).mkdir()
        _split(tmp_path / run, files, _data(), "gender")
        written = sorted(path for path in (tmp_path / run / "out").rglob("*") if path.is_file())
        digests.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in written])
    assert digests[0] == digests[1]
    assert len(digests[0]) == 5


def test_missing_slice_values_are_a_slice_of_their_own(tmp_path: Path) -> None:
    _split(tmp_path, {"r.csv": CSV.replace("a5,11,1,f", "a5,11,1,")}, _data(), "gender", "month")
    assert _labels(tmp_path)["slice.gender"] == ["f", "m", "(missing)"]
    assert _labels(tmp_path)["slice.month"] == ["11", "12", "11"]


def test_without_a_holdout_training_sees_everything(tmp_path: Path) -> None:
    _split(tmp_path, {"a/picture.png": b"\x89PNG", "r.csv": CSV}, msgspec.structs.replace(_data(), holdout=None))
    assert (tmp_path / "out/train/a/picture.png").read_bytes() == b"\x89PNG"
    assert (tmp_path / "out/train/r.csv").read_text() == CSV
    assert not (tmp_path / "out/evaluate").exists()


# ---------------------------------------------------------------------------------------------------- by fraction


def _held_by_fraction(tmp_path: Path, fraction: float, rows: list[int], key: str | None = None) -> set[int]:
    out = tmp_path / f"{fraction}-{len(rows)}-{key}"
    out.mkdir()
    text = "id,person,called\n" + "".join(f"{row},{row // 4},1\n" for row in rows)
    _split(out, {"r.csv": text}, _data(Holdout(fraction=fraction, key=key)))
    return set(_labels(out)["row"])


def test_a_fraction_holds_out_about_so_many_rows_and_the_documented_ones(tmp_path: Path) -> None:
    held = _held_by_fraction(tmp_path, 0.2, list(range(2000)))
    assert 320 < len(held) < 480
    by_hand = {n for n in range(2000) if int(hashlib.sha256(str(n).encode()).hexdigest()[:16], 16) < 0.2 * 2**64}
    assert held == by_hand


def test_a_row_stays_on_its_side_when_rows_come_and_the_fraction_grows(tmp_path: Path) -> None:
    small = _held_by_fraction(tmp_path, 0.2, list(range(500)))
    assert _held_by_fraction(tmp_path, 0.2, list(range(999, -1, -1))) & set(range(500)) == small
    assert small < _held_by_fraction(tmp_path, 0.5, list(range(500)))


def test_rows_with_the_same_key_are_on_the_same_side(tmp_path: Path) -> None:
    held = _held_by_fraction(tmp_path, 0.3, list(range(400)), key="person")
    assert held == {row for person in {row // 4 for row in held} for row in range(4 * person, 4 * person + 4)}


def test_rows_without_the_key_are_refused(tmp_path: Path) -> None:
    error = _refused(tmp_path, "id,p,called\n1,5,1\n2,,1\n3,,1\n", _data(Holdout(fraction=0.5, key="p")))
    assert "column 'p', by which the holdout is chosen, is empty in 2 of 3 rows" in error.message


# ---------------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"holdout": Holdout(column="mnth", among=(1,))}, "no column 'mnth' (data.resumes.holdout.column)", "'month'"),
        ({"label": "caled"}, "r.csv has no column 'caled' (data.resumes.label)", "did you mean 'called'?"),
        ({"row": "zzz"}, "r.csv has no column 'zzz' (data.resumes.row)", "id, month, called, gender, note"),
        ({"holdout": Holdout(fraction=0.5, key="prsn")}, "no column 'prsn' (data.resumes.holdout.key)", "columns are"),
        ({"row": None}, "has a holdout but no row", "tells rows apart"),
        ({"label": None, "row": None}, "has a holdout but no row and label", "tells rows apart"),
    ],
)
def test_a_column_that_is_not_there_is_named_with_the_nearest(
    tmp_path: Path, changes: dict[str, Any], message: str, hint: str
) -> None:
    error = _refused(tmp_path, CSV, _data(**changes))
    assert message in error.message
    assert hint in error.hint


def test_an_unknown_slice_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"no column 'gendr' \(evaluation.gate.slices\).*did you mean 'gender'"):
        _split(tmp_path, {"r.csv": CSV}, _data(), "gendr")


def test_a_holdout_of_no_row_or_of_every_row_is_refused(tmp_path: Path) -> None:
    error = _refused(tmp_path, CSV, _data(Holdout(column="month", among=(1, 2))))
    assert "(month in [1, 2]) is none of its 5 rows" in error.message
    assert "'month' holds 9, 10, 11, 12" in error.hint
    error = _refused(tmp_path, CSV, _data(Holdout(column="month", among=(9, 10, 11, 12))))
    assert "is all of its 5 rows" in error.message


def test_a_holdout_value_that_the_column_cannot_hold_is_refused(tmp_path: Path) -> None:
    error = _refused(tmp_path, CSV, _data(Holdout(column="month", among=("november",))))
    assert "'november' cannot be a value of column 'month'" in error.message
    assert "int64, such as 9" in error.hint


def test_a_row_id_that_comes_twice_is_refused_with_both_places(tmp_path: Path) -> None:
    error = _refused(tmp_path, CSV.replace("a5", "a2"))
    assert "1 of 5 rows repeat the id of another: 'a2' is on r.csv line 3 and r.csv line 7" in error.message


def test_a_missing_row_id_is_refused_with_its_line(tmp_path: Path) -> None:
    assert "column 'id' holds no id in 1 of 5 rows: r.csv line 7" in _refused(tmp_path, CSV.replace("a5", "")).message


def test_a_holdout_row_without_a_label_is_refused_with_its_line(tmp_path: Path) -> None:
    error = _refused(tmp_path, CSV.replace("a5,11,1", "a5,11,NA").replace("a3,11,1", "a3,11,"))
    assert "column 'called' holds no label in 2 of 3 holdout rows: r.csv line 4, r.csv line 7" in error.message


def test_a_training_row_without_a_label_is_the_users_own_business(tmp_path: Path) -> None:
    _split(tmp_path, {"r.csv": CSV.replace("a1,9,0", "a1,9,")}, _data())
    assert _labels(tmp_path)["label"] == [1.0, 0.0, 1.0]


def test_a_parquet_label_that_is_nan_is_refused_with_its_row(tmp_path: Path) -> None:
    columns = {"id": [1, 2, 3], "month": [9, 11, 11], "called": [1.0, 0.0, math.nan]}
    with pytest.raises(StepError, match=r"holds no label in 1 of 2 holdout rows: a\.parquet row 3"):
        _split(tmp_path, {"a.parquet": _parquet(columns)}, _data())


def test_labels_that_are_words_are_refused(tmp_path: Path) -> None:
    error = _refused(tmp_path, CSV.replace(",1,f", ",yes,f"))
    assert "r.csv line 4: label 'yes' in column 'called' is no number" in error.message
    assert "0 and 1" in error.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CSV.replace("a5,11,1,f, spaced", "a5,11,1"), "r.csv line 7: 3 fields, the header has 5"),
        (CSV.replace('lines"', "lines"), "r.csv line 5: a quote is opened and never closed"),
        ("", "r.csv is empty"),
        ("id,month,called,called\n1,11,1,1\n", "r.csv has 2 columns 'called'"),
    ],
)
def test_csv_that_cannot_be_read_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    assert message in _refused(tmp_path, text).message


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.csv", b"id,m\xe9nth\n1,2\n", "r.csv line 1: the header is not UTF-8"),
        ("r.csv", b"id,month,called\n\xe9,11,1\n", "r.csv: column 'id' is not UTF-8"),
        ("r.parquet", b"PAR1 no more", "r.parquet cannot be read"),
        ("r.csv.gz", b"no gzip", "r.csv.gz cannot be read"),
        ("r.xlsx", b"PK", "r.xlsx is no table"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(StepError) as caught:
        _split(tmp_path, {name: content}, _data())
    assert message in caught.value.message
    assert "\n" not in str(caught.value)


def test_a_gzipped_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress((CSV + "".join(f"c{n},9,1,f,{n}\n" for n in range(20000))).encode())
    with pytest.raises(StepError, match=r"r\.csv\.gz cannot be read"):
        _split(tmp_path, {"r.csv.gz": whole[: len(whole) // 2]}, _data())
