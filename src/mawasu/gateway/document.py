"""A YAML or JSON text as plain values, with its references resolved and its faults collected with their lines."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from mawasu.errors import SpecError
from mawasu.gateway.forms import Fault

Path = tuple[str | int, ...]

NEVER_OURS = frozenset({"example", "examples", "default", "enum", "const"})
"""Keys below which a document holds data, not description."""


LARGEST = 2 * 2**20  # characters
DEEPEST = 200


class Document:
    """One parsed text. Faults are gathered with `fault` and raised together by `finish`."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self._text = text
        self._faults: list[tuple[Path, str]] = []
        self.root = self._load()

    def _load(self) -> Any:
        if len(self._text) > LARGEST:
            raise SpecError((Fault(self.file, 0, "", f"is larger than {LARGEST} characters"),))
        if _too_deep(self._text):
            raise SpecError((Fault(self.file, 0, "", "is nested too deeply"),))
        try:
            return YAML(typ="safe").load(self._text)  # libyaml's scanner: five times as fast, and the same values
        except (YAMLError, ValueError, RecursionError):
            pass  # whether it is a fault at all, and which, the parser in Python says
        try:
            return YAML(typ="safe", pure=True).load(self._text)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 0
            cause = (error.problem or error.context or "is not YAML").strip().splitlines()[0]
            raise SpecError((Fault(self.file, line, "", cause),)) from error
        except (YAMLError, ValueError) as error:
            raise SpecError((Fault(self.file, 0, "", str(error).splitlines()[0]),)) from error
        except RecursionError:
            raise SpecError((Fault(self.file, 0, "", "is nested too deeply"),)) from None

    def fault(self, at: Path, message: str) -> None:
        self._faults.append((at, message))

    def places(self) -> list[Path]:
        """Of the faults so far."""
        return [at for at, _ in self._faults]

    def finish(self) -> None:
        """Raise SpecError with every fault, in the order of the file."""
        if not self._faults:
            return
        lines = Lines(self._text)
        faults = {Fault(self.file, lines.of(at), ".".join(map(str, at)), message) for at, message in self._faults}
        ordered = sorted(faults, key=lambda fault: (fault.line, fault.at, fault.message))
        raise SpecError(tuple(ordered))

    def mapping(self, value: Any, at: Path) -> Mapping[str, Any]:
        """The value as a mapping with string keys; anything else is a fault and reads as empty."""
        if not isinstance(value, Mapping):
            self.fault(at, f"expected a mapping, found {kind_of(value)}")
            return {}
        for key in value:
            if not isinstance(key, str):
                self.fault((*at, str(key)), f"a key is text, found {kind_of(key)}")
        return {key: item for key, item in value.items() if isinstance(key, str)}

    def text(self, value: Any, at: Path) -> str:
        """The value as non-empty text; anything else is a fault and reads as empty."""
        if not isinstance(value, str) or not value.strip():
            self.fault(at, f"expected text, found {kind_of(value) if value != '' else 'nothing'}")
            return ""
        return value.strip()

    def resolve(self, value: Any, at: Path) -> tuple[Any, Path]:
        """Follow `$ref`s (RFC 6901 pointers into this document); returns what is there and where it stands."""
        seen: set[str] = set()
        while isinstance(value, Mapping) and isinstance(value.get("$ref"), str):
            pointer = value["$ref"]
            if pointer in seen:
                self.fault((*at, "$ref"), f"{pointer!r} leads back to itself")
                return {}, at
            seen.add(pointer)
            found = self.lookup(pointer)
            if found is None:
                self.fault((*at, "$ref"), self.unresolved(pointer))
                return {}, at
            value, at = found
        return value, at

    def unresolved(self, pointer: str) -> str:
        if not pointer.startswith("#"):
            return f"{pointer!r} is outside this document; only references inside it ('#/…') are followed"
        return f"nothing stands at {pointer!r}"

    def lookup(self, pointer: str) -> tuple[Any, Path] | None:
        if pointer != "#" and not pointer.startswith("#/"):
            return None
        value: Any = self.root
        at: Path = ()
        for token in pointer.split("/")[1:]:
            name = unquote(token).replace("~1", "/").replace("~0", "~")
            key: str | int = int(name) if isinstance(value, list) and name.isdigit() else name
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError):
                return None
            at = (*at, key)
        return value, at

    def mappings(self) -> Iterable[tuple[Mapping[Any, Any], Path]]:
        """Every mapping of the description once, however often it is referred to; examples and the like left out."""
        seen: set[int] = set()
        waiting: list[tuple[Any, Path]] = [(self.root, ())]
        while waiting:
            value, at = waiting.pop()
            if not isinstance(value, Mapping | list) or id(value) in seen:
                continue
            seen.add(id(value))
            if isinstance(value, list):
                waiting.extend((item, (*at, index)) for index, item in enumerate(value))
                continue
            yield value, at
            # A key of `properties` is a name that the author chose, so "example" there is no example.
            named = bool(at) and at[-1] == "properties"
            waiting.extend((item, (*at, str(key))) for key, item in value.items() if named or key not in NEVER_OURS)


class Lines:
    """Lines of a text's values. Only made when there is a fault to show: a second, slower parse."""

    def __init__(self, text: str) -> None:
        self._root: Node | None = YAML(typ="safe", pure=True).compose(text)

    def of(self, at: Path) -> int:
        """The line of the deepest part of the path that exists, from 1."""
        node, line = self._root, 1
        for step in at:
            found = self._child(node, step)
            if found is None:
                break
            line, node = found
        return line

    @staticmethod
    def _child(node: Node | None, step: str | int) -> tuple[int, Node] | None:
        if isinstance(node, MappingNode):
            for key, value in node.value:
                if key.value == str(step):
                    return key.start_mark.line + 1, value
        if isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.value):
            return node.value[step].start_mark.line + 1, node.value[step]
        return None


def _too_deep(text: str) -> bool:
    """Whether brackets or dashes nest beyond reason: on such text the parser takes time by the square of its length.

    Brackets inside quotes count too; no document leaves that many of them open.
    """
    depth = 0
    for match in re.finditer(r"[\[{]|[\]}]", text):
        depth = depth + 1 if match[0] in "[{" else max(0, depth - 1)
        if depth > DEEPEST:
            return True
    return re.search(rf"(?:[-?] +){{{DEEPEST}}}", text) is not None


def kind_of(value: Any) -> str:
    """A value's kind in the words of YAML, for people."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"{str(value).lower()}"
    if isinstance(value, str):
        return repr(value)
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, list) else f"{value!r}"


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest known name, or nothing."""
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
