"""Every case of the table through a real Envoy, and what one request and its answer do not tell."""

from __future__ import annotations

import ast
import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mawasu.words import Endpoint
from tests.gateway.case_world import AT, World, a_world
from tests.gateway.cases import ATTACKS, ORDINARY, Asked, Held, asked, table
from tests.gateway.conftest import Stand
from tests.gateway.machinery import call, document, eventually, raw, site
from tests.gateway.page import PAGE, page


@pytest.fixture(scope="module")
def world(stand: Stand) -> Iterator[World]:
    with a_world(stand) as made:
        yield made


@pytest.mark.parametrize("case", asked(), ids=lambda case: f"{case.row}: {case.sent}")
def test_a_case_is_answered_as_the_table_says(case: Asked, world: World) -> None:
    before = len(world.backend.seen)

    answer = world.ask(case.send)

    assert answer.status == case.status, answer.body
    arrived = len(world.backend.seen) - before
    assert arrived == (1 if case.status == 200 else 0), "a refusal must not reach the back end"
    assert not world.attacker_was_asked()
    if case.message:
        assert answer.message == case.message
    if case.status in (401, 403):
        assert answer.headers["www-authenticate"].startswith("Bearer realm=")
    assert case.headers.items() <= answer.headers.items()


def test_the_table_has_a_case_for_every_row() -> None:
    assert {case.row for case in table()} == {*ORDINARY, *ATTACKS}
    assert list(ATTACKS) == list(range(1, 57))


def test_the_tests_that_the_table_names_are_there() -> None:
    here = Path(__file__).parent
    for case in table():
        if isinstance(case, Held):
            file, _, name = case.by.partition("::")
            module = ast.parse((here / file).read_text(encoding="utf-8"))
            assert name in {node.name for node in module.body if isinstance(node, ast.FunctionDef)}, case.by


def test_the_page_of_cases_is_what_the_table_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "renew it: python -m tests.gateway.page"


def test_a_back_end_that_is_too_slow_is_given_up(world: World) -> None:
    world.backend.hold = threading.Event()
    try:
        answer = call(world.stand.port, "GET", f"{AT}/slow")
    finally:
        world.backend.hold.set()
        world.backend.hold = None
    assert (answer.status, answer.message) == (504, "upstream request timeout")


def test_a_forged_identity_never_reaches_the_back_end(world: World) -> None:
    forged = ["X-Endpoint-API-UserInfo: forged", "x-endpoint-api-userinfo: again", "X-Mawasu-Consumer: root"]
    forged += ["X-Endpoint-API-Consumer-Type: PROJECT", "X-Endpoint-API-Consumer-Number: forged"]
    for path, credentials in (
        ("/open", ""),
        ("/maybe", ""),
        ("/t", f"authorization: Bearer {world.issuer.token()}"),
        ("/k", f"x-api-key: {world.keys['good']}"),
    ):
        lines = [f"GET {AT}{path} HTTP/1.1", "host: x", "connection: close", *forged, credentials]
        text = "\r\n".join(line for line in lines if line) + "\r\n\r\n"
        assert raw(world.stand.port, text.encode()).status == 200
        seen = world.backend.seen[-1]
        assert not {"forged", "again", "root", "PROJECT"} & {value for _, value in seen.headers}
        assert len(seen.values("x-endpoint-api-userinfo")) == (0 if path in ("/open", "/maybe") else 1)


def test_the_back_end_learns_who_calls_from_the_verified_token(world: World) -> None:
    key = world.keys["good"]
    call(world.stand.port, "GET", f"{AT}/both", {"authorization": f"Bearer {world.issuer.token()}", "x-api-key": key})

    seen = world.backend.seen[-1]
    (payload,) = seen.values("x-endpoint-api-userinfo")
    assert json.loads(base64.urlsafe_b64decode(payload + "=="))["sub"] == "ann"
    assert seen.values("x-mawasu-consumer") == ["bob"]
    assert seen.values("x-api-key") == []
    assert seen.line == "GET /both HTTP/1.1"


@pytest.mark.parametrize("path", ["/open", "/t", "/maybe", "/either", "/both", "/k", "/elsewhere"])
def test_no_back_end_gets_a_key_that_came_in_a_header_whether_it_was_asked_for_or_not(path: str, world: World) -> None:
    key, token = world.keys["good"], world.issuer.token()
    headers = {"x-api-key": key, "authorization": f"Bearer {token}", "x-token": token}

    assert call(world.stand.port, "GET", AT + path, headers).status == 200

    seen = world.backend.seen[-1]
    assert not [name for name, value in seen.headers if key in value]
    assert seen.values("authorization") == [f"Bearer {token}"], "a token goes on as it came"


def test_a_template_and_its_query_reach_the_back_end_without_the_address(world: World) -> None:
    call(world.stand.port, "GET", f"{AT}/things/7?a=%2F&b={AT}")
    assert world.backend.seen[-1].line == f"GET /things/7?a=%2F&b={AT} HTTP/1.1"


def test_no_credential_stands_in_any_log(world: World) -> None:
    for case in asked():
        world.ask(case.send)
    call(world.stand.port, "GET", f"{AT}/nothing?key={world.keys['good']}")
    log = world.stand.gateway.log
    access = log.with_name("access.jsonl")
    world.stand.gateway._table.envoy.reopen_logs()

    eventually(lambda: "/nothing" in access.read_text(), "the access log is written")
    written = access.read_text() + log.read_text()
    assert not [secret for secret in world.secrets if secret in written]
    assert {json.loads(line)["consumer"] for line in access.read_text().splitlines()} >= {"bob", "eve", None}


def test_a_key_set_that_cannot_be_fetched_opens_nothing(world: World) -> None:
    text = json.loads(document({"keys": [world.issuer.jwk]}, t=[{"jwt": []}]))
    scheme = text["components"]["securitySchemes"]["jwt"]
    del scheme["x-mawasu-jwks"]
    scheme["x-google-jwks_uri"] = "https://127.0.0.1:9/jwks"
    served = world.stand.gateway._table.load()
    nowhere = site(Endpoint("away", ("/nowhere.sock",)), json.dumps(text), "away", "staging")
    try:
        world.stand.gateway.switch([*served, nowhere])
        answer = call(world.stand.port, "GET", "/away/staging/t", {"authorization": f"Bearer {world.issuer.token()}"})
        assert (answer.status, answer.message) == (401, "Jwks remote fetch is failed")
    finally:
        world.stand.gateway.switch(served)
