"""What a document says of the JSON bodies of requests, for the server in front of a handler, which holds them to it."""

from __future__ import annotations

import json
from typing import Any

from mawasu.gateway.contract import Contract
from mawasu.gateway.dialects import Schemas, TooLargeError, is_json
from mawasu.gateway.openapi import Reading

MOST = 64 * 2**10
"""Characters: a server is told them when it starts, by its command line, which holds twice as much (execve(2))."""


def bodies(reading: Reading) -> str:
    """A JSON object: `operations`, a schema by `METHOD /path`, and `$defs`, what they refer to. "" for none.

    Raises TooLargeError.
    """
    contract = Contract(reading)
    schemas = Schemas(reading.doc, old=reading.old)
    found: dict[str, Any] = {}
    for one in contract.served:
        taken = contract.takes(one)
        kind = next((kind for kind in sorted(taken, key=_order) if is_json(kind)), None)
        if kind is not None and taken[kind] is not None:
            found[f"{one.operation.method} {one.operation.path}"] = schemas.part(taken[kind])
    return _text({"operations": found, "$defs": schemas.parts}) if found else ""


def _order(kind: str) -> tuple[bool, str]:
    return kind != "application/json", kind


def _text(value: Any) -> str:
    """Piece by piece, for what YAML's anchors made endless."""
    text = ""
    try:
        for piece in json.JSONEncoder(default=str, separators=(",", ":")).iterencode(value):
            text += piece
            if len(text) > MOST:
                raise TooLargeError(f"more than {MOST} characters")
    except (RecursionError, TypeError) as error:
        raise TooLargeError(str(error)) from None
    return text
