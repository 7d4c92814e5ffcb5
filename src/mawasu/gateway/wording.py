"""What a JSON Schema has against a value, as faults for people: each at its place, in one short line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mawasu.gateway.document import Path, kind_of, nearest

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError

SHOWN = 200  # characters
_FOUND = 60
_CHOICES = 12

_EMPTY = "is empty"
_TAGS = ("type", "in", "flow")
"""What says which of several things a mapping is."""

_KINDS = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


class Word(NamedTuple):
    """One fault. `vague`: what is less so, at its place or below, says it better; 0 stands beside all others."""

    at: Path
    text: str
    vague: int = 0


def words(errors: Iterable[ValidationError], value: Any, schema: Mapping[str, Any], name: str) -> Iterator[Word]:
    """`value` is what the errors are of, `schema` what they come from, `name` what that describes."""
    wording = _Wording(value, schema, name)
    return (Word(at, _short(text), vague) for error in errors for at, text, vague in wording.of(error))


class _Wording:
    def __init__(self, value: Any, schema: Mapping[str, Any], name: str) -> None:
        self._value, self._schema, self._name = value, schema, name

    def of(self, error: ValidationError) -> Iterator[Word]:
        at, kind = self._place(error.instance_path), error.kind
        match kind.name:
            case "oneOf" | "anyOf":
                yield from self._choice(error, at, getattr(kind, "context", ()))
            case "required" if kind.value == "default" and not self._at(at):
                yield Word(at, _EMPTY)  # of answers there must be one, whichever
            case "required":
                yield Word((*at, kind.value), f"is missing: {self._name} wants it here")
            case "additionalProperties" | "unevaluatedProperties":
                known = self._known(error)
                for key in kind.value:
                    yield Word((*at, key), f"unknown key{nearest(key, known)}", vague=int(kind.name[0] == "u"))
            case "propertyNames":
                inner = kind.value
                yield Word((*at, str(inner.instance)), "a name has letters, digits, '.', '-' and '_' only")
            case "not":
                yield Word(at, _excluded(kind.value), vague=1)
            case _:
                yield Word(at, self._plain(at, kind.name, kind.value))

    def _plain(self, at: Path, name: str, bound: Any) -> str:
        if name == "type":
            return self._expected([_KINDS.get(one, one) for one in bound], at)
        if name == "enum":
            return self._expected(list(map(_option, bound)), at)
        if name == "const":
            return self._expected([_option(bound)], at)
        if name in ("minItems", "minProperties") and bound == 1:
            return _EMPTY
        if name == "maxProperties":
            return f"holds more than {bound}"
        if name == "uniqueItems":
            return "names something twice"
        if name in ("minimum", "exclusiveMinimum"):
            return self._expected([f"{bound} or more" if name == "minimum" else f"more than {bound}"], at)
        if name == "pattern":
            return self._expected([f"text of the pattern {bound}"], at)
        return f"is not what {self._name} allows here ({name})"

    def _expected(self, options: Sequence[str], at: Path) -> str:
        some = options if len(options) <= _CHOICES else [*options[:_CHOICES], "…"]
        said = some[0] if len(some) == 1 else f"{', '.join(some[:-1])} or {some[-1]}"
        found = kind_of(self._at(at))
        return f"expected {said}, found {found if len(found) <= _FOUND else f'{found[: _FOUND - 1]}…'}"

    def _place(self, steps: Iterable[str | int]) -> Path:
        """As it is in the value: jsonschema-rs takes the key "200" for a number."""
        found, place = self._value, []
        for step in steps:
            place.append(step if isinstance(found, list) else str(step))
            found = found[place[-1]]
        return tuple(place)

    def _at(self, at: Path) -> Any:
        found = self._value
        for step in at:
            found = found[step]
        return found

    def _known(self, error: ValidationError) -> list[str]:
        """The keys beside which another one was unknown."""
        found: Any = self._schema
        for step in error.schema_path[:-1]:
            found = found.get(step) if isinstance(found, Mapping) else None
        known = found.get("properties") if isinstance(found, Mapping) else None
        return list(known) if isinstance(known, Mapping) else []

    def _choice(
        self, error: ValidationError, at: Path, branches: Sequence[Sequence[ValidationError]]
    ) -> Iterator[Word]:
        """By the branch that was meant: of the value's own kind, and the one that it came farthest with."""
        some = [branch for branch in branches if branch]
        if not some:
            yield Word(at, "fits several things at once", vague=2)
        elif all(len(branch) == 1 and branch[0].kind.name == "required" for branch in some):
            yield Word(at, f"is missing one of {', '.join(str(branch[0].kind.value) for branch in some)}", vague=1)
        else:
            yield from self._meant(error, at, some)

    def _meant(self, error: ValidationError, at: Path, branches: Sequence[Sequence[ValidationError]]) -> Iterator[Word]:
        here = list(error.instance_path)
        for tag in _TAGS:
            others = {id(branch): _options(branch, [*here, tag]) for branch in branches}
            fitting = [branch for branch in branches if not others[id(branch)]]
            if not fitting:
                options = dict.fromkeys(option for some in others.values() for option in some)
                yield Word((*at, tag), self._expected(list(options), (*at, tag)))
                return
            branches = fitting
        for inner in min(branches, key=lambda branch: _against(branch, here)):
            yield from self.of(inner)


def _options(branch: Sequence[ValidationError], at: list[str | int]) -> list[str]:
    """What a branch wants at a place where something else stands."""
    found = (one.kind.value for one in branch if one.kind.name == "enum" and one.instance_path == at)
    return [_option(option) for options in found for option in options]


def _against(branch: Sequence[ValidationError], here: list[str | int]) -> tuple[bool, bool, int]:
    other_kind = any(one.kind.name == "type" and one.instance_path == here for one in branch)
    return other_kind, any(one.instance_path == here for one in branch), len(branch)


def _excluded(schema: Any) -> str:
    names = schema.get("required") if isinstance(schema, Mapping) else None
    if not names:
        return "says nothing of what belongs here"
    return f"has {' and '.join(names)}, of which it may have one" if len(names) > 1 else f"may not have {names[0]} too"


def _option(value: Any) -> str:
    return value if isinstance(value, str) else kind_of(value)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…"
