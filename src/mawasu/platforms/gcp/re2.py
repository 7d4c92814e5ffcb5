"""Branch patterns for Cloud Build's triggers, which speak RE2 (github.com/google/re2/wiki/Syntax). Pure.

A trigger takes a wrong pattern without a word and then never fires, so patterns are checked before they are sent.
"""

from __future__ import annotations

import re

from mawasu.words import Value

_ANY_PARTS = "(?:[^/]+/)*"
_NOTHING = r"[^\s\S]"
_REPEAT_MOST = 1000  # RE2's kMaxRepeat
_LONGER = (r"\\[0-7]{1,3}", r"\\x\{[0-9A-Fa-f]{1,6}\}", r"\\x[0-9A-Fa-f]{2}", r"\\[pP](?:[LMNPSZC]|\{\^?\w+\})")
_ESCAPES = frozenset("adfnrstvwADSWbBzC")
_GROUPS = re.compile(r"\?(?:P<[A-Za-z_]\w*>|<[A-Za-z_]\w*>|[imsU]*(?:-[imsU]+)?[:)])")
_KNOWN = {
    "?=": "a lookahead `(?=`",
    "?!": "a lookahead `(?!`",
    "?<=": "a lookbehind `(?<=`",
    "?<!": "a lookbehind `(?<!`",
    "?>": "an atomic group `(?>`",
    "?P=": "a back-reference `(?P=`",
    "?(": "a condition `(?(`",
    "?#": "a comment `(?#`",
}


def branch_regex(*globs: str) -> str:
    """The RE2 pattern that matches exactly the branches that one of these globs names (`spec.globs.match_branch`)."""
    patterns = [_whole(glob) for glob in globs]
    return f"^{patterns[0]}$" if len(patterns) == 1 else f"^(?:{'|'.join(patterns)})$"


def _whole(glob: str) -> str:
    """Parts joined by `/`; a `**` between them is any number of parts, at the end it is anything."""
    parts = glob.split("/")
    if "**" not in parts:
        return "/".join(map(_part, parts))
    pattern, open_end = "", False
    for part, last in [(part, index == len(parts) - 1) for index, part in enumerate(parts)]:
        if part == "**":
            pattern += "" if open_end else _ANY_PARTS
            open_end = True
        else:
            pattern += _part(part) + ("" if last else "/")
            open_end = False
    return pattern.removesuffix(_ANY_PARTS) + ".+" if open_end else pattern


def _part(part: str) -> str:
    tokens = re.findall(r"\*+|\?|\[[!^]?\]?[^\]]*\]|.", part, re.DOTALL)
    if tokens and all(token[0] == "*" for token in tokens):
        return "[^/]+"  # a part is never empty
    return "".join("[^/]*" if token[0] == "*" else _character(token) for token in tokens)


def _character(token: str) -> str:
    if token == "?":
        return "[^/]"
    if len(token) == 1:
        return _quote(token)
    negated = token[1] in "!^"
    ranges = _ranges(token[2:-1] if negated else token[1:-1])
    if negated:
        return f"[^{_set([*ranges, ('/', '/')])}]"
    # RE2 cannot take one set from another: what is left of each range on either side of the `/`
    ranges = [piece for pair in ranges for piece in _around(pair)]
    return f"[{_set(ranges)}]" if ranges else _NOTHING


def _ranges(inner: str) -> list[tuple[str, str]]:
    found, index = [], 0
    while index < len(inner):
        if inner[index + 1 : index + 2] == "-" and index + 2 < len(inner):
            found.append((inner[index], inner[index + 2]))
            index += 3
        else:
            found.append((inner[index], inner[index]))
            index += 1
    return found


def _around(pair: tuple[str, str]) -> list[tuple[str, str]]:
    """A range without the `/`."""
    first, last = map(ord, pair)
    slash = ord("/")
    if not first <= slash <= last:
        return [pair]
    pieces = [(first, slash - 1), (slash + 1, last)]
    return [(chr(start), chr(end)) for start, end in pieces if start <= end]


def _set(ranges: list[tuple[str, str]]) -> str:
    return "".join(_quote(start) if start == end else f"{_quote(start)}-{_quote(end)}" for start, end in ranges)


def _quote(character: str) -> str:
    plain = character.isalnum() or character in "_/" or ord(character) > 127
    return character if plain else "\\" + character


# ------------------------------------------------------------------------------------------------ what RE2 refuses


def re2_fault(pattern: str) -> str | None:
    """Why RE2 would not take this pattern, None if it would."""
    try:
        _Scan(pattern).run()
    except _FaultError as fault:
        return str(fault)
    return None


class _FaultError(Exception):
    pass


class _Token(Value, frozen=True):
    """What stood before: can it be repeated, and is it a repetition already?"""

    repeatable: bool = False
    repeated: bool = False


class _Scan:
    """One walk from left to right. RE2 has no nested repetition `a**`, but takes `a*?` (lazy)."""

    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0
        self._depth = 0
        self._before = _Token()

    def run(self) -> None:
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == "\\":
                self._escape()
            elif character == "[":
                self._class()
            elif character == "(":
                self._group()
            elif character == ")":
                self._close()
            elif character in "*+?" or (character == "{" and self._counted()):
                self._repeat()
            else:
                self._at += 1
                self._before = _Token(repeatable=character != "|")
        if self._depth:
            raise _FaultError("a `(` is not closed")

    def _escape(self) -> None:
        symbol = self._text[self._at + 1 : self._at + 2]
        if not symbol:
            raise _FaultError("a `\\` stands at the end")
        if symbol == "Q":
            end = self._text.find("\\E", self._at + 2)
            if self._text[self._at + 2 : end if end >= 0 else None]:
                self._before = _Token(repeatable=True)
            self._at = len(self._text) if end < 0 else end + 2
            return
        width = _escaped(self._text, self._at)
        self._before = _Token(repeatable=True)
        self._at += width

    def _class(self) -> None:
        index = self._at + 1
        index += self._text[index : index + 1] == "^"
        first = True
        while first or self._text[index : index + 1] != "]":
            if not self._text[index : index + 1]:
                raise _FaultError("a `[` is not closed")
            index = self._many(index) or self._range(index)
            first = False
        self._at = index + 1
        self._before = _Token(repeatable=True)

    def _many(self, index: int) -> int:
        """Where a set within the set ends (`[:alpha:]`, `\\d`, `\\pL`); 0: there is none."""
        if named := re.compile(r"\[:\^?(\w+):\]").match(self._text, index):
            if named[1] not in _NAMED:
                raise _FaultError(f"there is no set `{named[0]}`")
            return named.end()
        if re.compile(r"\\[dDsSwWpP]").match(self._text, index):
            return index + _escaped(self._text, index)
        return 0

    def _range(self, index: int) -> int:
        """Where a character or a range of them ends. A `-` that makes no range is a character (RE2's Perl mode)."""
        low, index = self._one(index)
        if self._text[index : index + 1] == "-" and self._text[index + 1 : index + 2] not in ("", "]"):
            high, index = self._one(index + 1)
            if high < low:
                raise _FaultError("a range in a set ends before it begins")
        return index

    def _one(self, index: int) -> tuple[int, int]:
        """A character of a set, as its code point, and where it ends."""
        if self._text[index] != "\\":
            return ord(self._text[index]), index + 1
        symbol = self._text[index + 1 : index + 2]
        if not symbol or symbol in "bBAzCQEdDsSwWpP":
            raise _FaultError(f"`\\{symbol}` is no character of a set")
        end = index + _escaped(self._text, index)
        return _code(self._text[index + 1 : end]), end

    def _group(self) -> None:
        rest = self._text[self._at + 1 :]
        if rest.startswith("?"):
            found = _GROUPS.match(rest)
            if not found or found[0] == "?-:":
                known = max((start for start in _KNOWN if rest.startswith(start)), key=len, default="")
                raise _FaultError(f"RE2 has no {_KNOWN[known].partition(' ')[2]}" if known else "an unknown `(?…`")
            self._at += 1 + len(found[0])
            if found[0].endswith(")"):  # flags alone: (?i)
                self._before = _Token(repeatable=self._before.repeatable)
                return
        else:
            self._at += 1
        self._depth += 1
        self._before = _Token()

    def _close(self) -> None:
        if not self._depth:
            raise _FaultError("a `)` closes nothing")
        self._depth -= 1
        self._at += 1
        self._before = _Token(repeatable=True)

    def _counted(self) -> re.Match[str] | None:
        return re.compile(r"\{(\d+)(?:,(\d*))?\}").match(self._text, self._at)

    def _repeat(self) -> None:
        counted = self._counted() if self._text[self._at] == "{" else None
        shown = counted[0] if counted else self._text[self._at]
        if self._before.repeated:
            kind = "possessive" if shown == "+" else "doubled"
            raise _FaultError(f"RE2 has no {kind} repetition `{self._text[self._at - 1]}{shown}`")
        if not self._before.repeatable:
            raise _FaultError(f"`{shown}` repeats nothing")
        if counted:
            low, high = int(counted[1]), int(counted[2] or counted[1])
            if high < low or max(low, high) > _REPEAT_MOST:
                raise _FaultError(f"`{shown}`: RE2 counts up to {_REPEAT_MOST}, the smaller number first")
        self._at += len(shown)
        self._at += self._text[self._at : self._at + 1] == "?"
        self._before = _Token(repeatable=True, repeated=True)


_NAMED = frozenset(
    [
        "alnum",
        "alpha",
        "ascii",
        "blank",
        "cntrl",
        "digit",
        "graph",
        "lower",
        "print",
        "punct",
        "space",
        "upper",
        "word",
        "xdigit",
    ]
)


def _escaped(text: str, at: int) -> int:
    """How many characters the escape at `at` has."""
    symbol = text[at + 1]
    if re.match(r"[1-9]", symbol) and not re.match(r"[1-7][0-7]{1,2}", text[at + 1 :]):
        raise _FaultError(f"RE2 has no back-reference `\\{symbol}`")
    for longer in (
        r"\\[0-7]{1,3}",
        r"\\x\{[0-9A-Fa-f]{1,6}\}",
        r"\\x[0-9A-Fa-f]{2}",
        r"\\[pP](?:[LMNPSZC]|\{\^?\w+\})",
    ):
        if found := re.compile(longer).match(text, at):
            return len(found[0])
    if symbol in _ESCAPES or not (symbol.isalnum() or ord(symbol) > 127):
        return 2
    raise _FaultError(f"RE2 has no `\\{symbol}`")


def _code(escape: str) -> int:
    """The code point that an escape of one character stands for, without its backslash."""
    if escape[0] == "x":
        return int(escape[1:].strip("{}"), 16)
    if escape[0] in "01234567":
        return int(escape, 8)
    return ord({"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}.get(escape, escape))
