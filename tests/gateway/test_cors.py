"""Pre-flights: they reach a back end only where its document lets them, and then without credentials."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from mawasu.gateway import routes
from tests.gateway.conftest import Stand
from tests.gateway.machinery import Answer, Backend, Issuer, call, document, site

PRE_FLIGHT = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}


class Sites(msgspec.Struct):
    """The same document twice: `closed/production` without `allowCors`, `opened/production` with it."""

    stand: Stand
    closed: Backend
    opened: Backend

    def options(self, feature: str, path: str, **headers: str) -> Answer:
        return call(self.stand.port, "OPTIONS", f"/{feature}/production{path}", headers)


@pytest.fixture(scope="module")
def sites(stand: Stand) -> Sites:
    described: dict[str, Any] = {
        "t": [{"jwt": []}],
        "open": [],
        "things__{id}": [{"key": []}],
        "things__me": {"post": {"security": []}},
        "own": {"get": {"security": []}, "options": {"security": [{"jwt": []}]}},
    }
    text = document({"keys": [Issuer().jwk]}, **described)
    allowed = json.dumps(json.loads(text) | {"x-google-endpoints": [{"name": "old.example", "allowCors": True}]})
    closed, opened = stand.backend("closed"), stand.backend("opened")
    served = [site(closed.endpoint(), text, "closed"), site(opened.endpoint(), allowed, "opened")]
    stand.gateway.switch(served)
    return Sites(stand, closed, opened)


@pytest.mark.parametrize("path", ["/t", "/open", "/open/", "/things/7", "/things/me"])
def test_a_pre_flight_from_a_foreign_origin_is_refused(sites: Sites, path: str) -> None:
    before = len(sites.closed.seen)
    answer = sites.options("closed", path, **PRE_FLIGHT)
    assert (answer.status, answer.message) == (400, routes.FOREIGN)
    assert len(sites.closed.seen) == before


def test_a_refused_pre_flight_allows_no_origin_and_no_credentials(sites: Sites) -> None:
    answer = sites.options("closed", "/open", **PRE_FLIGHT)
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_options_that_is_no_pre_flight_is_a_method_that_is_not_allowed(sites: Sites) -> None:
    assert sites.options("closed", "/open", Origin="https://evil.example").status == 405
    assert sites.options("closed", "/open").headers["allow"] == "GET"


@pytest.mark.parametrize("path", ["/t", "/open", "/open/", "/things/7", "/things/me"])
def test_with_allow_cors_a_pre_flight_reaches_the_back_end_without_credentials(sites: Sites, path: str) -> None:
    before = len(sites.opened.seen)
    answer = sites.options("opened", path, **PRE_FLIGHT)
    assert (answer.status, answer.body) == (200, "opened")
    (seen,) = sites.opened.seen[before:]
    assert seen.line == f"OPTIONS {path} HTTP/1.1"
    assert seen.values("origin") == ["https://evil.example"]


def test_allow_cors_opens_no_other_method(sites: Sites) -> None:
    before = len(sites.opened.seen)
    for method in ("GET", "POST"):
        answer = call(sites.stand.port, method, "/opened/production/t", PRE_FLIGHT)
        assert answer.status in (401, 405)
    assert sites.options("opened", "/nothing", **PRE_FLIGHT).status == 404
    assert len(sites.opened.seen) == before


@pytest.mark.parametrize("feature", ["closed", "opened"])
def test_options_that_a_document_describes_keeps_its_own_security(sites: Sites, feature: str) -> None:
    answer = sites.options(feature, "/own", **PRE_FLIGHT)
    assert (answer.status, answer.message) == (401, "Jwt is missing")


def test_the_gateway_adds_no_word_about_origins_to_what_a_back_end_answers(sites: Sites) -> None:
    answer = call(sites.stand.port, "GET", "/opened/production/open", {"Origin": "https://evil.example"})
    assert answer.status == 200
    assert not [name for name in answer.headers if name.startswith("access-control-")]
