"""What is told to Envoy, read back by another reader than the compiler's, means what the document said."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mawasu.gateway import claims, credentials, templates
from mawasu.gateway.asked import Request
from mawasu.gateway.envoy import compile
from mawasu.gateway.explain import explain
from mawasu.gateway.listener import ROUTES
from mawasu.gateway.openapi import parse_site
from mawasu.gateway.verify import Known
from mawasu.words import Endpoint
from tests.gateway.machinery import Issuer, document, site

AT = "/flight-delay/production"
ISSUER = Issuer()
METHODS = st.sampled_from(["get", "post", "put"])
SECURITY: st.SearchStrategy[list[dict[str, list[str]]]] = st.sampled_from(
    [[], [{"jwt": []}], [{"key": []}], [{"jwt": []}, {"key": []}], [{"jwt": [], "key": []}], [{"jwt": []}, {}]]
)
PATH = st.sampled_from(["/", "/a", "/a/b", "/a/{x}", "/{x}/b", "/{x}", "/a.b", "/a/{x}/c"])
PATHS = st.dictionaries(PATH, st.dictionaries(METHODS, SECURITY, min_size=1), min_size=1, max_size=5)
ASKED = st.tuples(METHODS, st.sampled_from(["/", "/a", "/a/", "/a/b", "/a/v", "/v/b", "/v", "/a.b", "/axb", "/a/v/c"]))


def answer(config: Any, method: str, path: str) -> tuple[int, bool]:
    """The status for a request without credentials, and whether both rules about credentials are in its way."""
    server = config.files()[ROUTES][0]["virtual_hosts"][0]
    lists = server["matcher"]["matcher_tree"]["prefix_match_map"]["map"]
    longest = max((start for start in lists if path.startswith(start)), key=len, default=None)
    leaf = server["matcher"]["on_no_match"] if longest is None else lists[longest]
    routes = leaf["action"]["typed_config"]["routes"]
    route = next(route for route in routes if fits(route["match"], method, path))
    filters = server["typed_per_filter_config"] | route["typed_per_filter_config"]
    ruled = {name for name in (credentials.FILTER, claims.FILTER) if not filters.get(name, {}).get("disabled", False)}
    assert len(ruled & filters.keys()) in (0, 2)
    if "direct_response" in route:
        return route["direct_response"]["status"], bool(ruled & filters.keys())
    name = filters["mawasu.authn"].get("requirement_name")
    passes = name is None or holds(config.requirements[name])
    return (200 if passes else 401), bool(ruled & filters.keys())


def fits(match: Any, method: str, path: str) -> bool:
    for header in match.get("headers", []):
        if header["name"] == ":path":
            if re.fullmatch(header["string_match"]["safe_regex"]["regex"], path) is None:
                return False
        elif header["name"] != ":method" or header["string_match"]["exact"] != method:
            return False
    return bool(match["path"] == path if "path" in match else path.startswith(match["prefix"]))


def holds(requirement: Any) -> bool:
    """Of a request that brings nothing."""
    if "requires_any" in requirement:
        return any(map(holds, requirement["requires_any"]["requirements"]))
    if "requires_all" in requirement:
        return all(map(holds, requirement["requires_all"]["requirements"]))
    return "provider_name" not in requirement


@settings(max_examples=60)
@given(PATHS, st.lists(ASKED, min_size=1, max_size=8))
def test_what_envoy_is_told_lets_in_whom_the_document_lets_in(
    paths: dict[str, dict[str, Any]], asked: list[tuple[str, str]]
) -> None:
    described: dict[str, Any] = {}
    for path in {templates.shape(path): path for path in paths}.values():
        answers = {"responses": {"200": {"description": "An answer"}}}
        described[path.removeprefix("/").replace("/", "__")] = {
            method: answers | {"security": security} for method, security in paths[path].items()
        }
    served = parse_site(site(Endpoint("r", ("/s",)), document({"keys": [ISSUER.jwk]}, **described)))
    config = compile([served], "/k")
    for method, path in asked:
        found = explain(Request(method.upper(), AT + path), [served], Known((), 0))
        asks = bool(found.route and any(found.route.security))
        assert answer(config, method.upper(), AT + path) == (found.status, asks), (method, path)
