"""The server holds bodies to the OpenAPI file, so that a handler sees what its author said it takes."""

from __future__ import annotations

import json

from mawasu.gateway.bodies import bodies
from mawasu.gateway.openapi import Reading
from tests.serving.replica import Replica, request

DOCUMENT = """
openapi: 3.0.3
info: {title: t, version: "1"}
paths:
  /predict:
    post:
      operationId: predict
      requestBody: {content: {application/json: {schema: {$ref: "#/components/schemas/Some"}}}}
      responses: {200: {description: ok}}
  /free:
    post: {operationId: free, responses: {200: {description: ok}}}
components:
  schemas:
    Some: {oneOf: [{$ref: "#/components/schemas/One"}, {type: array, items: {$ref: "#/components/schemas/One"}}]}
    One: {type: object, required: [x], properties: {x: {type: number}, name: {type: string, nullable: true}}}
"""
CODE = """
def predict(model, batch):
    print("asked", flush=True)
    return [{"y": item.get("x")} for item in batch]
"""
REFUSES = """
class NoSuchPlace(Exception):
    mawasu_status = 404

def predict(model, item):
    if item["x"] < 0:
        raise NoSuchPlace("there is no place below 0")
    if item["x"] > 9:
        raise type("Odd", (Exception,), {"mawasu_status": 500})("secret")
    return {"y": item["x"]}
"""


def test_a_body_that_the_file_does_not_allow_is_the_callers_400_and_reaches_no_handler(replica: Replica) -> None:
    replica.ready(
        CODE, bodies=bodies(Reading(DOCUMENT, "auth/openapi.yaml")), operations=("POST /predict", "POST /free")
    )
    for wrong, place in (
        ({"x": "5"}, 'body.x: "5" is not of type "number"'),
        ({}, 'body: "x" is a required property'),
        ([{"x": 1}, {"x": None}], 'body[1].x: null is not of type "number"'),
    ):
        answer = replica.ask(wrong)
        assert (answer.status, json.loads(answer.body)) == (400, {"code": 400, "message": place})
    assert "asked" not in replica.log.read_text()
    assert json.loads(replica.ask({"x": 1, "name": None}).body) == {"y": 1}
    assert json.loads(replica.ask([{"x": 1}, {"x": 2}]).body) == [{"y": 1}, {"y": 2}]
    assert json.loads(request(replica.listen, "POST", "/free", b'{"z": 1}').body) == {"y": None}
    assert replica.metric("batches_total") == 3


def test_a_number_that_nothing_can_hold_is_the_callers_400(replica: Replica) -> None:
    told = bodies(Reading(DOCUMENT, "auth/openapi.yaml"))
    replica.ready(CODE, bodies=told, operations=("POST /predict",))
    for number in (b"1e999", b"-1e400", b"9" * 5000):
        answer = replica.post(b'{"x": %b}' % number)
        assert (answer.status, answer.json["code"]) == (400, 400)
        assert "cannot be read" in answer.json["message"]
    assert replica.post(b'{"x":' + b"[" * 900 + b"]" * 900 + b"}").status == 400
    assert "Traceback" not in replica.server_log.read_text()
    assert replica.metric("batches_total") == 0


def test_a_schema_that_cannot_be_used_is_said_once_and_keeps_nobody_out(replica: Replica) -> None:
    told = bodies(Reading(DOCUMENT.replace("type: number", "type: nothing"), "auth/openapi.yaml"))
    replica.ready(CODE, bodies=told, operations=("POST /predict",))
    assert json.loads(replica.ask({"x": "5"}).body) == {"y": "5"}
    assert replica.server_log.read_text().count("bodies of POST /predict are not checked") == 1


def test_a_handler_refuses_what_it_cannot_take_with_a_status_of_its_own(replica: Replica) -> None:
    replica.ready(REFUSES)
    answer = replica.ask({"x": -1})
    assert (answer.status, json.loads(answer.body)["message"]) == (404, "there is no place below 0")
    fault = replica.ask({"x": 10})
    assert fault.status == 500, "a status that is no refusal is a fault of the handler"
    assert b"secret" not in fault.body
    assert replica.ask({"x": 1}).status == 200
    assert "NoSuchPlace" not in replica.log.read_text(), "a refusal is no fault, so there is no trace"
