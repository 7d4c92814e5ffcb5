"""Random documents: a real Envoy takes each of them, and answers as the document says."""

from __future__ import annotations

import json
import time
from typing import Any

import msgspec
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mawasu.gateway import templates
from mawasu.gateway.asked import Request
from mawasu.gateway.explain import Explanation, explain
from mawasu.gateway.openapi import parse_site
from mawasu.gateway.verify import Known
from mawasu.words import Share, Split, Unit
from tests.gateway.conftest import Stand
from tests.gateway.machinery import Issuer, call, site

AT = "/flight-delay/production"
ISSUERS = [Issuer(), Issuer("https://other.example", kid="two")]
NAMES = ("key", "query", "usual", "one", "two", "cookie")
METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")
PATHS = ("/", "/a", "/a/b", "/a/{x}", "/{x}/b", "/{x}", "/a.b", "/a{x}", "/a/{x}/c", "/é+(b)", "/{x}-{y}", "/a%20b")
ASKED = (
    "/",
    "/a",
    "/a/",
    "/a/b",
    "/a/v",
    "/v/b",
    "/v",
    "/a.b",
    "/axb",
    "/a/v/c",
    "/%C3%A9+(b)",
    "/v-w",
    "/a%20b",
    "//a",
)
UNITS = (Unit("consumer"), Unit("claim", "sub"), Unit("header", "x-user"), Unit("cookie"))

SECURITY: st.SearchStrategy[list[dict[str, list[str]]]] = st.lists(
    st.lists(st.sampled_from(NAMES), unique=True, max_size=3), max_size=3, unique_by=frozenset
).map(lambda alternatives: [{name: [] for name in names} for names in alternatives])
BACKENDS = st.sampled_from(
    [
        None,
        {"deadline": 2.5},
        {"address": "https://forbidden.example/x", "disable_auth": True},
        {"address": "https://forbidden.example", "disable_auth": True, "path_translation": "APPEND_PATH_TO_ADDRESS"},
        {"address": "https://forbidden.example", "disable_auth": True, "protocol": "h2", "deadline": 3},
    ]
)
COSTS = st.dictionaries(st.sampled_from(["reads", "writes"]), st.integers(1, 3))
LIMITS = st.lists(st.tuples(st.sampled_from(["reads", "writes"]), st.integers(10**6, 2**40)), max_size=3)


@st.composite
def operations(draw: st.DrawFn) -> dict[str, Any]:
    made: dict[str, Any] = {"security": draw(SECURITY), "responses": {"200": {"description": "fine"}}}
    backend, costs = draw(BACKENDS), draw(COSTS)
    made |= {"x-google-backend": backend} if backend else {}
    return made | ({"x-google-quota": {"metricCosts": costs}} if costs else {})


@st.composite
def documents(draw: st.DrawFn) -> str:
    paths = draw(st.lists(st.sampled_from(PATHS), min_size=1, max_size=5, unique_by=templates.shape))
    old = draw(st.booleans())
    methods = METHODS[:-1] if old else METHODS  # Swagger 2.0 has no trace
    items = st.dictionaries(st.sampled_from(methods), operations(), min_size=1, max_size=3)
    limits = [
        {"name": f"limit {at}", "metric": metric, "unit": "1/min/{project}", "values": {"STANDARD": count}}
        for at, (metric, count) in enumerate(draw(LIMITS))
    ]
    whole: dict[str, Any] = {
        "info": {"title": "t", "version": "1"},
        "paths": {path: draw(items) for path in paths},
        "x-google-management": {"metrics": [{"name": "reads"}, {"name": "writes"}], "quota": {"limits": limits}},
        "x-google-endpoints": [{"allowCors": draw(st.booleans())}],
    }
    if old:
        whole |= {"swagger": "2.0", "basePath": draw(st.sampled_from(["/", "/v1"])), "securityDefinitions": schemes()}
    else:
        whole |= {"openapi": draw(st.sampled_from(["3.0.3", "3.1.0"])), "components": {"securitySchemes": schemes()}}
    return json.dumps(whole)


def schemes() -> dict[str, Any]:
    found: dict[str, Any] = {
        "key": {"type": "apiKey", "in": "header", "name": "X-Key"},
        "query": {"type": "apiKey", "in": "query", "name": "k"},
        "usual": {"type": "apiKey"},
    }
    token = {"type": "oauth2", "x-google-audiences": "flights"}
    for name, issuer in zip(("one", "two"), ISSUERS, strict=True):
        found[name] = token | {"x-google-issuer": issuer.name, "x-mawasu-jwks": {"keys": [issuer.jwk]}}
    place = {"x-google-jwt-locations": [{"cookie": "t"}, {"header": "X-T", "value_prefix": "T "}]}
    return found | {"cookie": found["one"] | place}


CREDENTIALS = st.lists(
    st.sampled_from(["X-Key", "x-api-key", "?k", "?key", "one", "two", "late", "X-T", "cookie", "bad key"]), max_size=4
).map(frozenset)
# What fails is shown as it was found: making it smaller would take Envoy thousands of switches.
PHASES = (Phase.explicit, Phase.generate)
CALLS = st.lists(
    st.tuples(st.sampled_from([one for one in METHODS if one != "head"]), st.sampled_from(ASKED), CREDENTIALS),
    min_size=1,
    max_size=10,
)


def made(key: str, method: str, path: str, credentials: frozenset[str]) -> Request:
    """One request with some of all credentials."""
    tokens = {"one": ISSUERS[0].token(), "two": ISSUERS[1].token(), "late": ISSUERS[0].token(exp=1)}
    headers: dict[str, str] = {name: key for name in ("X-Key", "x-api-key") if name in credentials}
    headers |= {"x-key": key[:-4] + "AAAA"} if "bad key" in credentials and "X-Key" not in credentials else {}
    headers |= {"X-T": f"T {tokens['one']}"} if "X-T" in credentials else {}
    headers |= {"cookie": f"a=b; t={tokens['one']}"} if "cookie" in credentials else {}
    bearer = [token for name, token in tokens.items() if name in credentials]
    headers |= {"authorization": f"Bearer {bearer[0]}"} if bearer else {}
    query = "&".join(f"{name[1:]}={key}" for name in ("?k", "?key") if name in credentials)
    return Request(method.upper(), f"{AT}{path}" + (f"?{query}" if query else ""), tuple(headers.items()))


def several_keys(found: Explanation) -> bool:
    named = {name for names in found.route.security for name in names} if found.route else set()
    return len(named & {"key", "query", "usual"}) > 1


@settings(
    max_examples=60,
    deadline=None,
    phases=PHASES,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(documents(), st.sampled_from([None, *UNITS]), CALLS)
def test_envoy_takes_any_document_and_lets_in_whom_it_lets_in(
    stand: Stand, text: str, unit: Unit | None, calls: list[tuple[str, str, frozenset[str]]]
) -> None:
    if not stand.backends:
        for says in ("old", "new"):
            stand.backend(says)
        stand.keys.create("bob", ["flight-delay/*"])
    old, new = stand.backends
    public, key = stand.keys.create("bob", ["flight-delay/*"])
    split = Split(unit, "salt", (Share(new.endpoint(), 5000),)) if unit else None
    served = msgspec.structs.replace(site(old.endpoint(), text), split=split)
    stand.gateway.switch([served])
    parsed = [parse_site(served)]
    for method, path, credentials in calls:
        request = made(key, method, path, credentials)
        before = len(old.seen) + len(new.seen)
        found = explain(request, parsed, Known([public], time.time()))
        answer = call(stand.port, request.method, request.target, dict(request.headers))
        assert (answer.status == 200) == (found.status == 200), request
        if answer.status != 200 and not several_keys(found):  # of two schemes of keys either's words may come first
            assert (answer.status, answer.message) == (found.status, found.message), request
        assert len(old.seen) + len(new.seen) - before == (answer.status == 200), request
    stand.keys.revoke(public.id)
