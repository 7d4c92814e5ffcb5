"""CSV as bytes: where records end, and cutting out one column."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mawasu.data import csvfile
from mawasu.errors import StepError

TABLES = st.lists(st.lists(st.text(alphabet='ab ,"\n;é', max_size=6), min_size=3, max_size=3), min_size=1, max_size=8)


def _written(rows: list[list[str]], end: str, quoting: int) -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator=end, quoting=quoting).writerows(rows)  # type: ignore[arg-type]
    return file.getvalue().encode()


def _parsed(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


@settings(deadline=None)
@given(TABLES, st.sampled_from(["\n", "\r\n"]), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_records_and_fields_are_those_the_writer_wrote(rows: list[list[str]], end: str, quoting: int) -> None:
    data = _written(rows, end, quoting)
    found = [record for _, record in csvfile.records(io.BytesIO(data))]
    assert b"".join(found) == data
    assert [[csvfile.text_of(field) for field in csvfile.fields(record)] for record in found] == rows
    assert [record for some in csvfile.batches(io.BytesIO(data)) for record in some] == found


@settings(deadline=None)
@given(TABLES, st.integers(0, 2), st.sampled_from(["\n", "\r\n"]))
def test_a_column_is_cut_out_and_the_others_stay_as_they_are(rows: list[list[str]], index: int, end: str) -> None:
    data = _written(rows, end, csv.QUOTE_MINIMAL)
    cut = b"".join(csvfile.without(record, index) for _, record in csvfile.records(io.BytesIO(data)))
    assert _parsed(cut) == [[field for at, field in enumerate(row) if at != index] for row in rows]


def test_a_record_is_numbered_by_its_first_line() -> None:
    data = b'a,b\n\n1,"x\n\ny"\r\n\r\n2,z'
    numbered = list(csvfile.records(io.BytesIO(data)))
    assert numbered == [(1, b"a,b\n"), (3, b'1,"x\n\ny"\r\n'), (7, b"2,z")]


def test_a_quote_within_an_unquoted_field_is_just_a_character() -> None:
    record = b'5" pipe,"a ""b"", c",x\n'
    assert list(csvfile.records(io.BytesIO(record))) == [(1, record)]
    assert csvfile.fields(record) == [b'5" pipe', b'"a ""b"", c"', b"x"]


@pytest.mark.parametrize("rest", [b"", b"1,2\n" * 500_000])
def test_a_quote_that_is_never_closed_is_found_without_reading_on_for_ever(rest: bytes) -> None:
    with pytest.raises(StepError, match="line 2: a quote is opened and never closed"):
        list(csvfile.records(io.BytesIO(b'a,b\n1,"2\n' + rest)))


@pytest.mark.parametrize("held", [[True], [True, False, True]])
def test_a_file_whose_rows_were_counted_differently_is_not_split(tmp_path: Path, held: list[bool]) -> None:
    path = tmp_path / "r.csv"
    path.write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(StepError, match="not clear where its rows end"):
        csvfile.split(path, "r.csv", held, tmp_path / "train.csv", tmp_path / "evaluate.csv", 1)
