"""The access log: one JSON object a request, whatever callers write, and nothing in it that could be used to call."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tests.gateway.conftest import Stand
from tests.gateway.machinery import Backend, Issuer, call, document, eventually, raw, request, site

AT = "/flight-delay/production"
SECRET = "s3cret-that-must-not-be-written-anywhere"


class World(msgspec.Struct):
    stand: Stand
    backend: Backend
    issuer: Issuer
    key: str

    def text(self) -> str:
        self.stand.gateway._table.envoy.reopen_logs()  # what is buffered is written
        return self.stand.gateway.log.with_name("access.jsonl").read_text()

    def line(self, what: str) -> dict[str, Any]:
        """The last line with `what` in it."""
        found: list[str] = []

        def there() -> bool:
            found[:] = [line for line in self.text().splitlines() if what in line]
            return bool(found)

        eventually(there, f"a line about {what}")
        parsed: dict[str, Any] = json.loads(found[-1])
        return parsed


@pytest.fixture(scope="module")
def world(stand: Stand) -> World:
    backend = stand.backend("flights")
    issuer = Issuer()
    text = document(
        {"keys": [issuer.jwk]}, open=[], k=[{"key": []}], t=[{"jwt": []}], once=[{"jwt": []}], things__id=[]
    )
    body = json.loads(text)
    body["paths"]["/things/{id}"] = body["paths"].pop("/things/id")
    stand.gateway.switch([site(backend.endpoint(), json.dumps(body))])
    _, key = stand.keys.create("bob", ["*"])
    stand.gateway.refresh_keys()
    return World(stand, backend, issuer, key)


def test_a_line_says_who_was_answered_what_by_which_revision_and_how_fast(world: World) -> None:
    assert call(world.stand.port, "GET", f"{AT}/k", {"x-api-key": world.key}).status == 200

    line = world.line('"/k"')

    assert line.pop("ms") >= 0
    assert line.pop("time").endswith("Z")
    assert len(line.pop("request")) == 36
    assert line == {
        "from": "127.0.0.1",
        "protocol": "HTTP/1.1",
        "method": "GET",
        "path": "/k",
        "route": f"GET {AT}/k",
        "status": 200,
        "flags": "-",
        "details": "via_upstream",
        "sent": len("flights"),
        "received": 0,
        "consumer": "bob",
        "revision": "flights",
    }


def test_a_refusal_says_why_and_which_revision_it_would_have_reached(world: World) -> None:
    assert call(world.stand.port, "GET", f"{AT}/once").status == 401

    line = world.line(f'"{AT}/once"')

    assert (line["status"], line["consumer"], line["revision"]) == (401, None, "flights")
    assert line["details"].startswith("jwt_authn_access_denied")


def test_what_the_caller_says_of_the_request_id_is_not_believed(world: World) -> None:
    call(world.stand.port, "GET", f"{AT}/things/id", {"x-request-id": "mine"})
    assert world.line("/things/id")["request"] != "mine"


@pytest.mark.parametrize(("path", "status"), [("/open", 200), ("/t", 401), ("/nothing", 404)])
def test_a_caller_is_told_the_number_that_the_log_has(world: World, path: str, status: int) -> None:
    answer = call(world.stand.port, "GET", AT + path, {"x-request-id": "mine"})
    assert answer.status == status
    assert world.line(answer.headers["x-request-id"])["path"].endswith(path)


@pytest.mark.parametrize(
    "target",
    [
        f"/open?access_token={SECRET}",
        f"/open?key={SECRET}",
        f"/open?a=b&api_key={SECRET}",
        f"/open?%6bey={SECRET}",
        f"/open?a=b?key={SECRET}",
        f"/open#access_token={SECRET}",
        f"/open?a=b#access_token={SECRET}",
        f"/nothing?key={SECRET}",
        f"//open/../open?key={SECRET}",
        f"/pub%2Fx?key={SECRET}",
    ],
)
def test_no_query_stands_in_any_log(world: World, target: str) -> None:
    call(world.stand.port, "GET", AT + target)
    assert_unwritten(world)


def test_no_header_with_a_credential_stands_in_any_log(world: World) -> None:
    token = world.issuer.token(jti=SECRET)
    for headers in (
        {"authorization": f"Bearer {SECRET}"},
        {"authorization": f"Bearer {token}"},
        {"x-api-key": SECRET},
        {"cookie": f"session={SECRET}"},
        {"referer": f"https://x/?key={SECRET}"},
        {"x_under": SECRET},
        {"x-bad\x00": SECRET},
    ):
        call(world.stand.port, "GET", f"{AT}/t", headers)
    raw(world.stand.port, request("GET", f"http://user:{SECRET}@evil{AT}/open"))
    assert_unwritten(world, token.rpartition(".")[2])


def assert_unwritten(world: World, *more: str) -> None:
    """Neither log has the secret, once a request that came after it is there."""
    mark = f"/mark-{len(world.text())}"
    call(world.stand.port, "GET", AT + mark)
    world.line(mark)
    written = world.text() + world.stand.gateway.log.read_text()
    assert not [secret for secret in (SECRET, *more) if secret in written]


@pytest.mark.parametrize(
    ("written", "logged"),
    [
        ("q%22,%22status%22:200", "q%22,%22status%22:200"),
        ("crlf%0d%0a%7b%7d", "crlf%0d%0a%7b%7d"),
        ('quote","status":201,"x":"', None),
        ("esc\x1b[31m", None),
        ("high\xff\xfe", None),
    ],
)
def test_what_callers_write_cannot_make_a_line_or_a_field(world: World, written: str, logged: str | None) -> None:
    before = len(world.text().splitlines())

    answer = raw(world.stand.port, request("GET", f"{AT}/{written}"))

    assert answer.status in (400, 404)
    eventually(lambda: len(world.text().splitlines()) > before, "the request is logged")
    (line,) = world.text().splitlines()[before:]
    parsed = json.loads(line)
    assert parsed["status"] == answer.status
    assert logged is None or parsed["path"] == f"{AT}/{logged}"
    assert all(char.isprintable() for char in line)


def test_a_long_path_is_cut(world: World) -> None:
    call(world.stand.port, "GET", f"{AT}/long-{'x' * 50_000}")
    assert len(world.line("/long-")["path"]) == 1024
