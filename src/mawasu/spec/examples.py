"""`api/examples.yaml`: golden answers and invariances, tried on a release before any caller sees it.

- name: a storm at the destination
  request: {path: /predict, body: {dest: ORD, wind: 60}}
  expect: {status: 200, body: {late: 0.8}}     # what is not named here may be anything
  tolerance: 0.1                               # of every number, absolute
- name: the order of keys means nothing
  request: {path: /predict, body: {wind: 60, dest: ORD}}
  same_as: a storm at the destination
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from mawasu.errors import SpecError
from mawasu.spec import units
from mawasu.spec.faults import Fault, in_order, quoted, suggestion
from mawasu.spec.kinds import BAD, Choice, Json, Key, ListOf, Number, Place, Section, Text
from mawasu.spec.parse import Node, parse
from mawasu.spec.references import Finding
from mawasu.spec.units import Refused
from mawasu.spec.validate import placed
from mawasu.words import Value

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class Request(Value, frozen=True):
    """What is sent. `body` is a JSON value, or UNSET for a request without one."""

    path: str
    method: str = "POST"
    body: Any = msgspec.UNSET


class Expected(Value, frozen=True):
    """What must come back. `body` is compared by `difference`; UNSET: any body will do."""

    status: int = 200
    body: Any = msgspec.UNSET


class Example(Value, frozen=True):
    """One example. With `same_as` the answer must also be equal to that of the example of this name."""

    name: str
    request: Request
    expect: Expected = Expected()
    tolerance: float = 0.0
    same_as: str | None = None


def parse_examples(text: str, *, file: str = "api/examples.yaml") -> tuple[Example, ...]:
    """The examples in the order of the file. Raises SpecError with all faults."""
    document = parse(text, file=file)
    faults: list[Fault] = list(document.faults)
    sections: Any = BAD
    if document.root is not None:
        sections = EXAMPLES.read(document.root, Place(file, faults))
        faults += placed(file, document.root, _names(document.root))
    if faults:
        raise SpecError(in_order(faults))
    return tuple(_example(section) for section in sections)


def _example(section: dict[str, Any]) -> Example:
    request, expect = Request(**section["request"]), Expected(**section.get("expect", {}))
    return Example(**{**section, "request": request, "expect": expect})


def _names(root: Node) -> Iterator[Finding]:
    """Names are given once, and `same_as` means another example."""
    seen: dict[str, int] = {}
    for index, item in enumerate(root.value if isinstance(root.value, tuple) else ()):
        name = item.get("name")
        if name and name.text in seen:
            yield Finding((index, "name"), f"{quoted(name.text)} is the name of example {seen[name.text] + 1} already")
        elif name:
            seen[name.text] = index
    for index in range(len(root.value) if isinstance(root.value, tuple) else 0):
        same, name = root.find(index, "same_as"), root.find(index, "name")
        if same and isinstance(same.value, str) and same.text not in seen:
            yield Finding((index, "same_as"), f"no example is named {quoted(same.text)}", suggestion(same.text, seen))
        elif same and name and same.text == name.text:
            yield Finding((index, "same_as"), "an example is always the same as itself, expected another one")


def difference(expected: Any, actual: Any, tolerance: float = 0.0, *, exactly: bool = False) -> str | None:
    """The first difference between two JSON values with its JSON path (`$.late[0]`), None when there is none.

    Of an object only the keys in `expected` count, unless `exactly`. Numbers may differ by `tolerance`, and 1 equals
    1.0 but not true. Not recursive: what an API answers may be nested deeper than Python's stack.
    """
    stack: list[tuple[str, Any, Any]] = [("$", expected, actual)]
    while stack:
        path, left, right = stack.pop()
        if isinstance(left, dict) and isinstance(right, dict):
            if missing := [key for key in left if key not in right]:
                return f"{path}.{missing[0]} is missing"
            if exactly and (extra := [key for key in right if key not in left]):
                return f"{path}.{extra[0]} was not expected"
            stack += [(f"{path}.{key}", value, right[key]) for key, value in reversed(left.items())]
        elif isinstance(left, list | tuple) and isinstance(right, list | tuple):
            if len(left) != len(right):
                return f"{path} has {len(right)} items, expected {len(left)}"
            stack += reversed([(f"{path}[{n}]", *pair) for n, pair in enumerate(zip(left, right, strict=True))])
        elif reason := _unlike(left, right, tolerance):
            return f"{path} {reason}"
    return None


def _unlike(left: Any, right: Any, tolerance: float) -> str:
    if _is_number(left) and _is_number(right):
        if left == right or _distance(left, right) <= tolerance:
            return ""
        within = f" within {tolerance:g}" if tolerance else ""
        return f"is {_shown(right)}, expected {_shown(left)}{within}"
    return "" if type(left) is type(right) and left == right else f"is {_shown(right)}, expected {_shown(left)}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _distance(left: float, right: float) -> float:
    try:
        return abs(left - right)
    except OverflowError:  # an integer beyond the floats
        return float("inf")


def _shown(value: Any) -> str:
    match value:
        case dict():
            return "an object"
        case list() | tuple():
            return "a list"
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case str():
            return quoted(value)
        case float():
            return f"{value:.6g}"
        case _:
            return str(value)[:40]


def _path(text: str) -> str:
    if not text.startswith("/") or not text.isprintable() or " " in text:
        raise Refused("a path such as `/predict`", f"did you mean {quoted('/' + text)}?" if text.isidentifier() else "")
    return text


EXAMPLES = ListOf(
    Section(
        {
            "name": Key(Text("a name, any text", units.some_text), "", required=True),
            "request": Key(
                Section(
                    {
                        "method": Key(Choice(METHODS), ""),
                        "path": Key(Text("a path such as `/predict`", _path), "", required=True),
                        "body": Key(Json(), ""),
                    }
                ),
                "",
                required=True,
            ),
            "expect": Key(
                Section(
                    {
                        "status": Key(Number("an HTTP status from 100 to 599", whole=True, least=100, most=599), ""),
                        "body": Key(Json(), ""),
                    }
                ),
                "",
            ),
            "tolerance": Key(Number("a number from 0", least=0), ""),
            "same_as": Key(Text("the name of another example", units.some_text), ""),
        }
    )
)
