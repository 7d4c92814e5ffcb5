"""The OpenAPI document against what a candidate answered: every example is an operation of it, every answer fits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import UNSET

from mawasu.errors import BlockedError
from mawasu.executor.candidate import Answer
from mawasu.ports import Log
from mawasu.spec.examples import Example, Request


def load_document(text: str) -> Mapping[str, Any]:
    """The OpenAPI document as JSON values; that it is sound is the gateway compiler's business."""
    from ruamel.yaml import YAML

    found: Mapping[str, Any] = YAML(typ="safe", pure=True).load(text)
    return found


def check_contract(
    document: Mapping[str, Any], examples: Sequence[Example], answers: Mapping[str, list[Answer]], log: Log
) -> None:
    """Raises BlockedError with all examples that the document does not know or whose answers break its schemas."""
    wrong: list[str] = []
    for example in examples:
        asked = f"{example.request.method} {example.request.path} (example `{example.name}`)"
        operation = _operation(document, example.request)
        if operation is None:
            wrong.append(f"{asked} is not in the OpenAPI document")
            continue
        faults = (_fault(document, operation, answer) for answer in answers[example.name])
        wrong += [f"{asked}: {fault}" for fault in faults if fault]
    for line in wrong:
        log.write(line)
    if wrong:
        raise BlockedError("; ".join(dict.fromkeys(wrong)), "make the answer and auth.openapi agree")
    log.write(f"{len(examples)} examples agree with the OpenAPI document")


def _operation(document: Mapping[str, Any], request: Request) -> Mapping[str, Any] | None:
    path = request.path.partition("?")[0]
    for template, item in document.get("paths", {}).items():
        pattern = "".join(
            "[^/]+" if part.startswith("{") else re.escape(part) for part in re.split(r"(\{[^}]*\})", template)
        )
        if re.fullmatch(pattern + "/?", path) and request.method.lower() in item:
            found: Mapping[str, Any] = item[request.method.lower()]
            return found
    return None


def _fault(document: Mapping[str, Any], operation: Mapping[str, Any], answer: Answer) -> str | None:
    responses = operation.get("responses", {})
    response = responses.get(str(answer.status), responses.get(f"{answer.status // 100}XX", responses.get("default")))
    if response is None:
        return f"status {answer.status} is not among its responses"
    schema = _schema(_resolve(document, response))
    if schema is None:
        return None
    if answer.body is UNSET:
        return "the answer is not JSON"
    return _against(document, schema, answer.body)


def _against(document: Mapping[str, Any], schema: Mapping[str, Any], body: Any) -> str | None:
    import jsonschema
    from referencing import Registry
    from referencing.jsonschema import DRAFT202012

    # The whole document is the resource, so that `#/components/…` references resolve as they stand.
    registry: Registry[Any] = Registry().with_resource("urn:openapi", DRAFT202012.create_resource(dict(document)))
    absolute = _absolute(schema)
    validator = jsonschema.Draft202012Validator(absolute, registry=registry)
    error = jsonschema.exceptions.best_match(validator.iter_errors(body))
    return None if error is None else f"the answer at {error.json_path} breaks the schema: {error.message[:200]}"


def _absolute(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {
            key: ("urn:openapi" + value if key == "$ref" and isinstance(value, str) else _absolute(value))
            for key, value in schema.items()
        }
    return [_absolute(item) for item in schema] if isinstance(schema, list) else schema


def _schema(response: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if "schema" in response:  # Swagger 2.0
        found: Mapping[str, Any] = response["schema"]
        return found
    content = response.get("content", {})
    media = content.get("application/json") or content.get("*/*") or {}
    return media.get("schema")


def _resolve(document: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in node:
        found: Any = document
        for part in str(node["$ref"]).removeprefix("#/").split("/"):
            found = found[part.replace("~1", "/").replace("~0", "~")]
        node = found
    return node
