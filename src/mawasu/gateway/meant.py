"""Choices of a JSON Schema of which a look at the value says which one is meant, written as `if`.

A failed `oneOf` says only that nothing fits, and what it holds ready of all its branches grows with every level.
OpenAPI 3.1's own schema is written with `if` for this; those before it are brought to that here. What they allow is the
same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Dict = dict[str, Any]

_REFERENCE = ("#/definitions/Reference", "#/definitions/jsonReference")
_DRAFT_4 = "http://json-schema.org/draft-04/schema#"
_KINDS = ("boolean", "array")
_TAGS = ("in", "type")


class _Tag(NamedTuple):
    """A choice that is known by what stands at a key."""

    key: str
    values: tuple[str, ...]


def decided(schema: Mapping[str, Any]) -> Dict:
    """A schema of draft 4 as one of draft 7, with `if` in place of choices."""
    made: Dict = _Deciding(schema).of({key: item for key, item in schema.items() if key not in ("id", "$schema")})
    return made


class _Deciding:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root

    def of(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.of(item) for item in value]
        if not isinstance(value, Mapping):
            return value
        if str(value.get("$ref", "")).startswith(_DRAFT_4):
            value = _foreign(value["$ref"])
        made = {key: self.of(item) for key, item in value.items()}
        if made.get("exclusiveMinimum") is True:  # draft 4 has it beside the bound
            made["exclusiveMinimum"] = made.pop("minimum")
        for word in ("oneOf", "anyOf"):
            choice = self._choice(value.get(word), made.get(word))
            if choice is not None:
                del made[word]
                made["allOf"] = [*made.get("allOf", ()), choice]
        return made

    def _choice(self, said: Any, made: Any) -> Dict | None:
        """One after the other; None where a look does not tell them apart."""
        if not isinstance(said, list):  # also a property that is called so
            return None
        return next((choice for key in _TAGS if (choice := self._by(key, said, made))), None)

    def _by(self, key: str, said: Sequence[Any], made: Sequence[Dict]) -> Dict | None:
        guards = [self._guard(one, key) for one in said]
        others = [one for one, guard in zip(made, guards, strict=True) if guard is None]
        named = [value for guard in guards if isinstance(guard, _Tag) for value in guard.values]
        if len(others) > 1 or len(set(named)) < len(named):
            return None
        rest = others[0] if others else _is(_Tag(key, tuple(named)))
        for one, guard in zip(made, guards, strict=True):
            if guard is not None:
                rest = {"if": _is(guard) if isinstance(guard, _Tag) else guard, "then": one, "else": rest}
        return rest

    def _guard(self, choice: Mapping[str, Any], key: str) -> Dict | _Tag | None:
        """What a value has, and no value that means another choice."""
        if choice.get("$ref") in _REFERENCE:
            return {"type": "object", "required": ["$ref"]}
        if choice.get("type") in _KINDS:
            return {"type": choice["type"]}
        return self._tag(choice, key)

    def _tag(self, choice: Mapping[str, Any], key: str) -> _Tag | None:
        if isinstance(choice.get("$ref"), str):
            choice = self._root["definitions"].get(choice["$ref"].rpartition("/")[2], {})
        found = choice.get("properties", {}).get(key, {}).get("enum")
        if isinstance(found, list) and (key == "in" or len(found) == 1):
            return _Tag(key, tuple(found))
        inner: Sequence[Any] = choice.get("oneOf", ())
        tags = [self._tag(one, key) for one in inner]
        if tags and all(tags):
            return _Tag(key, tuple(value for tag in tags if tag for value in tag.values))
        return None


def _foreign(reference: str) -> Dict:
    """What stands in draft 4's own schema, which a validator of draft 7 does not have."""
    from jsonschema_rs import Draft4, dereference

    return dereference({"$ref": reference}, draft=Draft4, offline=True)


def _is(tag: _Tag) -> Dict:
    return {"type": "object", "required": [tag.key], "properties": {tag.key: {"enum": list(tag.values)}}}
