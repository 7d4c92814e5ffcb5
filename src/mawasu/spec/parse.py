"""YAML text to a document in which every key and value knows its line and column.

A YAML 1.2 core-schema subset, built straight from the parser's events: that is half the time of ruamel's own
constructors, and the limits below hold before anything is built.
Dates stay text, `yes` and `no` are text, tags and merge keys are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from mawasu.spec.faults import Fault, Path, dotted, in_order, quoted
from mawasu.words import Value

LONGEST_TEXT = 2**18  # characters: about a second of work
DEEPEST = 40  # nested values
MOST_NODES = 20_000  # with every alias written out: nine anchors can stand for a billion values

_INT = re.compile(r"[-+]?[0-9]{1,300}")
_BASE = re.compile(r"0o[0-7]{1,99}|0x[0-9a-fA-F]{1,99}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: Mapping[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", "+.inf", ".Inf", "+.Inf"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN"), float("nan")),
}


class Node(Value, frozen=True):
    """A value and where it stands (lines and columns from 1; `key_…` of its key, 0 in a list or at the top).

    `value` is None, bool, int, float, str, a tuple of nodes or a mapping of nodes; `text` is what a scalar looks like
    in the file; `size` counts the nodes in it.
    """

    value: Any
    line: int
    column: int
    text: str = ""
    key_line: int = 0
    key_column: int = 0
    size: int = 1

    @property
    def place(self) -> tuple[int, int]:
        """Where a person looks for it: a scalar itself, the key of everything larger."""
        if self.key_line and not self.is_scalar:
            return self.key_line, self.key_column
        return self.line, self.column

    @property
    def key_place(self) -> tuple[int, int]:
        return (self.key_line, self.key_column) if self.key_line else (self.line, self.column)

    @property
    def is_scalar(self) -> bool:
        return not isinstance(self.value, tuple | dict)

    def get(self, step: str | int) -> Node | None:
        """The value of a key or at an index; None when there is none."""
        if isinstance(self.value, dict):
            found: Node | None = self.value.get(step)
            return found
        if isinstance(self.value, tuple) and isinstance(step, int) and step < len(self.value):
            item: Node = self.value[step]
            return item
        return None

    def find(self, *path: str | int) -> Node | None:
        node: Node | None = self
        for step in path:
            node = node.get(step) if node else None
        return node

    def names(self) -> tuple[str, ...]:
        """The keys of a mapping, none of anything else."""
        return tuple(self.value) if isinstance(self.value, dict) else ()

    def plain(self) -> Any:
        """The same without positions: a JSON value."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, tuple):
            return [node.plain() for node in self.value]
        return self.value


class Document(Value, frozen=True):
    """A parsed file. `root` is None when it could not be read; `faults` are those of YAML itself."""

    file: str
    root: Node | None
    faults: tuple[Fault, ...] = ()


def parse(text: str, *, file: str = "mawasu.yaml") -> Document:
    """Read YAML text; never raises: what is wrong with it is in the document's `faults`."""
    if len(text) > LONGEST_TEXT:
        return Document(file, None, (Fault(file, 1, 1, "", f"longer than {LONGEST_TEXT} characters"),))
    from ruamel.yaml import YAML  # 20 ms, which rooms that need only words of this one do not pay
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    builder = _Builder(file, YAML(typ="safe", pure=True, plug_ins=[]).parse(text))
    root: Node | None = None
    try:
        root = builder.document()
    except _StopReadingError as stop:
        builder.faults.append(stop.fault)
    except MarkedYAMLError as error:
        builder.faults.append(_syntax(file, text, error))
    except YAMLError as error:
        builder.faults.append(_unreadable(file, text, error))
    return Document(file, root, in_order(builder.faults))


class _StopReadingError(Exception):
    def __init__(self, fault: Fault) -> None:
        self.fault = fault


class _Builder:
    """Builds nodes from parser events; a recursion that `DEEPEST` bounds."""

    def __init__(self, file: str, events: Iterator[Any]) -> None:
        self.file = file
        self.events = events
        self.faults: list[Fault] = []
        self.anchors: dict[str, Node] = {}

    def document(self) -> Node:
        """The only document of the stream. Events: StreamStart, (DocumentStart, node, DocumentEnd)*, StreamEnd."""
        next(self.events)
        event = next(self.events)
        if type(event).__name__ == "StreamEndEvent":
            raise _StopReadingError(Fault(self.file, 1, 1, "", "the file is empty"))
        root = self.node(next(self.events), ())
        next(self.events)
        after = next(self.events)
        if type(after).__name__ != "StreamEndEvent":
            self.fault(after, (), "a second document starts here", "keep one document in the file, without `---`")
        return root

    def node(self, event: Any, path: Path) -> Node:
        if len(path) > DEEPEST:
            raise _StopReadingError(self.fault(event, (), f"nested more than {DEEPEST} levels deep"))
        kind = type(event).__name__
        if kind == "AliasEvent":
            return self.alias(event, path)
        if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
            self.fault(event, path, f"found the tag {quoted(str(event.tag))}, expected a value without a tag")
        if kind == "ScalarEvent":
            node = self.scalar(event)
        elif kind == "SequenceStartEvent":
            node = self.sequence(event, path)
        else:
            node = self.mapping(event, path)
        if node.size > MOST_NODES:
            raise _StopReadingError(self.fault(event, path, f"stands for more than {MOST_NODES} values"))
        if event.anchor:
            self.anchors[event.anchor] = node
        return node

    def alias(self, event: Any, path: Path) -> Node:
        node = self.anchors.get(event.anchor)
        if node is None:
            raise _StopReadingError(
                self.fault(event, path, f"no value is named {quoted('&' + event.anchor)} before here")
            )
        line, column = _at(event)
        return msgspec.structs.replace(node, line=line, column=column)

    def scalar(self, event: Any) -> Node:
        line, column = _at(event)
        plain = not event.style and event.tag is None
        return Node(resolve(event.value) if plain else event.value, line, column, text=event.value)

    def sequence(self, event: Any, path: Path) -> Node:
        items: list[Node] = []
        size = 1
        while type(inner := next(self.events)).__name__ != "SequenceEndEvent":
            items.append(self.node(inner, (*path, len(items))))
            size += items[-1].size
        line, column = _at(event)
        return Node(tuple(items), line, column, size=size)

    def mapping(self, event: Any, path: Path) -> Node:
        entries: dict[str, Node] = {}
        size = 1
        while type(inner := next(self.events)).__name__ != "MappingEndEvent":
            if type(inner).__name__ != "ScalarEvent":
                raise _StopReadingError(self.fault(inner, path, "found a key that is no text"))
            key, (line, column) = inner.value, _at(inner)
            node = self.node(next(self.events), (*path, key))
            size += node.size
            if key in entries:
                first = entries[key].key_line
                self.fault(inner, (*path, key), f"the key stands here again, it was first given in line {first}")
                continue
            entries[key] = msgspec.structs.replace(node, key_line=line, key_column=column)
        line, column = _at(event)
        return Node(entries, line, column, size=size)

    def fault(self, event: Any, path: Path, message: str, hint: str = "") -> Fault:
        fault = Fault(self.file, *_at(event), dotted(path), message, hint)
        self.faults.append(fault)
        return fault


def resolve(text: str) -> Any:
    """The value of a plain scalar by the YAML 1.2 core schema (yaml.org/spec/1.2.2, §10.3.2)."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "-+.0123456789":
        return text
    if _INT.fullmatch(text):
        return int(text)
    if _BASE.fullmatch(text):
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) else text


def _at(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _syntax(file: str, text: str, error: Any) -> Fault:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    lines = text.splitlines()
    here = lines[line - 1] if line <= len(lines) else ""
    if "\t" in here[: len(here) - len(here.lstrip())] or "'\\t'" in str(error.problem):
        return Fault(file, line, column, "", "found a tab, expected spaces", "YAML is indented with spaces only")
    problem = str(error.problem or error.context).replace("\n", " ")
    hint = "look at the indentation, and quote text that holds `: ` or ` #`"
    return Fault(file, line, column, "", f"this is not YAML: {problem}", hint)


def _unreadable(file: str, text: str, error: Any) -> Fault:
    """A character that YAML does not allow (control characters)."""
    position = getattr(error, "position", 0)
    before = text[:position] if isinstance(position, int) else ""
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    character = getattr(error, "character", None)
    shown = (
        f"U+{character if isinstance(character, int) else ord(character):04X}"
        if character not in (None, "")
        else "a character"
    )
    return Fault(file, line, column, "", f"found {shown}, which YAML does not allow", "save the file as UTF-8 text")
