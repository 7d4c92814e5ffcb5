"""A document against the JSON Schema that the OpenAPI Initiative publishes for its version.

The schemas come with `openapi-spec-validator`, of which nothing is imported: three files of it are read. They are held
by `jsonschema-rs`, like everything that a pusher wrote (`serving/schemas.py`). See
decisions/0036-documents-are-held-to-openapis-own-schemas.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from mawasu.gateway.document import Path
from mawasu.gateway.meant import decided
from mawasu.gateway.wording import Word, words

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError, Validator

    from mawasu.gateway.openapi import Reading

PACKAGE = "openapi-spec-validator"
FOLDER = "openapi_spec_validator/resources/schemas"

MOST = 200_000
"""Values of a document. YAML's aliases can make more of a few lines than any memory holds."""
DEEPEST = 200
LARGE = 50_000
"""Values of a document of which one fault is told at a time: a validator makes them all, at 2 to 4 kB each."""
TOLD = 100
"""Faults. Who has more begins with these."""

STEPS = 100_000
"""Steps back that a pattern may take for one text; the schemas' own need none."""

NAMED = frozenset({"properties", "patternProperties", "headers", "schemas", "definitions", "$defs"})
"""Keys whose keys are names that the author chose: `x-size` below them is no extension."""

DIALECT = "https://json-schema.org/draft/2020-12/schema"
DIALECTS = (DIALECT, "https://spec.openapis.org/oas/3.1/dialect/base")
"""What schemas of OpenAPI 3.1 are written in unless `jsonSchemaDialect` names another."""


class _TooLargeError(ValueError):
    """More of a document than anybody means."""


class Official(NamedTuple):
    """A schema, and what holds documents against it."""

    schema: Mapping[str, Any]
    validator: Validator


def check(reading: Reading) -> None:
    """Faults for all that the schema has to say, save what others have said already: so it comes last."""
    _check_ids(reading)
    version = version_of(reading.root)
    if not version:
        return  # that is a fault already, and there is no schema to hold it against
    copy = Plain()
    try:
        value = copy.of(reading.root)
    except _TooLargeError as error:
        reading.fault((), str(error))
        return
    _complete_schemes(value, reading.schemes_at)
    said = _new(faults(version, value, copy.values > LARGE), reading.doc.places())
    for word in said[:TOLD]:
        reading.fault(word.at, word.text)
    if said and copy.values > LARGE:
        reading.fault((), f"holds more than {LARGE:,} values: there may be more faults than the first")
    if len(said) > TOLD:
        reading.fault((), f"has more faults than {TOLD}: these come first")


def version_of(root: Mapping[str, Any]) -> str:
    """2.0, 3.0 or 3.1; "" for any other."""
    if "swagger" in root:
        return "2.0" if str(root["swagger"]) == "2.0" else ""
    said = str(root.get("openapi", ""))[:3]
    return said if said in ("3.0", "3.1") else ""


def faults(version: str, value: Any, large: bool = False) -> list[Word]:
    """All that the schema of a version says of a plain value, up to what anybody reads; the first of a `large` one."""
    free = version == "3.1" and value.get("jsonSchemaDialect", DIALECT) not in DIALECTS
    schema, validator = official(version, free)
    try:
        if validator.is_valid(value):
            return []
        errors = _first(validator, value) if large else validator.iter_errors(value)
        return list(islice(words(errors, value, schema, _name(version)), 10 * TOLD))
    except ValueError as error:
        return [Word((), f"cannot be held against {_name(version)}: {str(error)[:100]}")]


def _first(validator: Validator, value: Any) -> list[ValidationError]:
    from jsonschema_rs import ValidationError as Wrong

    try:
        validator.validate(value)
    except Wrong as error:
        return [error]
    return []


def _name(version: str) -> str:
    return "Swagger 2.0" if version == "2.0" else f"OpenAPI {version}"


# ------------------------------------------------------------------------------------------------------ the schemas


def published(version: str) -> dict[str, Any]:
    """The schema of a version as it was published."""
    from importlib.metadata import distribution

    text = distribution(PACKAGE).locate_file(f"{FOLDER}/v{version}/schema.json").read_text()  # ASCII
    found: dict[str, Any] = json.loads(text)
    return found


@cache
def official(version: str, free: bool = False) -> Official:
    """`free`: schemas inside the document are in a dialect that nobody here knows, and may be anything."""
    from jsonschema_rs import Draft7Validator, Draft202012Validator, FancyRegexOptions

    schema = published(version)
    if version == "3.1":
        if not free:  # what it leaves to dialects is JSON Schema's own, whose eight parts each say what a schema is not
            schema["$defs"]["schema"] |= {"if": {"type": ["object", "boolean"]}, "then": {"$ref": DIALECT}}
    else:
        schema = decided(schema)
    draft = Draft202012Validator if version == "3.1" else Draft7Validator
    bounds = FancyRegexOptions(backtrack_limit=STEPS)
    made = draft(schema, offline=True, validate_formats=False, mask="it", pattern_options=bounds)
    return Official(schema, made)


# ------------------------------------------------------------------------------------------------------ the document


class Plain:
    """JSON values of a document, without extensions, of which the schemas say nothing."""

    def __init__(self) -> None:
        self.values = 0

    def of(self, value: Any, depth: int = 0, named: bool = False) -> Any:
        """Raises _TooLargeError."""
        self.values += 1
        if self.values > MOST:
            raise _TooLargeError(f"holds more than {MOST:,} values, those of its aliases counted each time")
        if depth > DEEPEST:
            raise _TooLargeError("is nested too deeply")
        if isinstance(value, Mapping):
            return {
                _text(str(key)): self.of(item, depth + 1, not named and key in NAMED)
                for key, item in value.items()
                if named or not str(key).startswith("x-")
            }
        if isinstance(value, list | tuple):
            return [self.of(item, depth + 1) for item in value]
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return value if abs(value) < 2**63 else 1e300  # as a number it is one of those
        if isinstance(value, float):
            return value if abs(value) < 1e300 else None  # JSON has neither infinities nor what is no number
        return _text(str(value))  # dates of YAML


def _text(value: str) -> str:
    """Half a surrogate pair, which YAML can write, is no text."""
    return value if value.isascii() else value.encode(errors="replace").decode()


def _complete_schemes(value: dict[str, Any], at: Path) -> None:
    """What the gateway lets a scheme leave out: the usual places of keys, and how clients come by a token."""
    found: Any = value
    for key in at:
        found = found.get(key) if isinstance(found, dict) else None
    for scheme in found.values() if isinstance(found, dict) else ():
        if not isinstance(scheme, dict):
            continue
        if scheme.get("type") == "apiKey" and not {"in", "name"} & scheme.keys():
            scheme |= {"in": "header", "name": "x-api-key"}
        if scheme.get("type") == "oauth2":
            missing: dict[str, Any] = {"flows": {}} if len(at) > 1 else {"flow": "implicit", "authorizationUrl": ""}
            if not missing.keys() & scheme.keys():
                scheme |= missing


# ------------------------------------------------------------------------------------------------------ once each


def _new(said: Iterable[Word], told: Iterable[Path]) -> list[Word]:
    """Without what was told at the same place or below; and of what is vague, only what nothing explains."""
    above = _above(map(_key, told))
    found: dict[tuple[str, ...], Word] = {}
    for vague in range(3):
        for word in said:
            if word.vague == vague and _key(word.at) not in above:
                found.setdefault(_key(word.at), word)
        above |= _above(found)
    return list(found.values())


def _above(places: Iterable[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """The places themselves, and all that they are in."""
    return {place[:length] for place in places for length in range(len(place) + 1)}


def _key(at: Path) -> tuple[str, ...]:
    return tuple(map(str, at))


def _check_ids(reading: Reading) -> None:
    """operationIds that name two operations, which a schema cannot say (OpenAPI 3.1.0, 4.8.10.1)."""
    taken: dict[str, Path] = {}
    for found in reading.operations:
        name = found.operation.id
        first = taken.setdefault(name, found.at) if name else found.at
        if first != found.at:
            where = ".".join(map(str, first))
            reading.fault((*found.at, "operationId"), f"{name!r} is the operationId of {where} already")
