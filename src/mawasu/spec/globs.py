"""Globs over paths and branch names, as in gitignore: `*`, `?` and `[…]` stop at `/`, `**` does not.

`**` stands alone between slashes, for any number of parts. A path without wildcards stands for itself and everything
below it. Matching is case-sensitive, and takes time that is at most quadratic in the path whatever the glob.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

from mawasu.words import Tree

_ANY_PARTS = "(?:[^/]+/)*"


def match(glob: str, path: str) -> bool:
    """Whether a file's path is one that the glob names; a directory's name stands for all below it."""
    return _files((glob,)).fullmatch(path) is not None


def match_any(globs: Iterable[str], path: str) -> bool:
    return _files(tuple(globs)).fullmatch(path) is not None


def match_branch(glob: str, branch: str) -> bool:
    """Whether the glob names the branch: `main` is `main` alone, not `main/x`."""
    return _branch(glob).fullmatch(branch) is not None


def select(tree: Tree, globs: Iterable[str]) -> Tree:
    """The files of a tree that one of the globs names."""
    chosen = _files(tuple(globs))
    return Tree({path: file for path, file in tree.files.items() if chosen.fullmatch(path)})


def is_plain(glob: str) -> bool:
    return not any(wildcard in glob for wildcard in "*?[")


def wrong(glob: str) -> tuple[str, str] | None:
    """What should stand there instead and a hint, when `glob` is not one."""
    for part in glob.removesuffix("/").split("/"):
        if "**" in part and part != "**":
            better = re.sub(r"\*\*+", "*", part)
            return "`**` alone between slashes", f"`{better}` stops at `/`, `{better}/**` goes below"
        rest = re.sub(r"\[[!^]?\]?[^\]]*\]", "", part)
        if "--" in part and "[" in part:
            return "a set of characters such as `[a-z]`", "a `-` itself stands first or last in the set"
        if "[" in rest:
            return "a `]` after the `[`", "a `[` itself is written `[[]`"
        try:
            re.compile(_part(part))
        except re.error:
            return "a set of characters such as `[a-z]`", ""
    return None


@functools.lru_cache(maxsize=1024)
def _files(globs: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(_file, globs)) or r"(?!)", re.DOTALL)


@functools.lru_cache(maxsize=1024)
def _branch(glob: str) -> re.Pattern[str]:
    return re.compile(_whole(glob), re.DOTALL)


def _file(glob: str) -> str:
    below = glob.endswith("/")
    pattern = _whole(glob.rstrip("/"))
    if below:
        return pattern + "/.+"
    return pattern + "(?:/.+)?" if is_plain(glob) else pattern


def _whole(glob: str) -> str:
    """Parts joined, each run of parts between two `**` as an atomic group.

    The first place where a run fits is as good as any later one, since `**` takes all that is between: so there is
    nothing to come back to, and forbidding it keeps matching quadratic.
    """
    runs: list[list[str]] = [[]]
    for part in glob.split("/"):
        if part == "**":
            if runs[-1] or len(runs) == 1:
                runs.append([])
        else:
            runs[-1].append(_part(part))
    if len(runs) == 1:
        return "/".join(runs[0])
    first, *middle, last = runs
    pattern = "".join(part + "/" for part in first)
    for run in middle:
        pattern += f"(?>{_ANY_PARTS}?" + "".join(part + "/" for part in run) + ")"
    return pattern + (_ANY_PARTS + "/".join(last) if last else ".+")


def _part(part: str) -> str:
    """One part between slashes. All but its last `*` are atomic, for the same reason."""
    tokens = re.findall(r"\*+|\?|\[[!^]?\]?[^\]]*\]|.", part, re.DOTALL)
    stars = [index for index, token in enumerate(tokens) if token[0] == "*"]
    if not stars:
        return "".join(map(_character, tokens))
    pieces = [tokens[start + 1 : end] for start, end in zip([-1, *stars], [*stars, len(tokens)], strict=True)]
    head, *middle, tail = ["".join(map(_character, piece)) for piece in pieces]
    atomic = "".join(f"(?>[^/]*?{piece})" for piece in middle)
    # a part is never empty, and its end is fixed by what follows
    return f"(?=[^/]){head}{atomic}[^/]*{tail}(?=/|$)"


def _character(symbol: str) -> str:
    if symbol == "?":
        return "[^/]"
    if len(symbol) == 1:
        return re.escape(symbol)
    negated = symbol[1] in "!^"
    inner = symbol[2:-1] if negated else symbol[1:-1]
    # inside a set only a range's `-` means anything
    escaped = "".join("\\" + c if c in "\\[]^&~|" else c for c in inner)
    return f"(?!/)[{'^' if negated else ''}{escaped}]"
