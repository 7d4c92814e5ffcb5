"""Attacks with paths, methods and headers: rows 25 to 36."""

from __future__ import annotations

from mawasu.gateway import listener, routes
from tests.gateway.case_world import AT, get, line
from tests.gateway.cases import Asked, Case, Held

MISSING = "Jwt is missing"  # /admin's answer to who brings no token
BAD_PATH, NOT_FOUND = listener.BAD_PATH, routes.NOT_FOUND

CASES: list[Case] = [
    Asked(25, "to an open GET", get("/open", x_http_method_override="DELETE"), 200),
    Asked(25, "to a GET that asks for a token", get("/admin", x_http_method_override="DELETE"), 401, MISSING),
    Asked(26, "`//admin`", get("//admin"), 401, MISSING),
    Asked(26, "`//` before everything", line(f"GET //{AT}/admin HTTP/1.1"), 401, MISSING),
    Asked(27, "`/pub/../admin`", get("/pub/../admin"), 401, MISSING),
    Asked(27, "`/pub/..;/admin`", get("/pub/..;/admin"), 401, MISSING),
    Asked(27, "`/pub/..;a=b/admin`", get("/pub/..;a=b/admin"), 401, MISSING),
    Asked(28, "`/pub/%2e%2e/admin`", get("/pub/%2e%2e/admin"), 401, MISSING),
    Asked(28, "`/pub/%2e%2e;/admin`", get("/pub/%2e%2e;/admin"), 404, NOT_FOUND),
    Asked(28, "`/things/%2e%2e;x` for `/things/{id}`", get("/things/%2e%2e;x"), 404, NOT_FOUND),
    Asked(28, "`/things/%2e;`", get("/things/%2e;"), 404, NOT_FOUND),
    Asked(28, "`/things/..x;y`, which is a name like another", get("/things/..x;y"), 200),
    Asked(28, "`/pub/%2e%2e%2fadmin`", get("/pub/%2e%2e%2fadmin"), 400, BAD_PATH),
    Asked(29, "`/pub%2Fx`", get("/pub%2Fx"), 400, BAD_PATH),
    Asked(29, "`/pub%5Cx`", get("/pub%5Cx"), 400, BAD_PATH),
    Asked(29, "`/pub\\..\\admin`", get("/pub\\..\\admin"), 401, MISSING),
    Asked(30, "`/admin#x`", get("/admin#x"), 400, BAD_PATH),
    Asked(30, "`/open#/../admin`", get("/open#/../admin"), 400, BAD_PATH),
    Asked(31, "`/open%00`", get("/open%00"), 400),
    Asked(31, "NUL in a header", line(f"GET {AT}/open HTTP/1.1", "x: a\0b"), 400),
    Held(32, "`X-Envoy-Original-Path: /admin`", "dropped", "test_edge.py::test_32_a_forged_original_path_is_dropped"),
    Held(
        32,
        "the same, to open what is closed",
        "opens nothing",
        "test_edge.py::test_32_a_forged_original_path_opens_nothing",
    ),
    Held(
        33,
        "two of them, with and without a token",
        "both replaced",
        "test_edge.py::test_33_two_forged_identities_are_both_replaced",
    ),
    Held(
        33,
        "two of them over HTTP/2",
        "both replaced",
        "test_edge.py::test_33_forged_identities_are_replaced_over_http2_too",
    ),
    Held(
        34,
        "`GET http://evil.example/…`, and with the gateway's own name",
        "400 or 404",
        "test_edge.py::test_34_an_absolute_target_is_refused",
    ),
    Asked(35, "`/things/?x` for `/things/{id}`: a query is no part of a path", get("/things/?x"), 404, NOT_FOUND),
    Asked(35, "`/pub`", get("/pub"), 404, NOT_FOUND),
    Asked(36, "`DELETE /pub/x`", line(f"DELETE {AT}/pub/x HTTP/1.1"), 405, routes.NOT_ALLOWED.format("/pub/x")),
    Asked(36, "`PUT /things/special`, beside a template", line(f"PUT {AT}/things/special HTTP/1.1"), 405),
]
