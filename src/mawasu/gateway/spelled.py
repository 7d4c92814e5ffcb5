"""Words of a document that no version of OpenAPI has: a misspelt `security` would leave an operation open.

Only where the gateway reads. Source: OpenAPI 3.0.3 and 3.1.0, "Schema"; Swagger 2.0, "Specification". `official.py`
says it of the whole document; this holds whatever becomes of the schemas there, and knows what Google's keys are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from mawasu.gateway.document import Path, nearest

if TYPE_CHECKING:
    from mawasu.gateway.openapi import Reading

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")

_ROOT = frozenset({"info", "paths", "security", "tags", "externalDocs"})
ROOT = _ROOT | {"openapi", "servers", "components", "webhooks", "jsonSchemaDialect"}
OLD_ROOT = _ROOT | {
    "swagger",
    "host",
    "basePath",
    "schemes",
    "consumes",
    "produces",
    "definitions",
    "parameters",
    "responses",
    "securityDefinitions",
}
COMPONENTS = frozenset(
    {
        "schemas",
        "responses",
        "parameters",
        "examples",
        "requestBodies",
        "headers",
        "securitySchemes",
        "links",
        "callbacks",
        "pathItems",
    }
)
ITEM = frozenset({"$ref", "summary", "description", "servers", "parameters", *METHODS})
OLD_ITEM = ITEM - {"summary", "description", "servers", "trace"}
_OPERATION = frozenset(
    {
        "tags",
        "summary",
        "description",
        "externalDocs",
        "operationId",
        "parameters",
        "responses",
        "deprecated",
        "security",
    }
)
OPERATION = _OPERATION | {"requestBody", "callbacks", "servers"}
OLD_OPERATION = _OPERATION | {"consumes", "produces", "schemes"}
_SCHEME = frozenset({"$ref", "type", "description", "name", "in"})
SCHEME = _SCHEME | {"scheme", "bearerFormat", "flows", "openIdConnectUrl"}
OLD_SCHEME = SCHEME | {"flow", "authorizationUrl", "tokenUrl", "scopes"}  # Google writes both on one


def check(reading: Reading) -> None:
    """Faults for keys that are neither the version's nor an extension (`x-…`), each with the nearest name."""
    old, root = reading.swagger, reading.root
    _known(reading, root, (), OLD_ROOT if old else ROOT)
    if not old and isinstance(root.get("components"), Mapping):
        _known(reading, root["components"], ("components",), COMPONENTS)
    at = reading.schemes_at
    declared = _of(root, "securityDefinitions") if old else _of(root.get("components"), "securitySchemes")
    for name, scheme in declared.items():
        _known(reading, scheme, (*at, str(name)), OLD_SCHEME if old else SCHEME)
    for path, item in _of(root, "paths").items():
        if str(path).startswith("x-"):
            continue
        item, here = reading.doc.resolve(item, ("paths", str(path)))
        _known(reading, item, here, OLD_ITEM if old else ITEM)
        for method in METHODS:
            _known(reading, _of(item, method), (*here, method), OLD_OPERATION if old else OPERATION)


def _of(value: Any, key: str) -> Mapping[Any, Any]:
    found = value.get(key) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _known(reading: Reading, body: Any, at: Path, known: Collection[str]) -> None:
    for key in body if isinstance(body, Mapping) else ():
        if isinstance(key, str) and not key.startswith("x-") and key not in known:
            reading.fault((*at, key), f"unknown key{nearest(key, [*known, *_ours(at)])}")


def _ours(at: Path) -> tuple[str, ...]:
    """What `X-Google-Quota` may have been meant to be."""
    return ("x-google-backend", "x-google-quota") if at[-1:] and at[-1] in METHODS else ()
