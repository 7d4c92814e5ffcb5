"""JSON Schema as OpenAPI 3 has it → Schema Objects of Swagger 2.0, which lacks half of its words.

Endpoints checks no body against a schema; it makes types of them, and refuses what it does not know. So what Swagger
cannot say is left out or widened, never narrowed: every value that fits the document fits what comes out.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mawasu.gateway.document import Document

Dict = dict[str, Any]
FREE: Dict = {"type": "object"}

_SIMPLE = ("string", "number", "integer", "boolean", "array", "object")
_NUMBERS = ("multipleOf", "maximum", "minimum")
_COUNTS = ("maxLength", "minLength", "maxItems", "minItems", "maxProperties", "minProperties")
_TEXTS = ("title", "description", "format", "pattern")


class Names:
    """Names of one kind in one document: identifiers, each given once, the same for the same wishes in any order.

    Google makes `ListShelves` of both `listShelves` and `ListShelves`, so two names that differ in case only are one.
    """

    def __init__(self) -> None:
        self._taken: dict[str, str] = {}

    def give(self, wish: str, mark: str) -> str:
        """`wish` as an identifier; with a part of `mark` (a digest of what is named) where another one has it."""
        plain = identifier(wish)
        for name in (plain, *(f"{plain}_{mark[:length]}" for length in (8, 16, 64))):
            if self._taken.setdefault(name.lower(), mark) == mark:
                return name
        raise AssertionError(f"two things of the digest {mark}")


def identifier(text: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_") or "x"
    return plain if plain[0].isalpha() else f"x{plain}"


class Schemas:
    """Converts the schemas of one document; what they refer to becomes `definitions`, named by `name(pointer)`."""

    def __init__(self, doc: Document, name: Callable[[str], str]) -> None:
        self._doc = doc
        self._name = name
        self._names: dict[str, str] = {}
        self._waiting: deque[tuple[str, Any]] = deque()
        self.definitions: dict[str, Dict] = {}

    def convert(self, value: Any) -> Dict:
        """A schema, and all that it refers to."""
        found = self._schema(value)
        while self._waiting:
            name, target = self._waiting.popleft()
            self.definitions[name] = self._schema(target)
        return found

    def _refer(self, pointer: str) -> Dict:
        if pointer not in self._names:
            found = self._doc.lookup(pointer)
            self._names[pointer] = self._name(pointer)
            self._waiting.append((self._names[pointer], found[0] if found else {}))
        return {"$ref": f"#/definitions/{self._names[pointer]}"}

    def _schema(self, value: Any) -> Dict:
        if not isinstance(value, Mapping):  # `true` and `false` of 3.1
            return {}
        if isinstance(value.get("$ref"), str):
            return self._refer(value["$ref"])
        choices = next((value[key] for key in ("oneOf", "anyOf") if isinstance(value.get(key), list)), None)
        if choices is not None:
            return self._choice(value, choices)
        found = _words(value)
        kind = kind_of(value)
        if kind:
            found["type"] = kind
        self._inside(value, found)
        return found

    def _choice(self, value: Mapping[str, Any], choices: Sequence[Any]) -> Dict:
        """One choice beside null is that one; several are what they have in common, else a free-form object."""
        some = [one for one in choices if not _is_null(one)]
        if len(some) == 1 and "properties" not in value:
            return self._schema(some[0])
        kinds = {kind_of(self._target(one)) for one in some}
        kind = kinds.pop() if len(kinds) == 1 else ""
        found = _words({key: value[key] for key in ("title", "description") if key in value})
        if kind == "array":
            found["items"] = {}
        return found | {"type": kind or "object"}

    def _target(self, value: Any) -> Any:
        return self._doc.resolve(value, ())[0] if isinstance(value, Mapping) else value

    def _inside(self, value: Mapping[str, Any], found: Dict) -> None:
        properties = value.get("properties")
        if isinstance(properties, Mapping):
            found["properties"] = {str(name): self._schema(item) for name, item in properties.items()}
        more = value.get("additionalProperties")
        if isinstance(more, bool):
            found["additionalProperties"] = more
        elif isinstance(more, Mapping):
            found["additionalProperties"] = self._schema(more)
        if isinstance(value.get("allOf"), list) and value["allOf"]:
            found["allOf"] = [self._schema(item) for item in value["allOf"]]
        if found.get("type") == "array":
            items = value.get("items")
            found["items"] = self._schema(items) if isinstance(items, Mapping) else {}


def kind_of(value: Any) -> str:
    """The one type of a schema's values beside null; "" when it has none or several (3.1: a list of types)."""
    said = value.get("type") if isinstance(value, Mapping) else None
    kinds = [kind for kind in (said if isinstance(said, list) else [said]) if kind != "null"]
    return str(kinds[0]) if len(kinds) == 1 and kinds[0] in _SIMPLE else ""


def simple(value: Any, resolve: Callable[[Any], Any], inside: bool = False) -> Dict:
    """A schema as a parameter that is no body has it in Swagger 2.0: a simple type, or an array of them.

    What is more than that arrives as text anyway.
    """
    value = resolve(value)
    kind = kind_of(value)
    if kind == "array" and not inside:
        return {"type": "array", "items": simple(value.get("items", {}), resolve, inside=True)}
    if kind in ("", "object", "array"):
        return {"type": "string"}
    return {"type": kind} | {key: item for key, item in _words(value).items() if key not in ("title", "description")}


def _words(value: Mapping[str, Any]) -> Dict:
    """The words that both languages have, and those of 3.1 that 2.0 says otherwise."""
    found: Dict = {key: value[key] for key in _TEXTS if isinstance(value.get(key), str)}
    found |= {key: value[key] for key in _NUMBERS if _is_number(value.get(key))}
    found |= {key: value[key] for key in _COUNTS if _is_number(value.get(key)) and value[key] >= 0}
    if value.get("uniqueItems") is True:
        found["uniqueItems"] = True
    for word, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        limit = value.get(word)
        if _is_number(limit) and bound not in found:  # 3.1
            found |= {bound: limit, word: True}
        elif limit is True and bound in found:
            found[word] = True
    required = value.get("required")
    if isinstance(required, list) and required and all(isinstance(name, str) for name in required):
        found["required"] = list(dict.fromkeys(required))
    allowed = [value["const"]] if "const" in value else value.get("enum")
    if isinstance(allowed, list) and all(isinstance(item, str | None) for item in allowed) and any(allowed):
        found["enum"] = [item for item in dict.fromkeys(allowed) if item is not None]
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_null(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("type") == "null"
