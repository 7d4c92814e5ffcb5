"""Printing: tables for people, JSON for machines, colours only on a terminal. Nothing else in mawasu prints."""

from __future__ import annotations

import json
import os
import sys
import time
import unicodedata
from collections.abc import Sequence
from typing import Any

from mawasu.errors import MawasuError

COLOURS = {"green": "32", "red": "31", "yellow": "33", "blue": "34", "dim": "2", "bold": "1"}


def colour(text: str, name: str, stream: Any = None) -> str:
    stream = stream or sys.stdout
    if not stream.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{COLOURS[name]}m{text}\x1b[0m"


def say(text: str = "") -> None:
    print(text, flush=True)


def note(text: str) -> None:
    """What people should read, but a pipe should not get."""
    print(text, file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """What is wrong without stopping anything: one line, beside the answer."""
    note(colour(f"warning: {safe(text)}", "yellow", sys.stderr))


def emit(value: Any) -> None:
    """The `--json` form: one JSON value."""
    print(json.dumps(value, ensure_ascii=False, indent=2, default=str), flush=True)


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], empty: str) -> None:
    """Columns as wide as they need to be, counted in cells of a terminal."""
    if not rows:
        say(empty)
        return
    texts = [[safe(str(cell)).replace("\n", " · ") for cell in row] for row in rows]
    widths = [max(_width(row[i]) for row in [list(headers), *texts]) for i in range(len(headers))]
    say(colour(_row([header.upper() for header in headers], widths), "dim"))
    for row in texts:
        say(_row(row, widths))


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell + " " * (width - _width(cell)) for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def safe(text: str) -> str:
    """Names come from pushes: nothing in them may move the cursor or turn the text around."""
    return "".join(char if char.isprintable() or char == "\n" else f"\\u{ord(char):04x}" for char in text)


def ago(then: float | None) -> str:
    if not then:
        return "—"
    seconds = max(0.0, time.time() - then)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def print_error(error: MawasuError) -> None:
    """One line with place and cause, and a second with the next step."""
    print(colour(f"mawasu: {safe(error.message)}", "red", sys.stderr), file=sys.stderr)
    if error.hint:
        print(f"  {safe(error.hint)}", file=sys.stderr)
