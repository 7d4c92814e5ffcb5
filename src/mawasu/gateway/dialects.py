"""Schemas of an OpenAPI document as JSON Schema 2020-12, each whole in itself.

OpenAPI 3.1 has that dialect already; those of Swagger 2.0 and OpenAPI 3.0 are translated. A schema is taken out of its
document together with what it refers to, so that nobody needs the document, or could be led out of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mawasu.gateway.document import NEVER_OURS, Document

Dict = dict[str, Any]

_LEFT_OUT = ("$id", "$schema", "default", "example", "examples")
"""What says where a schema is, or nothing of what is allowed."""
MOST = 50_000
"""Parts of a schema. YAML's anchors can make a short text an endless one."""


class TooLargeError(ValueError):
    """More schema than anybody means."""


class Schemas:
    """Of one document; `old`: in the dialect before OpenAPI 3.1. What they refer to is in `parts`, by number.

    References to what is not there find nothing: their schema cannot be used.
    """

    def __init__(self, doc: Document, *, old: bool) -> None:
        self.parts: Dict = {}
        self._doc, self._old = doc, old
        self._numbers: dict[str, str] = {}
        self._left = MOST

    def whole(self, schema: Any) -> Dict:
        """A schema with all that it refers to. Raises TooLargeError."""
        made = self.part(schema)
        return {"$defs": self.parts} | made

    def part(self, schema: Any) -> Dict:
        """A schema that is used beside `parts` as its `$defs`. Raises TooLargeError."""
        waiting: list[str] = []
        made = self._modern(schema, waiting)
        while waiting:
            pointer = waiting.pop()
            found = self._doc.lookup(pointer)
            # A reference that leads nowhere stands as it was: whoever uses the schema is told.
            self.parts[self._numbers[pointer]] = {"$ref": pointer} if found is None else self._modern(found[0], waiting)
        if not isinstance(made, dict):
            return {"allOf": [made]}  # `true` and `false` are schemas too
        made.pop("$defs", None)  # all that is used of them is in `parts`
        return made

    def _modern(self, value: Any, waiting: list[str], *, named: bool = False) -> Any:
        """`named`: the keys are names that the author chose."""
        self._left -= 1
        if self._left < 0:
            raise TooLargeError(f"more than {MOST} parts")
        if isinstance(value, list):
            return [self._modern(item, waiting) for item in value]
        if not isinstance(value, Mapping):
            return value
        found = {
            str(key): item
            if key in NEVER_OURS and not named
            else self._modern(item, waiting, named=key == "properties" and not named)
            for key, item in value.items()
            if named or key not in _LEFT_OUT
        }
        if named:
            return found
        if isinstance(found.get("$ref"), str):
            reference = {"$ref": f"#/$defs/{self._number(found['$ref'], waiting)}"}
            return reference if self._old else found | reference
        return _without_old_words(found) if self._old else found

    def _number(self, pointer: str, waiting: list[str]) -> str:
        if pointer not in self._numbers:
            self._numbers[pointer] = str(len(self._numbers))
            waiting.append(pointer)
        return self._numbers[pointer]


def is_json(kind: str) -> bool:
    """Whether a media type is JSON (RFC 6839, 3.1)."""
    plain = kind.partition(";")[0].strip().lower()
    return plain == "application/json" or plain.endswith("+json")


def _without_old_words(found: Dict) -> Dict:
    """`nullable`, bounds that are switched to exclusive, and files (OpenAPI 3.0.3, "Schema Object"; Swagger 2.0)."""
    for word, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(found.get(word), bool) and found.pop(word) and bound in found:
            found[word] = found.pop(bound)
    if found.get("type") == "file":
        del found["type"]
    if found.pop("nullable", found.pop("x-nullable", False)) is True and isinstance(found.get("type"), str):
        found["type"] = [found["type"], "null"]
        if isinstance(found.get("enum"), list):
            found["enum"] = [*found["enum"], None]
    return found
