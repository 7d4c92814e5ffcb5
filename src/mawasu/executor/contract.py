"""The OpenAPI document against what a candidate answered: every example is an operation of it, every answer fits."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from mawasu.errors import BlockedError
from mawasu.executor.candidate import Answer
from mawasu.ports import Log
from mawasu.spec.examples import Example, Request

TIMEOUT = 20.0
"""Seconds for all of it."""
MEMORY = 2 * 2**30


class Asked(msgspec.Struct, frozen=True):
    """What was sent as an example, and what every replica answered."""

    name: str
    request: Request
    answers: list[Answer]


def load_document(text: str) -> Mapping[str, Any]:
    """The OpenAPI document as JSON values; that it is sound is the gateway compiler's business."""
    from ruamel.yaml import YAML

    found: Mapping[str, Any] = YAML(typ="safe", pure=True).load(text)
    return found


def check_contract(
    text: str, examples: Sequence[Example], answers: Mapping[str, list[Answer]], log: Log, timeout: float = TIMEOUT
) -> None:
    """Raises BlockedError with all examples that the document does not know or whose answers break its schemas.

    It is done in a process of its own, for at most `timeout` seconds: what a pusher writes (a regular expression, a
    path template, references in a circle) must not be able to hold up the daemon.
    """
    asked = [Asked(example.name, example.request, answers[example.name]) for example in examples]
    wrong = _elsewhere(text, asked, timeout)
    for line in wrong:
        log.write(line)
    if wrong:
        raise BlockedError("; ".join(dict.fromkeys(wrong)), "make the answer and auth.openapi agree")
    log.write(f"{len(examples)} examples agree with the OpenAPI document")


def faults(text: str, asked: Sequence[Asked]) -> list[str]:
    """A line for each example that is no operation of the document, and for each answer that breaks its schema."""
    document = load_document(text)
    wrong: list[str] = []
    for one in asked:
        what = f"{one.request.method} {one.request.path} (example `{one.name}`)"
        operation = _operation(document, one.request)
        if operation is None:
            wrong.append(f"{what} is not in the OpenAPI document")
            continue
        found = (_fault(document, operation, answer) for answer in one.answers)
        wrong += [f"{what}: {fault}" for fault in found if fault]
    return wrong


def _elsewhere(text: str, asked: Sequence[Asked], timeout: float) -> list[str]:
    argv = [sys.executable, "-P", "-m", "mawasu.executor.contract"]
    given = msgspec.json.encode((text, asked))
    try:
        done = subprocess.run(argv, input=given, capture_output=True, timeout=timeout, check=True)
    except subprocess.TimeoutExpired:
        return [f"it was not checked within {timeout:g} seconds: is there a pattern or a path that takes for ever?"]
    except subprocess.CalledProcessError as error:
        last = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
        return [f"it cannot be checked: {' '.join(last)[:300]}"]
    return msgspec.json.decode(done.stdout, type=list[str])


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
    # A status is a number to YAML unless it is quoted.
    responses = {str(status): response for status, response in operation.get("responses", {}).items()}
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
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    # The whole document is the resource, so that `#/components/…` references resolve as they stand.
    registry: Registry[Any] = Registry().with_resource("urn:openapi", DRAFT202012.create_resource(dict(document)))
    absolute = _absolute(schema)
    validator = jsonschema.Draft202012Validator(absolute, registry=registry)
    try:
        error = jsonschema.exceptions.best_match(validator.iter_errors(body))
    except (Unresolvable, jsonschema.exceptions.SchemaError, re.error, RecursionError) as broken:
        return f"its schema cannot be used: {type(broken).__name__}: {str(broken)[:200]}"
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


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    given = msgspec.json.decode(sys.stdin.buffer.read(), type=tuple[str, list[Asked]])
    sys.stdout.buffer.write(msgspec.json.encode(faults(*given)))
