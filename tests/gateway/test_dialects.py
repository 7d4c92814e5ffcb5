"""Schemas taken out of a document, and the bodies that a server is told of."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from mawasu.gateway.bodies import MOST, bodies
from mawasu.gateway.dialects import TooLargeError
from mawasu.gateway.openapi import Reading
from mawasu.serving.schemas import Schema, SchemaError

OLD = """
openapi: 3.0.3
info: {title: t, version: "1"}
paths:
  /rooms/{room}:
    post:
      operationId: put
      requestBody: {content: {application/json: {schema: {$ref: "#/components/schemas/Room"}}}}
      responses: {200: {description: ok}}
components:
  schemas:
    Room:
      type: object
      required: [size]
      properties:
        size: {type: number, minimum: 0, exclusiveMinimum: true}
        name: {type: string, nullable: true, enum: [red, blue]}
        beside: {$ref: "#/components/schemas/Room"}
        default: {type: string}
"""
SWAGGER = """
swagger: "2.0"
info: {title: t, version: "1"}
host: x.example
basePath: /v1
paths:
  /rooms:
    post:
      operationId: put
      parameters: [{in: body, name: room, schema: {properties: {size: {type: integer, x-nullable: true}}}}]
      responses: {200: {description: ok}}
"""


def told(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bodies(Reading(text, "auth/openapi.yaml")) or "{}")
    return found


def schema(text: str) -> Schema:
    found = told(text)
    (only,) = found["operations"].values()
    return Schema({"$defs": found["$defs"]} | only)


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"size": 1}, ""),
        ({"size": 1, "name": None, "default": "x"}, ""),
        ({"size": 1, "beside": {"size": 2, "beside": {"size": 3}}}, ""),
        ({"size": 0}, "$.size: 0 is less than or equal to the minimum of 0"),
        ({"size": 1, "name": "green"}, '$.name: "green" is not one of "red", "blue" or null'),
        ({"size": 1, "beside": {"size": 2, "beside": {}}}, '$.beside.beside: "size" is a required property'),
        ({"size": 1, "default": 5}, '$.default: 5 is not of type "string"'),
        ([], '$: [] is not of type "object"'),
    ],
)
def test_a_schema_of_the_old_dialect_means_what_it_meant(body: Any, fault: str) -> None:
    assert schema(OLD).fault(body) == fault


def test_a_body_of_swagger_is_held_to_its_parameter_under_the_base_path() -> None:
    assert list(told(SWAGGER)["operations"]) == ["POST /v1/rooms"]
    assert not schema(SWAGGER).fault({"size": None})
    assert schema(SWAGGER).fault({"size": 0.5}).startswith("$.size: 0.5 is not of type")


def test_the_words_of_the_old_dialect_are_none_in_the_new_one() -> None:
    new = OLD.replace("3.0.3", "3.1.0").replace("exclusiveMinimum: true", "exclusiveMinimum: 0")
    assert schema(new).fault({"size": 0})
    assert schema(new).fault({"size": 1, "name": None}), "`nullable` says nothing in OpenAPI 3.1"


@pytest.mark.parametrize("reference", ["#/components/schemas/None", "https://example.org/x.json", "file:///etc/passwd"])
def test_a_reference_that_leads_nowhere_is_told_and_never_followed(reference: str) -> None:
    with pytest.raises(SchemaError):
        schema(
            OLD.replace(
                '{$ref: "#/components/schemas/Room"}\n        default', f'{{$ref: "{reference}"}}\n        default'
            )
        )


def test_nothing_is_told_of_bodies_that_are_no_json_or_are_answered_elsewhere() -> None:
    assert not told(OLD.replace("application/json", "text/plain"))
    assert not told(OLD.replace("operationId: put", "x-google-backend: {address: https://x.example}"))
    assert told(OLD.replace("application/json", "application/rooms+json"))


def test_anchors_that_grow_without_end_are_given_up_at_once() -> None:
    grown = "".join(
        f"    L{n}: &l{n} {{anyOf: [{', '.join([f'*l{n - 1}'] * 9) if n else 'true'}]}}\n" for n in range(12)
    )
    text = OLD.replace("    Room:\n", f"{grown}    Room:\n").replace("default: {type: string}", "default: *l11")
    began = time.process_time()
    with pytest.raises(TooLargeError, match="more than"):
        told(text)
    assert time.process_time() - began < 30


def test_a_server_is_told_no_more_than_its_command_line_holds() -> None:
    many = "".join(f"        p{n}: {{type: string, description: {'x' * 90}}}\n" for n in range(1000))
    with pytest.raises(TooLargeError, match=f"more than {MOST} characters"):
        told(OLD.replace("      properties:\n", f"      properties:\n{many}"))
