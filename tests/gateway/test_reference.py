"""The API reference: read and tried out by a real browser, through a real Envoy."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from mawasu.executor.deploy import has_docs
from mawasu.gateway.asked import Request
from mawasu.gateway.explain import explain
from mawasu.gateway.openapi import parse_site
from mawasu.gateway.shown import MOST
from mawasu.gateway.verify import Known
from mawasu.spec import load
from mawasu.words import Endpoint, Site
from tests.gateway.conftest import Stand
from tests.gateway.machinery import Backend, Issuer, call, document, site

AT = "/flight-delay/production"
RUNS = "window.hacked = 1"
HTML = (
    f"<script>{RUNS}</script> <img src=x onerror='{RUNS}'> <a href='javascript:{RUNS}'>one</a> "
    f"[two](javascript:{RUNS}) <iframe srcdoc='<script>parent.{RUNS}</script>'></iframe> <svg onload='{RUNS}'></svg> "
    f"<form action='https://evil.example'><button>go</button></form> <img src='https://evil.example/seen.png'> "
    f"<a href='https://example.org/fine'>fine</a>"
)
LINK = f"javascript:{RUNS}"


def documented(text: str, **more: Any) -> Site:
    made = site(Endpoint("r", ("/s",)), text)
    return msgspec.structs.replace(made, docs=True, **more)


def shown(text: str) -> Any:
    return json.loads(parse_site(documented(text)).reference)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        # Debian's own; elsewhere the one that `playwright install chromium` brings.
        found = playwright.chromium.launch(
            executable_path=shutil.which("chromium-headless-shell"), args=["--no-sandbox"]
        )
        yield found
        found.close()


@pytest.fixture(scope="module")
def backend(stand: Stand) -> Backend:
    return stand.backend("flights")


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script(
        "window.violations = []; document.addEventListener('securitypolicyviolation', "
        "event => violations.push(event.violatedDirective + ' ' + event.blockedURI));"
    )
    yield page
    context.close()


def read(page: Page, stand: Stand, described: Site) -> list[str]:
    """Open the reference of a site that is served; every address that the browser asks, but for what the policy stops.

    An address that cannot be reached counts: it was asked.
    """
    asked: list[str] = []
    page.on("requestfinished", lambda request: asked.append(request.url))
    page.on("requestfailed", lambda request: None if request.failure == "csp" else asked.append(request.url))
    stand.gateway.switch([described])
    page.goto(f"http://127.0.0.1:{stand.port}{AT}/docs")
    expect(page.locator(".opblock").first).to_be_visible()
    return asked


def test_an_operation_is_tried_out_with_a_key_that_the_reader_pastes(
    page: Page, stand: Stand, backend: Backend
) -> None:
    keyed = {"get": {"security": [{"key": []}], "responses": {"200": {"description": "fine"}}}}
    _, key = stand.keys.create("reader", ["flight-delay/production"])
    asked = read(page, stand, documented(document(k=keyed), endpoint=backend.endpoint()))
    page.locator(".opblock-summary-control").first.click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table tbody .response-col_status").first).to_contain_text("401")

    page.get_by_role("button", name="Authorize", exact=True).first.click()
    page.locator(".auth-container input").fill(key)
    page.locator(".auth-btn-wrapper").get_by_role("button", name="Apply credentials").click()
    page.locator(".modal-ux").get_by_role("button", name="Close").last.click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table tbody .response-col_status").first).to_contain_text("200")

    assert backend.seen[-1].line == "GET /k HTTP/1.1"
    assert backend.seen[-1].values("x-mawasu-consumer") == ["reader"]
    assert {url.split("/")[2] for url in asked if not url.startswith("data:")} == {f"127.0.0.1:{stand.port}"}
    assert page.evaluate("violations") == [], "the viewer needs nothing that the policy forbids"
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]


def test_what_stands_in_a_document_never_runs(page: Page, stand: Stand, backend: Backend) -> None:
    text = json.loads(document(k=[]))
    text["info"] |= {"title": HTML, "description": HTML, "termsOfService": LINK, "contact": {"name": "x", "url": LINK}}
    text["info"]["license"] = {"name": HTML, "url": LINK}
    text["externalDocs"] = {"description": HTML, "url": LINK}
    text["tags"] = [{"name": "t", "description": HTML, "externalDocs": {"url": LINK, "description": "more"}}]
    text["paths"]["/k"]["get"] |= {
        "tags": ["t"],
        "summary": HTML,
        "description": HTML,
        "externalDocs": {"url": LINK, "description": "more"},
        "parameters": [
            {"name": "p", "in": "query", "description": HTML, "schema": {"type": "string", "default": HTML}}
        ],
        "responses": {"200": {"description": HTML}},
    }
    asked = read(page, stand, documented(json.dumps(text), endpoint=backend.endpoint()))
    page.locator(".opblock-summary-control").first.click()
    expect(page.get_by_role("link", name="fine").first).to_be_visible()

    links = page.locator("#reference a").evaluate_all("links => links.map(link => link.href)")
    assert {link.partition(":")[0] for link in links} <= {"http", "https", "about", ""}
    assert page.url.startswith(f"http://127.0.0.1:{stand.port}{AT}/docs")
    assert page.locator("#reference").locator("script, iframe, form[action]").count() == 0
    assert page.locator("[onerror], [onload], [href^='javascript:']").count() == 0
    assert not [url for url in asked if "evil.example" in url], "nobody elsewhere learns who reads"
    assert page.evaluate("window.hacked") is None

    # And if the viewer had let it through:
    page.evaluate("text => reference.insertAdjacentHTML('beforeend', text)", HTML)
    page.locator("#reference > a", has_text="one").click()
    page.wait_for_function("violations.some(one => one.startsWith('script-src'))")
    assert page.evaluate("window.hacked") is None
    assert any(one.startswith("img-src https://evil.example") for one in page.evaluate("violations"))


@pytest.mark.parametrize(
    ("described", "docs", "there"),
    [
        ({"k": []}, True, True),
        ({"k": []}, False, False),
        ({"docs": []}, True, False),
        ({"docs": {"post": {"security": []}}}, True, False),
        ({"docs__openapi.json": []}, True, False),
        ({"{name}": []}, True, False),
        ({"{name}__{more}": [], "k": {"post": {"security": []}}}, True, False),
    ],
)
def test_a_page_is_there_where_it_is_wanted_and_never_before_an_operation(
    described: dict[str, Any], docs: bool, there: bool, stand: Stand, backend: Backend
) -> None:
    made = msgspec.structs.replace(documented(document(**described), endpoint=backend.endpoint()), docs=docs)
    stand.gateway.switch([made])
    sites = [parse_site(made)]
    pages = 0
    for method, path in itertools.product(("GET", "POST"), ("/docs", "/docs/", "/docs/openapi.json")):
        before = len(backend.seen)
        answer = call(stand.port, method, AT + path)
        arrived = len(backend.seen) > before
        found = explain(Request(method, AT + path), sites, Known((), 0))
        assert (found.status, found.route is not None) == (answer.status, arrived), f"{method} {path}"
        if answer.status == 200 and not arrived:
            pages += 1
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "script-src 'self';" in answer.headers["content-security-policy"]
    assert pages == (3 if there else 0)


def test_the_pages_of_two_sites_share_the_viewer_and_not_the_document(stand: Stand, backend: Backend) -> None:
    texts = [document(one=[]), document(two=[])]
    sites = [site(backend.endpoint(), text, "f", name) for text, name in zip(texts, ("a", "b"), strict=True)]
    stand.gateway.switch([msgspec.structs.replace(one, docs=True) for one in sites])
    read = [json.loads(call(stand.port, "GET", f"/f/{name}/docs/openapi.json").body)["paths"] for name in ("a", "b")]
    assert [list(paths) for paths in read] == [["/one"], ["/two"]]
    files = {re.search("/_docs/[0-9a-f]+/", call(stand.port, "GET", f"/f/{name}/docs").body) for name in ("a", "b")}
    assert len({found[0] for found in files if found}) == 1


# ------------------------------------------------------------------------------------------------------ the document


def test_a_document_is_shown_at_its_address_without_what_only_a_gateway_reads() -> None:
    text = json.loads(document({"keys": [Issuer().jwk]}, t=[{"jwt": []}]))
    text |= {"servers": [{"url": "http://10.0.0.7:9000"}], "x-google-endpoints": [{"name": "inside.example"}]}
    text["paths"]["/t"] |= {"servers": [{"url": "http://10.0.0.8"}]}
    operation = text["paths"]["/t"]["get"]
    operation |= {"servers": [{"url": "http://10.0.0.9"}], "x-google-backend": {"deadline": 3}}
    properties = {"servers": {"type": "string"}, "x-mawasu-like": {"type": "string"}}
    example = {"servers": [1], "x-mawasu-like": "a"}
    media = {"schema": {"type": "object", "properties": properties}, "example": example}
    operation["responses"] = {"200": {"description": "x", "content": {"application/json": media}}}

    found = shown(json.dumps(text))

    assert found["servers"] == [{"url": AT}]
    assert found["paths"]["/t"]["get"]["responses"] == operation["responses"], "what an author named stays"
    assert found["components"]["securitySchemes"] == {
        "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        "jwt": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    }
    rest = json.dumps({**found, "paths": {"/t": {**found["paths"]["/t"], "get": {"security": []}}}})
    assert not re.search(r"x-google|x-mawasu|inside\.example|10\.0\.0|jwks", rest)
    assert set(found["paths"]["/t"]) == {"get"}
    assert set(found["paths"]["/t"]["get"]) == {"security", "responses"}


def test_a_scheme_is_shown_as_what_a_caller_sends() -> None:
    text = json.loads(document({"keys": [Issuer().jwk]}, t=[{"jwt": []}]))
    schemes = text["components"]["securitySchemes"]
    schemes["key"] = {"type": "apiKey", "description": "Ask us."}
    schemes["jwt"]["x-google-jwt-locations"] = [{"header": "x-token", "value_prefix": "Own "}]
    assert shown(json.dumps(text))["components"]["securitySchemes"] == {
        "key": {"description": "Ask us.", "type": "apiKey", "in": "header", "name": "x-api-key"},
        "jwt": {"description": "`Own ` and then a token.", "type": "apiKey", "in": "header", "name": "x-token"},
    }


def test_a_swagger_file_is_shown_below_its_base_path() -> None:
    text = """
swagger: "2.0"
info: {title: x, version: "1", x-day: 2026-11-24}
host: inside.example
schemes: [http]
basePath: /v1
paths: {/k: {get: {security: [{key: []}], responses: {"200": {description: x}}}}}
securityDefinitions: {key: {type: apiKey, in: query, name: key}}
"""
    found = shown(text)
    assert (found["basePath"], set(found) & {"host", "schemes", "servers"}) == (f"{AT}/v1", set())
    assert found["info"]["x-day"] == "2026-11-24"
    assert found["securityDefinitions"] == {"key": {"type": "apiKey", "in": "query", "name": "key"}}


def test_a_document_that_its_aliases_make_endless_is_served_and_not_shown() -> None:
    lines = ["x-0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"x-{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    text = "\n".join(["openapi: 3.1.0", "info: {title: x, version: '1'}", "paths: {/k: {get: {security: []}}}", *lines])
    served = parse_site(documented(text))
    assert (served.reference, len(served.api.operations)) == ("", 1)
    assert MOST < 10**9


@pytest.mark.parametrize(
    ("said", "environment", "there"),
    [
        ("", "production", False),
        ("", "staging", True),
        ("", "preview-x", True),
        (", docs: true", "production", True),
        (", docs: false", "staging", False),
    ],
)
def test_production_shows_its_document_when_asked_and_the_others_unless_told_not_to(
    said: str, environment: str, there: bool
) -> None:
    auth = load(f"""
feature: churn
training: {{paths: [training/**], command: python training/train.py}}
api: {{paths: [api/**], handler: "api.handler:predict"}}
auth: {{openapi: auth/openapi.yaml{said}}}
""").auth
    assert auth
    assert has_docs(auth, environment) is there
