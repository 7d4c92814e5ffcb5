"""Bodies of requests held to the OpenAPI file, so that a handler sees only what its author said it takes."""

from __future__ import annotations

import sys
from typing import Any

import msgspec

from mawasu.serving.errors import RequestError
from mawasu.serving.metrics import Operations
from mawasu.serving.schemas import Schema, SchemaError

PATHS = 1024
"""Different paths whose operation is remembered: callers choose them."""


class Bodies:
    """`told`: as `gateway.bodies` writes it. `prefix`: what requests have before their path."""

    def __init__(self, told: str, prefix: str) -> None:
        document: dict[str, dict[str, Any]] = msgspec.json.decode(told) if told else {}
        operations = document.get("operations", {})
        self._schemas: dict[str, Schema] = {}
        for name, schema in operations.items():
            try:
                self._schemas[name] = Schema({"$defs": document["$defs"]} | schema)
            except SchemaError as error:
                print(f"mawasu: bodies of {name} are not checked: {error}", file=sys.stderr, flush=True)
        self._operations = Operations(tuple(operations), prefix)
        self._known: dict[tuple[str, bytes], Schema | None] = {}

    def check(self, method: str, path: bytes, body: bytes) -> None:
        """Raises RequestError (400). `body` is known to be JSON."""
        schema = self._of(method, path)
        if schema is None:
            return
        try:
            value = msgspec.json.decode(body)
        except (ValueError, RecursionError) as error:  # it is JSON, but says a number that nothing here can hold
            raise RequestError(400, f"the body cannot be read: {error}") from None
        fault = schema.fault(value, "body")
        if fault:
            raise RequestError(400, fault)

    def _of(self, method: str, path: bytes) -> Schema | None:
        if not self._schemas:
            return None
        try:
            return self._known[method, path]
        except KeyError:
            if len(self._known) >= PATHS:
                self._known.clear()
            found = self._schemas.get(self._operations.of(method, path))
            self._known[method, path] = found
            return found
