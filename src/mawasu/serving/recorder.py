"""`python -m mawasu.serving.recorder JSON`: writes what a server tells it, on standard input, into the prediction log.

A spool is a file of JSON lines in the directory it is told, named `….open` and locked (flock(2)) while it is written,
and `….jsonl` when it is whole. A line is written as soon as it is told, so what a killed server had handed over is
there. Whoever keeps the records makes Parquet of it. Ends when its input ends, whatever ended the server.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec

FRAME = struct.Struct("!I")  # how long the row is that follows
LARGE = 16 * 2**20  # bytes of one spool
OLD = 600.0  # seconds that one is written to


class Told(msgspec.Struct, frozen=True):
    """Who asks, and by which rules. `size` is how many bytes may lie in the spool."""

    spool: str
    release: str
    revision: str
    replica: str
    redact: tuple[str, ...]
    size: int


class Row(msgspec.Struct, frozen=True, array_like=True):
    """One answer as the server hands it over; `at` in seconds since the epoch."""

    at: float
    id: bytes
    unit: bytes
    operation: str
    status: int
    cached: bool
    seconds: float
    query: bytes
    input: bytes
    output: bytes


class Line(msgspec.Struct, frozen=True):
    """One answer as it stands in a spool; JSON in `query`, `input` and `output`, null where there was none (or it is
    none that could be redacted). Its fields are the columns of version 1 of the log (decisions/0029)."""

    at: float
    id: str
    unit: str
    revision: str
    release: str
    operation: str
    status: int
    cached: bool
    seconds: float
    query: str | None
    input: str | None
    output: str | None


def line(row: Row, told: Told) -> Line:
    """What may be remembered of a row. Error messages quote what was sent, so with redaction none is kept."""
    names = frozenset(told.redact)
    asked = parse_qsl(row.query.decode("latin-1"), keep_blank_values=True)
    query = {name: None if name in names else value for name, value in asked}
    return Line(
        at=round(row.at, 6),
        id=row.id.decode("latin-1"),
        unit=row.unit.decode("latin-1"),
        revision=told.revision,
        release=told.release,
        operation=row.operation,
        status=row.status,
        cached=row.cached,
        seconds=row.seconds,
        query=msgspec.json.encode(query).decode() if query else None,
        input=without(row.input, names),
        output=None if names and row.status >= 400 else without(row.output, names),
    )


def without(body: bytes, names: frozenset[str]) -> str | None:
    """A JSON text with null for the value of every field named so, at any depth; None for what is no JSON."""
    try:
        return msgspec.json.encode(_without(msgspec.json.decode(body), names)).decode()
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return None


def _without(value: Any, names: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {name: None if name in names else _without(inner, names) for name, inner in value.items()}
    return [_without(inner, names) for inner in value] if isinstance(value, list) else value


class Spool:
    """The file that is written to, and the next one."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._directory = Path(told.spool)
        self._file = -1
        self._path = self._directory
        self._written = 0
        self._began = 0.0
        self._full = False

    def write(self, lines: bytes) -> None:
        if self._file < 0 and not self._open():
            return
        rest = memoryview(lines)
        while rest:
            rest = rest[os.write(self._file, rest) :]
        self._written += len(lines)
        if self._written >= LARGE:
            self.close()

    def look(self) -> None:
        if self._file >= 0 and time.monotonic() - self._began > OLD:
            self.close()

    def close(self) -> None:
        """What was written is whole from now on."""
        if self._file >= 0:
            os.fsync(self._file)
            self._path.rename(self._path.with_suffix(".jsonl"))
            os.close(self._file)
            self._file = -1

    def _open(self) -> bool:
        """False when too much lies here: nobody has come for it."""
        lies = sum(path.stat().st_size for path in self._directory.iterdir() if path.suffix == ".jsonl")
        if lies >= self._told.size:
            if not self._full:
                print(f"mawasu: the prediction log is not written: {lies} bytes wait", file=sys.stderr, flush=True)
            self._full = True
            return False
        self._full = False
        name = f"{time.time_ns():020}-{self._told.revision}-{self._told.replica}-{os.getpid()}"
        self._path = self._directory / f"{name}.open"
        unlocked = self._directory / f"{name}.new"  # an open one that is not locked was left by a crash
        self._file = os.open(unlocked, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        unlocked.rename(self._path)
        self._written, self._began = 0, time.monotonic()
        return True


def rows(buffer: bytearray) -> list[Row]:
    """Those that are whole, taken from the buffer."""
    found = []
    decode = msgspec.msgpack.Decoder(Row).decode
    while len(buffer) >= FRAME.size:
        end = FRAME.size + FRAME.unpack_from(buffer)[0]
        if len(buffer) < end:
            break
        found.append(decode(bytes(buffer[FRAME.size : end])))
        del buffer[:end]
    return found


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # the server ends first, and then our input does
    told = msgspec.json.decode(sys.argv[1], type=Told)
    spool = Spool(told)
    buffer = bytearray()
    while True:
        ready, _, _ = select.select([0], [], [], OLD / 10)
        if ready:
            data = os.read(0, 2**20)
            if not data:
                break
            buffer += data
            if found := [msgspec.json.encode(line(row, told)) for row in rows(buffer)]:
                spool.write(b"\n".join(found) + b"\n")
        spool.look()
    spool.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
