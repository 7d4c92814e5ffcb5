"""The prediction log on one machine: spools become Parquet, and what is too old or too much goes.

Below `home.predictions/<feature>/<environment>/`: `<begun in ns>-<revision>-<replica>-<pid>.parquet`, `rules.json`, and
`spool/`, which servers' recorders write to (`serving/recorder.py`).
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from mawasu.home import Home
from mawasu.platforms.local.spool import RULES
from mawasu.serving.recorder import Line
from mawasu.words import Predictions

VERSION = b"1"
SCHEMA = pa.schema(
    [
        pa.field("at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("unit", pa.string(), nullable=False),
        pa.field("revision", pa.string(), nullable=False),
        pa.field("release", pa.string(), nullable=False),
        pa.field("operation", pa.string(), nullable=False),
        pa.field("status", pa.int16(), nullable=False),
        pa.field("cached", pa.bool_(), nullable=False),
        pa.field("seconds", pa.float64(), nullable=False),
        pa.field("query", pa.string()),
        pa.field("input", pa.string()),
        pa.field("output", pa.string()),
    ],
    metadata={b"mawasu.predictions": VERSION},
)


def collect(home: Home) -> None:
    """Make Parquet of every spool that nobody writes to, also of those a crash left; then hold to the rules."""
    for place in home.predictions.glob("*/*"):
        for spool in _whole(place / "spool"):
            _convert(spool, place / spool.with_suffix(".parquet").name)
            spool.unlink()
        try:
            rules = msgspec.json.decode((place / RULES).read_bytes(), type=Predictions)
        except FileNotFoundError:
            continue
        _prune(place, rules, time.time())


def latest(home: Home, feature: str, environment: str, count: int) -> list[Line]:
    """The last `count` answers, the newest last, those of open spools too."""
    place = home.predictions / feature / environment
    found: list[Line] = []
    for spool in (place / "spool").glob("*.*"):
        found += _lines(spool)
    for path in sorted(place.glob("*.parquet"), reverse=True):  # by when they were begun: later ones may end earlier
        if len(found) >= count and _ended(path) < min(line.at for line in found):
            continue
        rows = pq.read_table(path, schema=SCHEMA).to_pylist()
        found += [Line(**{**row, "at": row["at"].timestamp()}) for row in rows]
        found = sorted(found, key=lambda line: line.at)[-count:]
    return sorted(found, key=lambda line: line.at)[-count:]


def _ended(path: Path) -> float:
    """When its last answer was, from the file's statistics."""
    columns = pq.ParquetFile(path).metadata
    ends = [columns.row_group(number).column(0).statistics.max.timestamp() for number in range(columns.num_row_groups)]
    return max(ends, default=0.0)


def _whole(spool: Path) -> list[Path]:
    """Spools that are complete; one whose recorder was killed is, once its lock is free."""
    for path in spool.glob("*.open"):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.rename(path.with_suffix(".jsonl"))
        except (BlockingIOError, FileNotFoundError):  # it is written to, or was completed this moment
            continue
        finally:
            os.close(descriptor)
    return sorted(spool.glob("*.jsonl"))


def _lines(spool: Path) -> Iterable[Line]:
    """Without what a crash cut off."""
    decode = msgspec.json.Decoder(Line).decode
    try:
        text = spool.read_bytes()
    except FileNotFoundError:  # it was collected meanwhile
        return
    for line in text[: text.rfind(b"\n") + 1].splitlines():
        yield decode(line)


def _convert(spool: Path, target: Path) -> None:
    """Whole or not at all; again, where a crash came before the spool was gone."""
    rows = [msgspec.structs.asdict(line) for line in _lines(spool)]
    if not rows:
        return
    for row in rows:
        row["at"] = round(row["at"] * 1e6)
    rows.sort(key=lambda row: row["at"])
    scratch = target.with_suffix(".new")
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), scratch, compression="zstd")
    with scratch.open("rb") as file:
        os.fsync(file.fileno())
    scratch.chmod(0o600)
    scratch.replace(target)
    directory = os.open(target.parent, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


def _prune(place: Path, rules: Predictions, now: float) -> None:
    """The newest files that fit into `size`; of those none that was ended longer than `keep` ago."""
    room = rules.size
    for path in sorted(place.glob("*.parquet"), reverse=True):
        found = path.stat()
        room -= found.st_size
        if room < 0 or found.st_mtime < now - rules.keep:
            path.unlink()
