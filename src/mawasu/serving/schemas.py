"""A JSON value against a JSON Schema (2020-12), and in one line what is wrong with it.

By `jsonschema-rs`: a quarter of a microsecond for a small body, and what a pusher's schema can do to whoever uses it is
bounded. Nothing outside a schema is looked for, references in a circle end, and a pattern gives up instead of running
for ever. `format` is an annotation, as the specification has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError

STEPS = 100_000
"""Steps back that a pattern may take for one text; what needs more does not match."""
SHOWN = 200  # characters


class SchemaError(ValueError):
    """A schema that nothing can be held against."""


class Schema:
    """One schema, ready to be held against values. Raises SchemaError."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        from jsonschema_rs import Draft202012Validator, FancyRegexOptions, ReferencingError
        from jsonschema_rs import ValidationError as Wrong

        bounds = FancyRegexOptions(backtrack_limit=STEPS)
        try:
            self._validator = Draft202012Validator(dict(schema), offline=True, pattern_options=bounds)
        except (Wrong, ReferencingError, ValueError, TypeError, RecursionError) as error:
            raise SchemaError(_line(getattr(error, "message", "") or str(error))) from None

    def fault(self, value: Any, name: str = "$") -> str:
        """What is wrong with a value as JSON, which is called `name`; "" for nothing."""
        try:
            if self._validator.is_valid(value):
                return ""
            return _said(next(iter(self._validator.iter_errors(value))), name)
        except ValueError as error:  # nested deeper than anybody means it
            return f"{name}: {_line(str(error))}"


def _said(error: ValidationError, name: str) -> str:
    """Of several choices the one that the value came nearest to."""
    while True:
        choices: Iterable[list[ValidationError]] = getattr(error.kind, "context", None) or ()
        firsts = [choice[0] for choice in choices if choice]
        if not firsts:
            break
        best = max(_near(one) for one in firsts)
        nearest = [one for one in firsts if _near(one) == best]
        if len(nearest) > 1 and len(nearest[0].instance_path) <= len(error.instance_path):
            break
        error = nearest[0]
    at = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.instance_path)
    return f"{name}{_line(at)}: {_line(error.message)}"


def _near(error: ValidationError) -> tuple[int, bool]:
    """How far a value got before it was wrong, and whether it was at least of the right type."""
    return len(error.instance_path), error.kind.name != "type"


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…"
