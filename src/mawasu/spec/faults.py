"""A fault in a file that describes a feature: where it stands, what was found, what was expected."""

from __future__ import annotations

from collections.abc import Iterable

from mawasu.words import Value

Path = tuple[str | int, ...]
"""The way to a value: keys of mappings and indexes of lists."""

LONGEST_SHOWN = 60
MOST_COMPARED = 2000  # names; comparing takes up to 0.1 ms each


class Fault(Value, frozen=True):
    """One fault. `line` and `column` count from 1; `path` is `training.resources.memory`, empty for the whole file."""

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{escaped(self.file)}:{self.line}: " + (f"{self.path}: " if self.path else "")
        return f"{place}{self.message}" + (f" — {self.hint}" if self.hint else "")


def in_order(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """Each fault once, in the order of the file."""
    return tuple(sorted(dict.fromkeys(faults), key=lambda fault: (fault.line, fault.column, fault.path)))


def dotted(path: Path) -> str:
    """`("training", "data", 0)` as `training.data[0]`, safe to print."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else ("." if text else "") + printable(step)
    return text


def escaped(text: str) -> str:
    """`text` on one line: control and direction characters are written out, since terminals obey them."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable(text: str) -> str:
    """`text` escaped and short."""
    safe = escaped(text[: LONGEST_SHOWN + 1])
    return safe if len(safe) <= LONGEST_SHOWN else safe[: LONGEST_SHOWN - 1] + "…"


def quoted(text: str) -> str:
    return f"`{printable(text)}`"


def listed(names: Iterable[str]) -> str:
    return ", ".join(quoted(name) for name in names)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` was most likely meant to be, whatever its case."""
    import difflib

    names = {other.lower(): other for other in sorted(known)}
    if len(names) > MOST_COMPARED:
        return None
    found = difflib.get_close_matches(name.lower(), names, n=1)
    return names[found[0]] if found else None


def suggestion(name: str, known: Iterable[str], otherwise: str = "expected") -> str:
    """`did you mean …?`, or all known names when none is near and they are few."""
    names = list(known)
    near = nearest(name, names)
    if near is not None:
        return f"did you mean {quoted(near)}?"
    return f"{otherwise} {listed(names)}" if 0 < len(names) <= 16 else ""
