"""Names of fields inside strings: update masks (google.protobuf.FieldMask) and partial answers (`?fields=`)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tests.google.double.documents import nearest


def mask_faults(document: Mapping[str, Any], schema: str, text: str) -> Iterable[str]:
    """What is wrong with an update mask over a message: a name that it does not have, or one that is output only."""
    if text == "*":
        return
    for path in text.split(","):
        place: Mapping[str, Any] = {"$ref": schema}
        for name in path.split("."):
            place = _resolved(document, place)
            if "additionalProperties" in place:  # `labels.team`: one key of a map
                break
            known = place.get("properties", {})
            camel = re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), name)
            if camel not in known:
                yield f"{path!r}: {place.get('id', 'it')} has no {name!r}{nearest(camel, known)}"
                break
            if known[camel].get("readOnly"):
                yield f"{path!r} is output only"
                break
            place = known[camel]


def selection_faults(document: Mapping[str, Any], schema: str, text: str) -> list[str]:
    """What is wrong with `?fields=`: `items(name,size),nextPageToken`, `a/b`, `*`."""
    faults: list[str] = []
    tokens = re.findall(r"[\w@*.-]+|[(),/]", text)
    if "".join(tokens) != text or text.count("(") != text.count(")"):
        return [f"{text!r} is no selection of fields"]
    rest = _select(document, {"$ref": schema}, tokens, faults)
    return [*faults, f"{text!r} is no selection of fields"] if rest and not faults else faults


def selected(value: Any, text: str) -> Any:
    """The part of an answer that `?fields=` asks for."""
    tokens = re.findall(r"[\w@*.-]+|[(),/]", text)
    return _kept(value, _tree(tokens))


def _tree(tokens: list[str]) -> dict[str, Any]:
    """The selection as nested names; takes the tokens it reads, up to a closing bracket. {} below a name: all of it."""
    tree: dict[str, Any] = {}
    while tokens and tokens[0] != ")":
        place, name = tree, tokens.pop(0)
        while tokens and tokens[0] == "/":
            place = place.setdefault(name, {})
            name = tokens[1]
            del tokens[:2]
        below = place.setdefault(name, {})
        if tokens and tokens[0] == "(":
            tokens.pop(0)
            below |= _tree(tokens)
            tokens.pop(0)
        if tokens and tokens[0] == ",":
            tokens.pop(0)
    return tree


def _kept(value: Any, tree: Mapping[str, Any]) -> Any:
    if not tree:
        return value
    if isinstance(value, list):
        return [_kept(one, tree) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _kept(one, tree.get(name, tree.get("*"))) for name, one in value.items() if name in tree or "*" in tree
    }


def _select(document: Mapping[str, Any], schema: Mapping[str, Any], tokens: list[str], faults: list[str]) -> list[str]:
    """Reads one comma-separated list; returns the tokens after it."""
    while tokens:
        tokens = _one(document, schema, tokens, faults)
        if not tokens or tokens[0] != ",":
            return tokens
        tokens = tokens[1:]
    return tokens


def _one(document: Mapping[str, Any], schema: Mapping[str, Any], tokens: list[str], faults: list[str]) -> list[str]:
    name, rest = tokens[0], tokens[1:]
    place = _resolved(document, schema)
    while place.get("type") == "array":
        place = _resolved(document, place["items"])
    known = place.get("properties", {})
    below: Mapping[str, Any] = known.get(name) or place.get("additionalProperties") or {"type": "any"}
    if name != "*" and name not in known and "additionalProperties" not in place and place.get("type") != "any":
        faults.append(f"{place.get('id', 'it')} has no {name!r}{nearest(name, known)}")
    if rest and rest[0] == "/" and len(rest) > 1:
        return _one(document, below, rest[1:], faults)
    if rest and rest[0] == "(":
        rest = _select(document, below, rest[1:], faults)
        return rest[1:] if rest and rest[0] == ")" else ["("]
    return rest


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        schema = document["schemas"][schema["$ref"]]
    return schema
