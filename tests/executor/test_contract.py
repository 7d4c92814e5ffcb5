"""A candidate against its OpenAPI document: what it answered to examples, and to requests made from the document."""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from msgspec import UNSET

from mawasu.errors import BlockedError, CancelledError
from mawasu.executor.candidate import Answer
from mawasu.executor.contract import Candidate, check_contract, decode, encode, make_requests
from mawasu.executor.logs import FileLog
from mawasu.executor.requests import Requests
from mawasu.spec.examples import Example, Request
from mawasu.words import Endpoint, Handler

DOCUMENT = """
openapi: 3.0.3
info: {title: t, version: "1"}
paths:
  /rooms/{room}/predict:
    post:
      security: []
      parameters: [{in: path, name: room, required: true, schema: {type: integer, minimum: 0}}]
      requestBody: {required: true, content: {application/json: {schema: {$ref: "#/components/schemas/Point"}}}}
      responses:
        "200":
          description: how late
          content:
            application/json:
              schema: {$ref: "#/components/schemas/Answer"}
        4XX: {$ref: "#/components/responses/Refusal"}
components:
  responses:
    Refusal: {description: no, content: {application/json: {schema: {type: object, required: [message]}}}}
  schemas:
    Point:
      type: object
      required: [x]
      properties: {x: {type: number, minimum: -1000, maximum: 1000}, name: {type: string, nullable: true}}
    Answer: {type: object, required: [late], properties: {late: {$ref: "#/components/schemas/Chance"}}}
    Chance: {type: number, minimum: 0, maximum: 1}
"""
SWAGGER = """
swagger: "2.0"
info: {title: t, version: "1"}
basePath: /v1
consumes: [application/json]
produces: [application/json]
paths:
  /predict:
    post:
      parameters: [{in: body, name: body, required: true, schema: {$ref: "#/definitions/Point"}}]
      responses:
        200: {description: how late, schema: {type: object, required: [late]}}
        400: {description: no}
definitions:
  Point: {type: object, required: [x], properties: {x: {type: number}}}
"""
NEW = DOCUMENT.replace("3.0.3", "3.1.0").replace("type: string, nullable: true", "type: [string, 'null']")

Reply = tuple[int, Any]
Api = Callable[[str, Any], Reply]
"""Path and body of a request (UNSET: no JSON) → status and answer; text is sent as it stands."""


def good(path: str, body: Any) -> Reply:
    if not path.rpartition("/rooms/")[2].removesuffix("/predict").lstrip("/v1").isdecimal() and "rooms" in path:
        return 400, {"message": "which room?"}
    x = body.get("x") if isinstance(body, dict) else None
    name = body.get("name") if isinstance(body, dict) else None
    if (
        not isinstance(x, int | float)
        or isinstance(x, bool)
        or not -1000 <= x <= 1000
        or not isinstance(name, str | None)
    ):
        return 400, {"message": "no"}
    return 200, {"late": 0.5}


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@contextmanager
def serving(directory: Path, api: Api, seen: list[tuple[str, Any]]) -> Iterator[Candidate]:
    class Asked(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers.get("content-length", 0)))
            try:
                body = json.loads(text)
            except ValueError:
                body = UNSET
            seen.append((self.path, body))
            status, answer = api(self.path, body)
            data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_DELETE = do_POST  # noqa: N815

        def address_string(self) -> str:
            return "a test"

        def log_message(self, *_: object) -> None:
            pass

    with Server(str(directory / "s"), Asked) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Candidate(Endpoint("r", (str(directory / "s"),)), Handler(command="serve"), lambda _: ())
        finally:
            server.shutdown()
            thread.join()


class Check:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.seen: list[tuple[str, Any]] = []
        self.cancel = Event()

    def made(self, document: str = DOCUMENT, think: float = 20.0) -> Requests:
        with self.log() as log:
            return make_requests(document, "auth/openapi.yaml", log, self.cancel, think)

    def run(self, api: Api, document: str = DOCUMENT, requests: Requests | None = None, **bounds: float) -> str:
        requests = self.made(document) if requests is None else requests
        with serving(self.directory, api, self.seen) as candidate, self.log() as log:
            return check_contract(
                document, "auth/openapi.yaml", [], {}, requests, candidate, log, self.cancel, **bounds
            )

    def example(self, status: int, body: Any, path: str, method: str, document: str, think: float = 20.0) -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        answer = Answer(status, text, UNSET if isinstance(body, str) else body, "application/json")
        example = Example("one", Request(path, method))
        with serving(self.directory, good, self.seen) as candidate, self.log() as log:
            check_contract(
                document, "o.yaml", [example], {"one": [answer]}, Requests(), candidate, log, self.cancel, think
            )

    @contextmanager
    def log(self) -> Iterator[FileLog]:
        log = FileLog(self.directory / "log")
        try:
            yield log
        finally:
            log.close()

    @property
    def logged(self) -> str:
        return (self.directory / "log").read_text()


@pytest.fixture
def check(tmp_path: Path) -> Check:
    return Check(tmp_path)


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> Requests:
    return Check(tmp_path_factory.mktemp("made")).made()


# ---------------------------------------------------------------------------------------------------- requests


@pytest.mark.parametrize("document", [NEW, SWAGGER], ids=["3.1", "2.0"])
def test_an_api_that_keeps_its_word_passes_whatever_the_version_of_its_document(check: Check, document: str) -> None:
    assert "requests agree with auth/openapi.yaml" in check.run(good, document)
    assert len(check.seen) > 8


def test_allowed_and_refused_requests_are_made_and_the_same_every_time(check: Check, requests: Requests) -> None:
    asks = [ask for made in requests.made for ask in made.asks]
    assert any(ask.wrong for ask in asks)
    assert any(not ask.wrong for ask in asks)
    assert check.made() == requests == decode(encode(requests))


def test_a_valid_request_whose_answer_breaks_its_schema_blocks_with_the_smallest_one(
    check: Check, requests: Requests
) -> None:
    def api(path: str, body: Any) -> Reply:
        status, answer = good(path, body)
        return (200, {"late": 1.5}) if status == 200 else (status, answer)

    with pytest.raises(BlockedError, match=r"answer breaks its schema: \$\.late: 1.5 is greater") as found:
        check.run(api, requests=requests)
    assert 'with {"x": 0}' in str(found.value.message)
    assert "curl" in (found.value.hint or "")


def test_a_refused_request_that_is_answered_all_the_same_blocks(check: Check, requests: Requests) -> None:
    with pytest.raises(BlockedError, match=r"does not allow the request \(.*\) and promises a 4xx"):
        check.run(lambda path, body: (200, {"late": 0.5}), requests=requests)


def test_a_server_error_blocks_whether_the_request_was_allowed_or_not(check: Check, requests: Requests) -> None:
    def api(path: str, body: Any) -> Reply:
        return (200, {"late": 0.5}) if isinstance(body, dict) and "x" in body else (500, {"message": "KeyError"})

    with pytest.raises(BlockedError, match="so a 4xx is due"):
        check.run(api, requests=requests)


def test_a_status_that_the_document_does_not_have_blocks(check: Check, requests: Requests) -> None:
    with pytest.raises(BlockedError, match="status 201 is not among its responses"):
        check.run(lambda path, body: (201, {}) if good(path, body)[0] == 200 else good(path, body), requests=requests)


def test_a_fault_that_a_few_requests_show_is_made_smaller(check: Check, requests: Requests) -> None:
    def api(path: str, body: Any) -> Reply:
        status, answer = good(path, body)
        return (200, "oops") if status == 200 and isinstance(body.get("name"), str) else (status, answer)

    with pytest.raises(BlockedError, match="the answer is not JSON") as found:
        check.run(api, requests=requests)
    assert '{"x": 0, "name": ""}' in found.value.message or '{"name": "", "x": 0}' in found.value.message


def test_when_the_time_is_over_no_request_more_is_asked_and_that_is_said(check: Check, requests: Requests) -> None:
    assert "0 requests (0 seconds were over then) agree" in check.run(good, requests=requests, box=0.0)
    assert check.seen == []


def test_what_is_asked_of_another_back_end_is_not_asked_here(check: Check) -> None:
    outside = "      x-google-backend: {address: 'https://example.com'}\n      responses:"
    document = DOCUMENT.replace("      responses:", outside, 1)
    assert "nothing was asked: there are no examples" in check.run(good, document)


def test_a_newer_push_ends_the_making_of_requests(check: Check) -> None:
    check.cancel.set()
    with pytest.raises(CancelledError):
        check.made()


# ---------------------------------------------------------------------------------------------------- examples


@pytest.mark.parametrize(
    ("status", "body", "path"),
    [
        (200, {"late": 0.5}, "/rooms/7/predict"),
        (200, {"late": 1}, "/rooms/a%20b/predict?x=1"),
        (404, {"message": ""}, "/rooms/7/predict/"),
    ],
)
def test_examples_that_fit_pass(check: Check, status: int, body: Any, path: str) -> None:
    check.example(status, body, path, "POST", DOCUMENT)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, {"late": 1.5}, r"\$\.late: 1.5 is greater"),
        (200, {}, '"late" is a required property'),
        (200, "oops", "the answer is not JSON"),
        (500, {"message": "x"}, "status 500 is not among its responses"),
    ],
)
def test_examples_that_do_not_fit_block_and_say_where(check: Check, status: int, body: Any, said: str) -> None:
    with pytest.raises(BlockedError, match=said):
        check.example(status, body, "/rooms/7/predict", "POST", DOCUMENT)


@pytest.mark.parametrize(("path", "method"), [("/predict", "POST"), ("/rooms/7/predict", "GET")])
def test_an_example_of_no_operation_blocks(check: Check, path: str, method: str) -> None:
    with pytest.raises(BlockedError, match="is not in the OpenAPI document"):
        check.example(200, {"late": 0.5}, path, method, DOCUMENT)


def test_a_pattern_that_would_take_for_ever_gives_up(check: Check) -> None:
    document = DOCUMENT.replace("{type: number, minimum: 0, maximum: 1}", '{type: string, pattern: "^(a+)+$"}')
    with pytest.raises(BlockedError, match="does not match"):
        check.example(200, {"late": "a" * 40 + "!"}, "/rooms/7/predict", "POST", document)


@pytest.mark.parametrize("reference", ["http://localhost:1/x.json", "file:///etc/passwd", "#/components/schemas/None"])
def test_a_reference_that_leads_out_of_the_document_is_not_followed(check: Check, reference: str) -> None:
    document = DOCUMENT.replace("#/components/schemas/Chance", reference)
    with pytest.raises(BlockedError, match="its schema cannot be used"):
        check.example(200, {"late": 0.5}, "/rooms/7/predict", "POST", document)


def test_a_path_that_takes_for_ever_to_match_holds_up_nobody(check: Check) -> None:
    template = "/" + "a".join(f"{{v{n}}}" for n in range(14)) + "a"
    document = DOCUMENT.replace("/rooms/{room}/predict", template)
    with pytest.raises(BlockedError, match="not checked within 2 seconds"):
        check.example(200, {}, "/" + "a" * 70 + "b", "POST", document, think=2.0)


@pytest.mark.parametrize("schema", ["[1]", "{type: nothing}", "{properties: 5}"])
def test_a_schema_that_is_none_blocks_in_one_line(check: Check, schema: str) -> None:
    document = DOCUMENT.replace("{type: number, minimum: 0, maximum: 1}", schema)
    with pytest.raises(BlockedError, match=r"its schema cannot be used: [^\n]*$"):
        check.example(200, {"late": 0.5}, "/rooms/7/predict", "POST", document)
