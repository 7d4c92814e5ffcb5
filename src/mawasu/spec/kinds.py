"""The kinds of value a file may hold. Each reads a node, says what is wrong with it, and knows its JSON Schema.

A file's language is declared once with these (`language.py`); validation, completion and the schema for editors are
all derived from that one declaration, so they cannot disagree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec

from mawasu.spec.faults import Fault, Path, dotted, listed, nearest, quoted, suggestion
from mawasu.spec.parse import Node
from mawasu.spec.units import Refused

Schema = dict[str, Any]


class Bad:
    """Stands for a value that had a fault, so that what was read can go on without it."""


BAD: Final = Bad()


class Place(msgspec.Struct, frozen=True):
    """The file and the path at which values are read, and the faults that reading has found so far."""

    file: str
    faults: list[Fault]
    path: Path = ()

    def below(self, step: str | int) -> Place:
        return Place(self.file, self.faults, (*self.path, step))

    def fault(self, where: tuple[int, int], message: str, hint: str = "") -> Bad:
        self.faults.append(Fault(self.file, *where, dotted(self.path), message, hint))
        return BAD

    def unexpected(self, node: Node, expected: str, hint: str = "") -> Bad:
        return self.fault(node.place, f"found {found(node)}, expected {expected}", hint)


def found(node: Node) -> str:
    """A value as a fault names it."""
    match node.value:
        case None:
            return "nothing"
        case dict():
            return "a mapping"
        case tuple():
            return "a list"
        case bool():
            return quoted(node.text)
        case int() | float():
            return f"the number {quoted(node.text)}"
        case _:
            return quoted(node.text) if node.text else "empty text"


class Kind(Protocol):
    @property
    def expects(self) -> str:
        """What a fault says was expected."""

    def read(self, node: Node, place: Place) -> Any:
        """The value as completion wants it; BAD if there is none, with its faults added to the place."""

    def schema(self) -> Schema:
        """JSON Schema (draft 2020-12) of the form in the file."""


class Text(msgspec.Struct, frozen=True):
    """Text that `convert` reads (raising Refused); `pattern` says the same to an editor, as far as a pattern can."""

    expects: str
    convert: Callable[[str], Any]
    pattern: str = ""

    def read(self, node: Node, place: Place) -> Any:
        if not isinstance(node.value, str):
            return place.unexpected(node, self.expects, self._quote(node))
        try:
            return self.convert(node.value)
        except Refused as refused:
            return place.unexpected(node, refused.expected, refused.hint)

    def _quote(self, node: Node) -> str:
        """`1.10` is a number to YAML; when its text would do, say how to write it."""
        if node.value is None or not node.is_scalar:
            return ""
        try:
            self.convert(node.text)
        except Refused as refused:
            return refused.hint
        return f'write "{node.text}" with quotes'

    def schema(self) -> Schema:
        return {"type": "string", "pattern": f"^({self.pattern})$"} if self.pattern else {"type": "string"}


class Number(msgspec.Struct, frozen=True):
    """A finite number with bounds; `over` and `under` are exclusive ones."""

    expects: str
    whole: bool = False
    least: float | None = None
    most: float | None = None
    over: float | None = None
    under: float | None = None

    def read(self, node: Node, place: Place) -> Any:
        value = node.value
        kinds = (int,) if self.whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not self._inside(value):
            return place.unexpected(node, self.expects)
        return value if self.whole else float(value)

    def _inside(self, value: float) -> bool:
        return (
            (isinstance(value, int) or math.isfinite(value))
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.over is None or value > self.over)
            and (self.under is None or value < self.under)
        )

    def schema(self) -> Schema:
        bounds = {
            "minimum": self.least,
            "maximum": self.most,
            "exclusiveMinimum": self.over,
            "exclusiveMaximum": self.under,
        }
        kind = "integer" if self.whole else "number"
        return {"type": kind} | {key: value for key, value in bounds.items() if value is not None}


class Switch(msgspec.Struct, frozen=True):
    expects: str = "`true` or `false`"

    def read(self, node: Node, place: Place) -> Any:
        return node.value if isinstance(node.value, bool) else place.unexpected(node, self.expects)

    def schema(self) -> Schema:
        return {"type": "boolean"}


class Choice(msgspec.Struct, frozen=True):
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def expects(self) -> str:
        return f"one of {listed(self.words)}"

    def read(self, node: Node, place: Place) -> Any:
        if isinstance(node.value, str) and node.value in self.words:
            return node.value
        hint = suggestion(node.text, self.words) if node.is_scalar and node.text else ""
        return place.unexpected(node, self.expects, hint if hint.startswith("did") else "")

    def schema(self) -> Schema:
        return {"enum": list(self.words)}


class Scalar(msgspec.Struct, frozen=True):
    """A single JSON value: text, a finite number, true or false."""

    expects: str = "text, a number, `true` or `false`"

    def read(self, node: Node, place: Place) -> Any:
        value = node.value
        if not node.is_scalar or value is None or (isinstance(value, float) and not math.isfinite(value)):
            return place.unexpected(node, self.expects)
        return value

    def schema(self) -> Schema:
        return {"type": ["string", "number", "boolean"]}


class Json(msgspec.Struct, frozen=True):
    """Any JSON value, or any mapping of them: what it means is not mawasu's business."""

    mapping: bool = False

    @property
    def expects(self) -> str:
        return "a mapping" if self.mapping else "a JSON value"

    def read(self, node: Node, place: Place) -> Any:
        if self.mapping and not isinstance(node.value, dict):
            return place.unexpected(node, self.expects)
        before = len(place.faults)
        self._finite(node, place)
        return node.plain() if len(place.faults) == before else BAD

    def _finite(self, node: Node, place: Place) -> None:
        if isinstance(node.value, float) and not math.isfinite(node.value):
            place.unexpected(node, "a finite number", "JSON has no infinity and no NaN")
        for step in node.names() or range(len(node.value) if isinstance(node.value, tuple) else 0):
            inner = node.get(step)
            assert inner is not None
            self._finite(inner, place.below(step))

    def schema(self) -> Schema:
        return {"type": "object"} if self.mapping else {}


class ListOf(msgspec.Struct, frozen=True):
    """A list without repeats, read as a tuple; `single` lets one item stand for a list of it."""

    item: Kind
    single: bool = False
    empty: bool = False

    @property
    def expects(self) -> str:
        return f"{self.item.expects}, or a list of such" if self.single else f"a list, each item {self.item.expects}"

    def read(self, node: Node, place: Place) -> Any:
        if self.single and node.is_scalar:
            value = self.item.read(node, place)
            return BAD if value is BAD else (value,)
        if not isinstance(node.value, tuple):
            hint = f"write [{node.text}]" if node.text and node.text.isprintable() else ""
            return place.unexpected(node, self.expects, hint)
        if not node.value and not self.empty:
            return place.fault(node.place, f"found an empty list, expected at least one item: {self.item.expects}")
        values: list[Any] = []
        for index, inner in enumerate(node.value):
            value = self.item.read(inner, place.below(index))
            if value is not BAD and any(value == other and type(value) is type(other) for other in values):
                place.below(index).fault(inner.place, f"found {found(inner)} a second time")
            values.append(value)
        return BAD if any(value is BAD for value in values) else tuple(values)

    def schema(self) -> Schema:
        many = {"type": "array", "items": self.item.schema(), "uniqueItems": True}
        if not self.empty:
            many["minItems"] = 1
        return {"anyOf": [self.item.schema(), many]} if self.single else many


class MapOf(msgspec.Struct, frozen=True):
    """A mapping whose keys are names the user chooses. Read as a dict of its good entries."""

    name: Text | Choice
    value: Kind
    expects: str

    def read(self, node: Node, place: Place) -> Any:
        if not isinstance(node.value, dict):
            return place.unexpected(node, self.expects)
        if not node.value:
            return place.fault(node.place, f"found an empty mapping, expected {self.expects}")
        values = {}
        for key, inner in node.value.items():
            line, column = inner.key_place
            here = place.below(key)
            good = self.name.read(Node(key, line, column, text=key), here) is not BAD
            value = self.value.read(inner, here)
            if good and value is not BAD:
                values[key] = value
        return values

    def schema(self) -> Schema:
        names = self.name.schema()
        values = self.value.schema()
        return {"type": "object", "propertyNames": names, "additionalProperties": values, "minProperties": 1}


class NotBuilt(msgspec.Struct, frozen=True):
    """A key that a later version gives a meaning to. Until then it is refused, so that nobody believes it works."""

    what: str
    allowed: str | int | None = None  # the value that means "without it"

    @property
    def expects(self) -> str:
        return "no such key" if self.allowed is None else quoted(str(self.allowed))

    def read(self, node: Node, place: Place) -> Any:
        if self.allowed is not None and node.value == self.allowed and type(node.value) is type(self.allowed):
            return node.value
        hint = "take the key out for now" if self.allowed is None else f"{self.expects} is all there is for now"
        return place.fault(node.key_place, f"not built yet: {self.what}", hint)

    def schema(self) -> Schema:
        return {"const": self.allowed} if self.allowed is not None else {"not": {}}


class Key(msgspec.Struct, frozen=True):
    """One key of a section and what it means, in a line for editors."""

    kind: Kind
    doc: str
    required: bool = False


class Section(msgspec.Struct, frozen=True):
    """A mapping with known keys. Read as a dict of those that are given and good.

    Of `one_of`, exactly one key must stand there; a key of `needs` cannot stand without its partner.
    """

    keys: Mapping[str, Key]
    one_of: tuple[str, ...] = ()
    needs: Mapping[str, str] = {}

    @property
    def expects(self) -> str:
        return f"a mapping with {listed(self._built())}"

    def _built(self) -> tuple[str, ...]:
        return tuple(name for name, key in self.keys.items() if not isinstance(key.kind, NotBuilt))

    def read(self, node: Node, place: Place) -> Any:
        if not isinstance(node.value, dict):
            return place.unexpected(node, self.expects)
        values = {}
        for name, inner in node.value.items():
            here = place.below(name)
            if name not in self.keys:
                here.fault(inner.key_place, "unknown key", suggestion(name, self.keys, "known here:"))
                continue
            value = self.keys[name].kind.read(inner, here)
            if value is not BAD:
                values[name] = value
        self._missing(node, place)
        return values

    def _missing(self, node: Node, place: Place) -> None:
        given = node.names()
        misspelt = [nearest(name, self.keys) for name in given if name not in self.keys]
        given += tuple(name for name in misspelt if name)  # one fault each is enough
        for name, key in self.keys.items():
            if key.required and name not in given:
                place.fault(node.key_place, f"{quoted(name)} is missing, expected {key.kind.expects}")
        for name, partner in self.needs.items():
            if name in given and partner not in given:
                expected = self.keys[partner].kind.expects
                place.fault(node.key_place, f"{quoted(name)} stands without {quoted(partner)}, expected {expected}")
        chosen = [name for name in self.one_of if name in given]
        later = any(isinstance(self.keys[name].kind, NotBuilt) for name in given if name in self.keys)
        if len(chosen) > 1:
            place.fault(node.key_place, f"found {listed(chosen)} together, expected only one of them")
        elif self.one_of and not chosen and not later:
            place.fault(node.key_place, f"expected one of {listed(self.one_of)}")

    def schema(self) -> Schema:
        properties = {name: key.kind.schema() | {"description": key.doc} for name, key in self.keys.items()}
        schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
        if required := [name for name, key in self.keys.items() if key.required]:
            schema["required"] = required
        if self.one_of:
            schema["oneOf"] = [{"required": [name]} for name in self.one_of]
        if self.needs:
            schema["dependentRequired"] = {name: [partner] for name, partner in self.needs.items()}
        return schema
