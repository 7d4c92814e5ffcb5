"""A candidate's answers against the OpenAPI document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET

from mawasu.errors import BlockedError
from mawasu.executor.candidate import Answer
from mawasu.executor.contract import check_contract
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


def check(
    tmp_path: Path,
    status: int,
    body: Any,
    path: str = "/rooms/7/predict",
    method: str = "POST",
    document: str = DOCUMENT,
    timeout: float = 20.0,
) -> None:
    example = Example("one", Request(path, method))
    text = body if isinstance(body, str) else json.dumps(body)
    answer = Answer(status, text, UNSET if isinstance(body, str) else body)
    log = FileLog(tmp_path / "log")
    try:
        check_contract(document, [example], {"one": [answer]}, log, timeout)
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


def patterned(pattern: str) -> str:
    chance = "{type: number, minimum: 0, maximum: 1}"
    return DOCUMENT.replace(chance, f'{{type: string, pattern: "{pattern}"}}')


def test_patterns_are_held_to(tmp_path: Path) -> None:
    check(tmp_path, 200, {"late": "yes"}, document=patterned("^(yes|no)$"))
    with pytest.raises(BlockedError, match="does not match"):
        check(tmp_path, 200, {"late": "maybe"}, document=patterned("^(yes|no)$"))


def test_a_pattern_that_takes_for_ever_blocks_and_holds_up_nobody(tmp_path: Path) -> None:
    with pytest.raises(BlockedError, match="not checked within 2 seconds"):
        check(tmp_path, 200, {"late": "a" * 40 + "!"}, document=patterned("^(a+)+$"), timeout=2.0)


@pytest.mark.parametrize("reference", ["http://localhost:1/x.json", "file:///etc/passwd", "#/components/schemas/None"])
def test_a_reference_that_leads_out_of_the_document_is_not_followed(tmp_path: Path, reference: str) -> None:
    document = DOCUMENT.replace("#/components/schemas/Chance", reference)
    with pytest.raises(BlockedError, match="its schema cannot be used"):
        check(tmp_path, 200, {"late": 0.5}, document=document)


def test_a_path_that_takes_for_ever_to_match_holds_up_nobody(tmp_path: Path) -> None:
    template = "/" + "a".join(f"{{v{n}}}" for n in range(14)) + "a"
    document = DOCUMENT.replace("/rooms/{room}/predict", template)
    with pytest.raises(BlockedError, match="not checked within 2 seconds"):
        check(tmp_path, 200, {}, path="/" + "a" * 70 + "b", document=document, timeout=2.0)


def test_references_in_a_circle_hold_up_nobody(tmp_path: Path) -> None:
    circle = "A: {$ref: '#/components/responses/B'}\n    B: {$ref: '#/components/responses/A'}\n    Refusal:"
    document = DOCUMENT.replace("Refusal:", circle, 1).replace("responses/Refusal", "responses/A")
    with pytest.raises(BlockedError, match="not checked within 2 seconds"):
        check(tmp_path, 404, {"message": ""}, document=document, timeout=2.0)


def test_a_document_that_is_not_what_it_should_be_blocks_in_one_line(tmp_path: Path) -> None:
    document = DOCUMENT.replace('"200":', "201: [1]\n        200: 5\n        unused:")
    with pytest.raises(BlockedError, match="it cannot be checked: "):
        check(tmp_path, 200, {"late": 0.5}, document=document)


def test_a_status_may_be_written_without_quotes(tmp_path: Path) -> None:
    check(tmp_path, 200, {"late": 0.5}, document=DOCUMENT.replace('"200":', "200:"))
