"""A candidate's answers against the OpenAPI document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET

from mawasu.errors import BlockedError
from mawasu.executor.candidate import Answer
from mawasu.executor.contract import check_contract, load_document
from mawasu.executor.logs import FileLog
from mawasu.spec.examples import Example, Request

DOCUMENT = """
openapi: 3.0.3
info: {title: t, version: "1"}
paths:
  /rooms/{room}/predict:
    post:
      responses:
        "200":
          content:
            application/json:
              schema: {$ref: "#/components/schemas/Answer"}
        4XX: {$ref: "#/components/responses/Refusal"}
components:
  responses:
    Refusal: {content: {application/json: {schema: {type: object, required: [message]}}}}
  schemas:
    Answer: {type: object, required: [late], properties: {late: {$ref: "#/components/schemas/Chance"}}}
    Chance: {type: number, minimum: 0, maximum: 1}
"""


def check(tmp_path: Path, status: int, body: Any, path: str = "/rooms/7/predict", method: str = "POST") -> None:
    example = Example("one", Request(path, method))
    text = body if isinstance(body, str) else json.dumps(body)
    answer = Answer(status, UNSET if isinstance(body, str) else body, text)
    log = FileLog(tmp_path / "log")
    try:
        check_contract(load_document(DOCUMENT), [example], {"one": [answer]}, log)
    finally:
        log.close()


@pytest.mark.parametrize(
    ("status", "body", "path"),
    [
        (200, {"late": 0.5}, "/rooms/7/predict"),
        (200, {"late": 1}, "/rooms/a%20b/predict?x=1"),
        (404, {"message": ""}, "/rooms/7/predict/"),
    ],
)
def test_answers_that_fit_pass(tmp_path: Path, status: int, body: Any, path: str) -> None:
    check(tmp_path, status, body, path)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, {"late": 1.5}, r"at \$\.late breaks the schema: 1.5 is greater"),
        (200, {}, "'late' is a required property"),
        (200, "oops", "the answer is not JSON"),
        (500, {"message": "x"}, "status 500 is not among its responses"),
        (404, {}, "'message' is a required property"),
    ],
)
def test_answers_that_do_not_fit_block_and_say_where(tmp_path: Path, status: int, body: Any, said: str) -> None:
    with pytest.raises(BlockedError, match=said):
        check(tmp_path, status, body)


@pytest.mark.parametrize(
    ("path", "method"), [("/predict", "POST"), ("/rooms/7/predict", "GET"), ("/rooms/7/x/predict", "POST")]
)
def test_an_example_of_no_operation_blocks(tmp_path: Path, path: str, method: str) -> None:
    with pytest.raises(BlockedError, match="is not in the OpenAPI document"):
        check(tmp_path, 200, {"late": 0.5}, path, method)
