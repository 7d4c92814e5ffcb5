"""Is a document Swagger 2.0, as far as Cloud Endpoints reads it? Written from the specification and its prose.

Stricter than the specification: of extensions only Google's are known, and every field is one that mawasu writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jsonschema

Dict = dict[str, Any]
METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
TEXT = {"type": "string"}
TEXTS = {"type": "array", "items": TEXT, "uniqueItems": True}
COUNT = {"type": "integer", "minimum": 0}
NUMBER = {"type": "number"}
FLAG = {"type": "boolean"}


def closed(needed: tuple[str, ...] = (), /, **properties: Any) -> Dict:
    """An object of these members and no others."""
    return {"type": "object", "properties": properties, "required": list(needed), "additionalProperties": False}


def every(value: Any) -> Dict:
    return {"type": "object", "additionalProperties": value}


LIMITS: Dict = {
    "maximum": NUMBER,
    "minimum": NUMBER,
    "multipleOf": {"type": "number", "exclusiveMinimum": 0},
    "exclusiveMaximum": FLAG,
    "exclusiveMinimum": FLAG,
    "maxLength": COUNT,
    "minLength": COUNT,
    "pattern": TEXT,
    "maxItems": COUNT,
    "minItems": COUNT,
    "uniqueItems": FLAG,
    "enum": {"type": "array", "minItems": 1},
    "format": TEXT,
}
REF = closed(("$ref",), **{"$ref": {"type": "string", "pattern": "^#/definitions/"}})
SCHEMA_OBJECT = closed(
    **LIMITS,
    title=TEXT,
    description=TEXT,
    maxProperties=COUNT,
    minProperties=COUNT,
    required={**TEXTS, "minItems": 1},
    type={"enum": ["string", "number", "integer", "boolean", "array", "object"]},
    items={"$ref": "#/$defs/schema"},
    allOf={"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/schema"}},
    properties=every({"$ref": "#/$defs/schema"}),
    additionalProperties={"anyOf": [FLAG, {"$ref": "#/$defs/schema"}]},
) | {
    "if": {"properties": {"type": {"const": "array"}}, "required": ["type"]},
    "then": {"required": ["items"]},
}
SIMPLE = closed(
    ("type",),
    **LIMITS,
    type={"enum": ["string", "number", "integer", "boolean", "array"]},
    items={"$ref": "#/$defs/simple"},
)
PARAMETER = closed(
    ("name", "in", "type"),
    **LIMITS,
    name=TEXT,
    description=TEXT,
    required=FLAG,
    type={"enum": ["string", "number", "integer", "boolean", "array", "file"]},
    items={"$ref": "#/$defs/simple"},
    collectionFormat={"enum": ["multi"]},
    **{"in": {"enum": ["path", "query", "header", "formData"]}},
) | {
    "if": {"properties": {"in": {"const": "path"}}, "required": ["in"]},
    "then": {"properties": {"required": {"const": True}}, "required": ["required"]},
}
BODY = closed(
    ("name", "in", "schema"), name=TEXT, required=FLAG, schema={"$ref": "#/$defs/schema"}, **{"in": {"const": "body"}}
)
CALLED = {"protocol": {"enum": ["h2", "http/1.1"]}, "deadline": {"type": "number", "exclusiveMinimum": 0}}
OWN = closed(
    ("address", "jwt_audience", "path_translation", *CALLED),
    address={"type": "string", "pattern": "^https?://[^/]+(/-open)?$"},
    jwt_audience=TEXT,
    path_translation={"const": "APPEND_PATH_TO_ADDRESS"},
    **CALLED,
)
OUTSIDE = closed(
    ("address", "path_translation", *CALLED),
    address={"type": "string", "pattern": "^https://[^/?#]+(/[^?#]+)?$"},
    jwt_audience=TEXT,
    disable_auth={"const": True},
    path_translation={"const": "CONSTANT_ADDRESS"},
    **CALLED,
)
BACKEND = {"oneOf": [OWN, OUTSIDE | {"oneOf": [{"required": ["jwt_audience"]}, {"required": ["disable_auth"]}]}]}
OPERATION = closed(
    ("operationId", "responses", "security", "x-google-backend"),
    operationId={"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_]*$"},
    summary=TEXT,
    description=TEXT,
    consumes=TEXTS,
    produces=TEXTS,
    parameters={"type": "array", "items": {"anyOf": [PARAMETER, BODY]}},
    responses={
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": "^([1-5][0-9]{2}|default)$"},
        "additionalProperties": closed(("description",), description=TEXT, schema={"$ref": "#/$defs/schema"}),
    },
    security={"type": "array", "items": every({"type": "array", "maxItems": 0})},
    **{"x-google-backend": BACKEND, "x-google-quota": closed(("metricCosts",), metricCosts=every(COUNT))},
)
LOCATION = {
    "anyOf": [closed(("header",), header=TEXT, value_prefix=TEXT), closed(("query",), query=TEXT)],
}
PROVIDER = closed(
    ("type", "flow", "authorizationUrl", "x-google-issuer", "x-google-jwks_uri", "x-google-audiences"),
    type={"const": "oauth2"},
    flow={"const": "implicit"},
    authorizationUrl={"const": ""},
    **{
        "x-google-issuer": TEXT,
        "x-google-jwks_uri": {"type": "string", "pattern": "^https://"},
        "x-google-audiences": {"type": "string", "minLength": 1},
        "x-google-jwt-locations": {"type": "array", "minItems": 1, "items": LOCATION},
    },
)
API_KEY = closed(("type", "in", "name"), type={"const": "apiKey"}, name=TEXT, **{"in": {"enum": ["query", "header"]}})
METRIC = closed(
    ("name", "valueType", "metricKind"),
    name=TEXT,
    displayName=TEXT,
    valueType={"const": "INT64"},
    metricKind={"const": "DELTA"},
)
LIMIT = closed(
    ("name", "metric", "unit", "values"),
    name=TEXT,
    metric=TEXT,
    unit={"const": "1/min/{project}"},
    values=closed(("STANDARD",), STANDARD={"type": "integer"}),
)
SCHEMA: Dict = closed(
    ("swagger", "info", "host", "paths", "x-google-endpoints"),
    swagger={"const": "2.0"},
    info=closed(("title", "version"), title=TEXT, version=TEXT, description=TEXT),
    host={"type": "string", "pattern": r"^[^{}/ \\]+$"},
    basePath={"const": "/"},
    schemes={"const": ["https"]},
    consumes=TEXTS,
    produces=TEXTS,
    paths={
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": "^/"},
        "additionalProperties": closed(**dict.fromkeys(METHODS, OPERATION)),
    },
    definitions=every({"$ref": "#/$defs/schema"}),
    securityDefinitions=every({"anyOf": [PROVIDER, API_KEY]}),
    **{
        "x-google-endpoints": {"type": "array", "items": closed(("name", "allowCors"), name=TEXT, allowCors=FLAG)},
        "x-google-management": closed(
            ("metrics", "quota"),
            metrics={"type": "array", "items": METRIC},
            quota=closed(("limits",), limits={"type": "array", "items": LIMIT}),
        ),
    },
) | {"$defs": {"schema": {"anyOf": [REF, SCHEMA_OBJECT]}, "simple": SIMPLE}}

_VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def faults(document: Any) -> list[tuple[str, str]]:
    """(where, what) of everything that is wrong: by the schema, then by what the specification says in prose."""
    wrong = [
        (".".join(map(str, error.absolute_path)), error.message[:300]) for error in _VALIDATOR.iter_errors(document)
    ]
    return wrong or [*_operations(document), *_references(document), *_metrics(document)]


def operations(document: Dict) -> Iterator[tuple[str, str, Dict]]:
    """(path, method, operation) of all."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def _operations(document: Dict) -> Iterator[tuple[str, str]]:
    ids: dict[str, str] = {}
    shapes: dict[str, str] = {}
    for path in document["paths"]:
        shape = re.sub(r"\{[^{}]*\}", "{}", path)
        if shapes.setdefault(shape, path) != path:
            yield path, f"matches the same paths as {shapes[shape]}"
        for segment in path.split("/"):
            if "{" in segment and not re.fullmatch(r"\{[A-Za-z_][A-Za-z0-9_]*\}", segment):
                yield path, f"{segment} is no whole segment with an identifier in it"
    for path, method, operation in operations(document):
        where = f"{method} {path}"
        if (first := ids.setdefault(operation["operationId"].lower(), where)) != where:
            yield where, f"operationId '{operation['operationId']}' has duplicate entry: {first}"
        listed = operation.get("parameters", [])
        declared = [one["name"] for one in listed if one["in"] == "path"]
        if declared != re.findall(r"\{([^{}]*)\}", path):
            yield where, f"path parameters {declared} are not those of the path"
        names = [(one["in"], one["name"]) for one in listed]
        if len(set(names)) != len(names) or [place for place, _ in names].count("body") > 1:
            yield where, "a parameter comes twice"
        yield from ((where, fault) for fault in _security(document, operation))


def _security(document: Dict, operation: Dict) -> Iterator[str]:
    """What Endpoints holds: a list (OR) of tokens, or one mapping with at most one token and one API key."""
    defined = document.get("securityDefinitions", {})
    kinds = [[defined.get(name, {}).get("type") for name in one] for one in operation["security"]]
    if any(None in one for one in kinds):
        yield f"security {operation['security']} names what is not defined"
    for one in kinds:
        if one.count("oauth2") > 1 or one.count("apiKey") > 1 or not one:
            yield "contains multiple security definitions that get logically ANDed, or none"
        if "apiKey" in one and len(kinds) > 1:
            yield "an API key is one of several alternatives"


def _references(value: Any, root: Any = None) -> Iterator[tuple[str, str]]:
    root = value if root is None else root
    if isinstance(value, dict):
        pointer = value.get("$ref")
        if isinstance(pointer, str) and pointer.removeprefix("#/definitions/") not in root.get("definitions", {}):
            yield pointer, "leads nowhere"
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _references(item, root)


def _metrics(document: Dict) -> Iterator[tuple[str, str]]:
    management = document.get("x-google-management", {"metrics": [], "quota": {"limits": []}})
    known = {one["name"] for one in management["metrics"]}
    used = {one["metric"] for one in management["quota"]["limits"]}
    for path, method, operation in operations(document):
        costs = operation.get("x-google-quota", {}).get("metricCosts", {})
        used |= costs.keys()
        kinds = [document["securityDefinitions"][name]["type"] for one in operation["security"] for name in one]
        if costs and "apiKey" not in kinds:
            yield f"{method} {path}", "counts calls without an API key"
    yield from ((name, "is no metric") for name in used - known)
