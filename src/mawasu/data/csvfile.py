"""CSV as bytes: rows are passed on as they stand (quotes, digits, spaces), only a withheld column is cut out.

The dialect is RFC 4180: comma, `"` around fields that hold commas, quotes or line ends, one header line; lines may
end in LF or CRLF. Blank lines are no rows. Which values the columns hold is pyarrow's business, in `tables.py`.
"""

from __future__ import annotations

import gzip
import io
import itertools
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, cast

from mawasu.errors import StepError

DAMAGED = (gzip.BadGzipFile, EOFError, zlib.error)
"""What reading a gzipped file raises when it is none, was cut off, or has flipped bits."""

_BATCH = 2**18  # bytes of lines handled at once
_LONGEST = 2**20  # bytes in one row; beyond it a quote was surely never closed


def open_to_read(path: Path) -> IO[bytes]:
    if path.name.endswith(".gz"):
        return cast(IO[bytes], io.BufferedReader(cast(io.RawIOBase, gzip.open(path, "rb")), 2**18))
    return path.open("rb", 2**18)


def open_to_write(path: Path) -> IO[bytes]:
    """The same rows give the same bytes: no time and no name in gzip's header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith(".gz"):
        packed = _Packed(path)
        return cast(IO[bytes], io.BufferedWriter(cast(io.RawIOBase, packed), 2**18))
    return path.open("wb", 2**18)


class _Packed(gzip.GzipFile):
    """Closes the file below it, which `GzipFile(fileobj=…)` leaves open."""

    def __init__(self, path: Path) -> None:
        self._below = path.open("wb")
        super().__init__(filename="", fileobj=self._below, mode="wb", compresslevel=4, mtime=0)

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._below.close()


def records(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Every record with its line end and the number of its first line (from 1), the header first.

    Raises StepError (without a file's name) for a quote that is never closed.
    """
    start, size = 0, 0
    held: list[bytes] = []
    for number, line in enumerate(lines, 1):
        odd = line.count(b'"') & 1
        if not held:
            if not odd:
                if line not in (b"\n", b"\r\n"):
                    yield number, line
                continue
            start, size = number, 0
        held.append(line)
        size += len(line)
        if odd and not _scan(b"".join(held))[1]:
            yield start, b"".join(held)
            held = []
        elif size > _LONGEST:
            break
    if held:
        raise StepError(f"line {start}: a quote is opened and never closed", 'write a quote inside a field as ""')


def fields(record: bytes) -> list[bytes]:
    """The fields of a record as they stand, quotes included, line end left out."""
    return _scan(record)[0]


def text_of(field: bytes) -> str:
    """What a field says. Raises UnicodeDecodeError when it is not UTF-8."""
    if len(field) > 1 and field.startswith(b'"') and field.endswith(b'"'):
        field = field[1:-1].replace(b'""', b'"')
    return field.decode()


def without(record: bytes, index: int) -> bytes:
    """The record with its field number `index` (from 0) cut out."""
    body = record.rstrip(b"\r\n")
    kept = _scan(body)[0] if b'"' in body else body.split(b",")
    del kept[index]
    return b",".join(kept) + record[len(body) :]


def _scan(record: bytes) -> tuple[list[bytes], bool]:
    """Fields, and whether the last one's quote is still open. A quote matters only where it begins a field."""
    pieces = record.rstrip(b"\r\n").split(b",")
    if b'"' not in record:
        return pieces, False
    found: list[bytes] = []
    pending: list[bytes] = []
    quotes = 0
    for piece in pieces:
        if pending or piece.startswith(b'"'):
            pending.append(piece)
            quotes += piece.count(b'"')
            if quotes & 1:
                continue
            piece, quotes, pending = b",".join(pending), 0, []
        found.append(piece)
    return found + pending, bool(pending)


def header(path: Path, shown: str) -> list[str]:
    """The names of the columns. Raises StepError for an empty file, or one that is not UTF-8."""
    with open_to_read(path) as file:
        try:
            _, first = next(records(file), (0, b""))
            names = [text_of(field) for field in fields(first.removeprefix(b"\xef\xbb\xbf"))]
        except UnicodeDecodeError as error:
            raise StepError(f"{shown} line 1: the header is not UTF-8", "save the file as UTF-8") from error
        except StepError as error:
            raise StepError(f"{shown} {error.message}", error.hint) from error
    if not first:
        raise StepError(f"{shown} is empty", "a CSV file begins with a line of column names")
    return names


def fault(path: Path, shown: str) -> StepError | None:
    """The first record whose number of fields is not the header's, or an open quote; None if no line is at fault."""
    expected = 0
    with open_to_read(path) as file:
        try:
            for number, record in records(file):
                count = len(fields(record))
                expected = expected or count
                if count != expected:
                    hint = "put fields that hold commas in quotes"
                    return StepError(f"{shown} line {number}: {count} fields, the header has {expected}", hint)
        except StepError as error:
            return StepError(f"{shown} {error.message}", error.hint)
        except DAMAGED:
            return None
    return None


def line_of(path: Path, row: int) -> int:
    """The line on which row number `row` (from 0, the header is none) begins."""
    with open_to_read(path) as file:
        for count, (number, _) in enumerate(records(file), -1):
            if count == row:
                return number
    return 0


def batches(file: IO[bytes]) -> Iterator[list[bytes]]:
    """All records, many at a time. Until a line opens a quote and leaves it open, every line is a record."""
    while lines := file.readlines(_BATCH):
        if b'"' in b"".join(lines) and any(line.count(b'"') & 1 for line in lines):
            rows = (record for _, record in records(itertools.chain(lines, file)))
            while some := list(itertools.islice(rows, 4096)):
                yield some
            return
        yield [line for line in lines if line not in (b"\n", b"\r\n")] if _has_blank(lines) else lines


def _has_blank(lines: list[bytes]) -> bool:
    return b"\n" in lines or b"\r\n" in lines


def split(path: Path, shown: str, held: Sequence[bool], train: Path, evaluate: Path, withheld: int) -> None:
    """Rows go to `evaluate`, without column number `withheld`, where `held` is true, and whole to `train` elsewhere."""
    start = 0
    with open_to_read(path) as file, open_to_write(train) as kept, open_to_write(evaluate) as seen:
        first = next(records(file))[1].removeprefix(b"\xef\xbb\xbf")
        kept.write(first)
        seen.write(without(first, withheld))
        try:
            for rows in batches(file):
                out = held[start : start + len(rows)]
                start += len(rows)
                kept.writelines(row for row, away in zip(rows, out, strict=False) if not away)
                seen.writelines(without(row, withheld) for row in itertools.compress(rows, out))
        except StepError as error:
            raise fault(path, shown) or error from error
    if start != len(held):
        hint = 'a quote inside a field is written "" and the field is put in quotes (RFC 4180)'
        raise fault(path, shown) or StepError(f"{shown}: it is not clear where its rows end", hint)
