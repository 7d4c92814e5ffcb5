"""The tables of a snapshot (CSV, gzipped CSV, Parquet): finding them, reading a few columns, splitting their rows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mawasu.data import csvfile
from mawasu.errors import StepError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

ENDINGS = (".csv", ".csv.gz", ".parquet")


@dataclass(frozen=True)
class TableFile:
    """One table: where it lies, and its `/`-separated name in the snapshot."""

    path: Path
    name: str

    @property
    def is_parquet(self) -> bool:
        return self.name.endswith(".parquet")

    def place(self, row: int) -> str:
        """Where a person finds row number `row` (from 0)."""
        if self.is_parquet:
            return f"{self.name} row {row + 1}"
        return f"{self.name} line {csvfile.line_of(self.path, row)}"


def find(root: Path, data: str) -> tuple[TableFile, ...]:
    """All files below `root`, by name. Raises StepError when there are none, or one that is not a table."""
    paths = sorted((path.relative_to(root).as_posix(), path) for path in root.rglob("*") if path.is_file())
    for name, _ in paths:
        if not name.endswith(ENDINGS):
            hint = f"tables end in {', '.join(ENDINGS)}; for other data declare a separate data set as holdout"
            raise StepError(f"data set {data}: {name} is no table, so no rows can be held out of it", hint)
    if not paths:
        raise StepError(f"data set {data} holds no file", "look at its source in mawasu.yaml")
    return tuple(TableFile(path, name) for name, path in paths)


def column_names(file: TableFile) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return list(pq.read_schema(file.path).names) if file.is_parquet else csvfile.header(file.path, file.name)
    except csvfile.DAMAGED as error:
        raise _unreadable(file, error) from error
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from error


def index_of(column: str, names: Sequence[str], file: TableFile, where: str) -> int:
    """The column's number (from 0). Raises StepError for none or several; `where` is its key in mawasu.yaml."""
    count = names.count(column)
    if count == 1:
        return names.index(column)
    if count:
        raise StepError(f"{file.name} has {count} columns {column!r}", "give every column its own name")
    near = difflib.get_close_matches(column, names, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"its columns are {', '.join(names)}"
    raise StepError(f"{file.name} has no column {column!r} ({where})", hint)


def read(file: TableFile, columns: Iterable[str]) -> pa.Table:
    """These columns of all rows. Types of CSV columns are inferred from all their values."""
    import pyarrow as pa

    wanted = list(dict.fromkeys(columns))
    try:
        table = _read_parquet(file, wanted) if file.is_parquet else _read_csv(file, wanted)
    except (pa.ArrowException, OSError) as error:
        raise (None if file.is_parquet else csvfile.fault(file.path, file.name)) or _unreadable(file, error) from error
    return pa.table({name: _plain(table.column(name), name, file) for name in wanted})


def _read_csv(file: TableFile, columns: list[str]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.csv as pc

    with pa.input_stream(str(file.path), compression="gzip" if file.name.endswith(".gz") else None) as stream:
        return pc.read_csv(
            stream,
            parse_options=pc.ParseOptions(newlines_in_values=True),
            convert_options=pc.ConvertOptions(include_columns=columns),
        )


def _read_parquet(file: TableFile, columns: list[str]) -> pa.Table:
    import pyarrow.parquet as pq

    with pq.ParquetFile(file.path) as source:
        return source.read(columns=columns)


def _plain(column: pa.ChunkedArray, name: str, file: TableFile) -> pa.ChunkedArray:
    """Dictionary-encoded columns as their values; refuses what has no plain text form."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        raise StepError(f"{file.name}: column {name!r} is not UTF-8 text", "save the file as UTF-8")
    if pa.types.is_nested(column.type):
        raise StepError(f"{file.name}: column {name!r} holds {column.type}, not one value a row", "use a plain column")
    return column


def together(tables: Sequence[pa.Table]) -> pa.Table:
    """One table of all rows. A column with different types in different files becomes numbers if all are, else text."""
    import pyarrow as pa

    columns = {}
    for name in tables[0].column_names:
        parts = [table.column(name) for table in tables]
        kinds = {part.type for part in parts if not pa.types.is_null(part.type)}
        kind = kinds.pop() if len(kinds) == 1 else _common(kinds)
        columns[name] = pa.chunked_array([chunk for part in parts for chunk in part.cast(kind).chunks], kind)
    return pa.table(columns)


def _common(kinds: set[pa.DataType]) -> pa.DataType:
    import pyarrow as pa

    if not kinds:
        return pa.null()
    if all(pa.types.is_integer(kind) or pa.types.is_boolean(kind) for kind in kinds):
        return pa.int64()
    if all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in kinds):
        return pa.float64()
    return pa.string()


def split(file: TableFile, held: NDArray[np.bool_], train: Path, evaluate: Path, withheld: str) -> None:
    """Write the file's rows under its name below `train`, or, where `held`, without a column below `evaluate`."""
    if file.is_parquet:
        _split_parquet(file, held, train / file.name, evaluate / file.name, withheld)
        return
    index = column_names(file).index(withheld)
    csvfile.split(file.path, file.name, held.tolist(), train / file.name, evaluate / file.name, index)


def _split_parquet(file: TableFile, held: NDArray[np.bool_], train: Path, evaluate: Path, withheld: str) -> None:
    """One row group at a time, so that memory holds no more than the writer of the file chose to put in one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in (train, evaluate):
        path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetFile(file.path) as source:
        schema = source.schema_arrow
        fewer = schema.remove(schema.get_field_index(withheld))
        with pq.ParquetWriter(train, schema) as kept, pq.ParquetWriter(evaluate, fewer) as seen:
            start = 0
            for number in range(source.num_row_groups):
                group = source.read_row_group(number)
                out = held[start : start + group.num_rows]
                start += group.num_rows
                kept.write_table(group.filter(pa.array(~out)))
                seen.write_table(group.filter(pa.array(out)).drop_columns([withheld]))


def _unreadable(file: TableFile, error: Exception) -> StepError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return StepError(f"{file.name} cannot be read: {reason}", f"is it a complete {file.name.rpartition('.')[2]} file?")
