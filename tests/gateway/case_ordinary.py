"""What the gateway answers to ordinary callers, as ESPv2 does."""

from __future__ import annotations

from mawasu.gateway import listener, routes
from tests.gateway.case_tokens import BAD_AUDIENCE, BAD_SIGNATURE, FUTURE, NO_ISSUER, PAST
from tests.gateway.case_tokens import NO_KEY as UNKNOWN_KID
from tests.gateway.case_world import (
    AT,
    LONG,
    by_stranger,
    edited,
    get,
    key,
    line,
    sent_as_token,
    token,
    with_token,
)
from tests.gateway.cases import Asked, Case, Different, Held

MISSING = "Jwt is missing"
NO_KEY, BAD_KEY, OLD_KEY, NOT_FOUND = listener.NO_KEY, listener.BAD_KEY, listener.OLD_KEY, routes.NOT_FOUND

TOKENS: list[Case] = [
    Asked("no token", "nothing", get("/t"), 401, MISSING),
    Asked("no token", "`Authorization: Basic …`", get("/t", authorization="Basic Ym9iOmJvYg=="), 401, MISSING),
    Asked("time", "`exp` in the past", with_token(exp=PAST), 401, "Jwt is expired"),
    Asked("time", "`nbf` in the future", with_token(nbf=FUTURE), 401, "Jwt not yet valid"),
    Asked("issuer", "`iss` of somebody else", with_token(iss="https://evil"), 401, NO_ISSUER),
    Asked("signature", "claims that were not signed", sent_as_token(edited), 401, BAD_SIGNATURE),
    Asked("kid", "`kid` of no key", sent_as_token(by_stranger(kid=lambda stranger, world: "nine")), 401, UNKNOWN_KID),
    Asked("audience", "wrong", with_token(aud="buses"), 403, BAD_AUDIENCE),
    Asked("audience", "missing", with_token(aud=None), 403, BAD_AUDIENCE),
    Asked("audience", "one of several that is right", with_token(aud=["buses", "trains"]), 200),
    Asked("token places", "`Authorization: Bearer`", with_token(), 200),
    Asked(
        "token places",
        "`X-Goog-Iap-Jwt-Assertion`",
        get("/t", x_goog_iap_jwt_assertion=lambda w: w.issuer.token()),
        200,
    ),
    Asked("token places", "`?access_token=`", get(lambda world: f"/t?access_token={world.issuer.token()}"), 200),
    Asked(
        "token places", "the one that the document names", get("/elsewhere", x_token=lambda w: w.issuer.token()), 200
    ),
    Asked("token places", "another one then", get("/elsewhere", authorization=token()), 401, MISSING),
]
KEYS: list[Case] = [
    Asked("no key", "nothing", get("/k"), 401, NO_KEY),
    Asked("unknown key", "what was never a key", get("/k", x_api_key="AIzaSyNotAKeyOfOurs"), 400, BAD_KEY),
    Asked("unknown key", "one that expired", get("/k", x_api_key=key("expired")), 400, OLD_KEY),
    Asked("key places", "`X-API-KEY`", get("/anywhere", x_api_key=key("good")), 200),
    Asked("key places", "`?key=`", get(lambda w: f"/anywhere?key={w.keys['good']}"), 200),
    Asked("key places", "`?api_key=`", get(lambda w: f"/anywhere?api_key={w.keys['good']}"), 200),
    Asked("key places", "the one that the document names", get(lambda w: f"/q?a=b&api={w.keys['good']}&c"), 200),
    Asked("key places", "the same, its name escaped", get(lambda w: f"/q?%61p%69={w.keys['good']}"), 200),
    Asked("key places", "another one then", get(lambda w: f"/k?key={w.keys['good']}"), 401, NO_KEY),
    Asked(
        "key places",
        "two keys",
        get(lambda w: f"/anywhere?key={w.keys['good']}", x_api_key=key("good")),
        401,
        listener.TWO_CREDENTIALS,
    ),
]
REQUIREMENTS: list[Case] = [
    Asked("requirements", "`security: []`, with nothing", get("/open"), 200),
    Asked("requirements", "either, with a token", get("/either", authorization=token()), 200),
    Asked("requirements", "either, with a key", get("/either", x_api_key=key("good")), 200),
    Asked("requirements", "either, with neither", get("/either"), 401, MISSING),
    Asked("requirements", "both, with both", get("/both", authorization=token(), x_api_key=key("good")), 200),
    Asked("requirements", "both, without the token", get("/both", x_api_key=key("good")), 401, MISSING),
    Asked("requirements", "both, without the key", get("/both", authorization=token()), 401, NO_KEY),
    Asked(
        "requirements",
        "both, with another API's key",
        get("/both", authorization=token(), x_api_key=key("other")),
        403,
        listener.OTHER_KEY,
    ),
    Asked(
        "requirements",
        "a key and one of two tokens, with the second",
        get("/person", x_api_key=key("good"), x_token=lambda w: w.issuer.token()),
        200,
    ),
    Asked(
        "requirements", "a key and one of two tokens, with neither", get("/person", x_api_key=key("good")), 401, MISSING
    ),
    Asked(
        "requirements",
        "a key, with or without a token: with",
        get("/keyed", authorization=token(), x_api_key=key("good")),
        200,
    ),
    Asked("requirements", "a key, with or without a token: without", get("/keyed", x_api_key=key("good")), 200),
    Asked(
        "requirements",
        "a key, with or without a token: with a bad one",
        get("/keyed", authorization=token(exp=1), x_api_key=key("good")),
        200,
    ),
    Asked("requirements", "a key, with or without a token: no key", get("/keyed", authorization=token()), 401, NO_KEY),
    Asked("requirements", "optional, with nothing", get("/maybe"), 200),
    Asked("requirements", "optional, with a token", get("/maybe", authorization=token()), 200),
    Asked(
        "requirements", "optional, with a bad token", get("/maybe", authorization=token(exp=1)), 401, "Jwt is expired"
    ),
]
PATHS: list[Case] = [
    Asked("path", "`/nothing`", get("/nothing"), 404, NOT_FOUND),
    Asked("path", "`/`", line("GET / HTTP/1.1"), 404, NOT_FOUND),
    Asked(
        "path", "an environment of a longer name", line("GET /flight-delay/productions/open HTTP/1.1"), 404, NOT_FOUND
    ),
    Asked(
        "method",
        "`POST /admin`",
        line(f"POST {AT}/admin HTTP/1.1", "content-length: 0"),
        405,
        routes.NOT_ALLOWED.format("/admin"),
        {"allow": "DELETE, GET"},
    ),
    Asked("underscore", "`a_b: c`", line(f"GET {AT}/open HTTP/1.1", "a_b: c"), 400, "Bad Request"),
    Asked("slashes", "`//open`", get("//open"), 200),
    Asked("slashes", "`/open/`", get("/open/"), 200),
    Asked("slashes", "`/open//`", get("/open//"), 200),
    Asked("templates", "`/things/a%20b` for `/things/{id}`", get("/things/a%20b"), 200),
    Asked("templates", "`/things/a/b`", get("/things/a/b"), 404, NOT_FOUND),
    Asked("templates", "`GET /things/special`, where that path has POST only", get("/things/special"), 200),
    Asked("templates", "a template of 240 characters", get("/long/" + LONG.format(id="7")), 200),
]
APART: list[Case] = [
    Held(
        "quota",
        "one call more than a minute's quota",
        "429 `RESOURCE_EXHAUSTED: …`, `retry-after: 60`",
        "test_quota.py::test_one_call_more_than_the_quota_is_refused_and_no_back_end_sees_it",
    ),
    Different(
        "back end's token",
        "a token",
        "the back end gets it as it came",
        "the gateway shows no identity: not on a Unix socket of its own, and an outside back end must do without",
    ),
    Held(
        "outside",
        "`APPEND_PATH_TO_ADDRESS`",
        "the path and its query after the address",
        "test_outside.py::test_the_callers_path_is_put_after_the_address",
    ),
    Held(
        "outside",
        "`CONSTANT_ADDRESS`, `/hello/{name}`",
        "the address, with `?name=…` after the caller's query",
        "test_outside.py::test_an_operations_own_address_is_constant_and_variables_go_into_the_query",
    ),
    Held(
        "outside",
        "a token, a key, forged identities",
        "`Authorization` as it came, the verified claims, no key, nothing forged",
        "test_outside.py::test_the_back_end_gets_what_espv2_would_give_it",
    ),
    Held(
        "outside",
        "`protocol: h2`",
        "HTTP/2",
        "test_outside.py::test_http2_is_spoken_where_the_document_says_so",
    ),
    Held(
        "outside",
        "a certificate of another name, or of nobody's authority",
        "503, and the server is told nothing",
        "test_outside.py::test_a_server_that_cannot_prove_its_name_is_told_nothing",
    ),
    Held(
        "outside forbidden",
        "plain `http`, metadata servers, link-local addresses, users, another's `jwt_audience`",
        "a fault with its line and path",
        "test_outside.py::test_what_no_document_may_make_a_gateway_call_is_a_fault",
    ),
    Held(
        "outside forbidden",
        "a host that was not allowed",
        "a fault that says how to allow it",
        "test_outside.py::test_only_servers_that_were_allowed_may_be_named",
    ),
    Held(
        "outside forbidden",
        "a host that is no longer allowed",
        "503; the rest of the site goes on",
        "test_outside.py::test_what_is_no_longer_allowed_is_not_called",
    ),
    Held(
        "deadline",
        "a back end that takes longer",
        "504 `upstream request timeout`",
        "test_cases.py::test_a_back_end_that_is_too_slow_is_given_up",
    ),
    Held(
        "key set",
        "cold: it was never fetched",
        "401 `Jwks remote fetch is failed`",
        "test_cases.py::test_a_key_set_that_cannot_be_fetched_opens_nothing",
    ),
    Held(
        "key set",
        "cold, and then it comes",
        "arrives, without another switch",
        "test_key_sets.py::test_a_key_set_that_comes_late_opens_without_another_switch",
    ),
    Held(
        "key set",
        "warm: errors, or what is no key set",
        "the last good keys go on",
        "test_key_sets.py::test_while_the_issuer_is_away_its_last_good_keys_go_on",
    ),
    Held(
        "key set",
        "warm, and then an API key is made, a preview pushed, Envoy started anew",
        "the last good keys go on, until the issuer is back",
        "test_key_sets.py::test_a_change_while_the_issuer_is_away_leaves_its_last_good_keys_in_place",
    ),
    Held(
        "pre-flight",
        "`OPTIONS` from a foreign origin",
        f"400 `{routes.FOREIGN}`",
        "test_cors.py::test_a_pre_flight_from_a_foreign_origin_is_refused",
    ),
    Held(
        "pre-flight",
        "the same with `allowCors`",
        "arrives, without credentials",
        "test_cors.py::test_with_allow_cors_a_pre_flight_reaches_the_back_end_without_credentials",
    ),
    Held(
        "identity",
        "with a token, a key, neither",
        "the verified claims, or nothing",
        "test_cases.py::test_a_forged_identity_never_reaches_the_back_end",
    ),
    Held(
        "identity",
        "a key in a header, asked for or not",
        "never the key",
        "test_cases.py::test_no_back_end_gets_a_key_that_came_in_a_header_whether_it_was_asked_for_or_not",
    ),
    Held(
        "identity",
        "a token and a key",
        "the token's claims; the key's consumer in `X-Mawasu-Consumer`",
        "test_cases.py::test_the_back_end_learns_who_calls_from_the_verified_token",
    ),
    Held(
        "extensions",
        "an unknown `x-google-*`",
        "a fault with its line, path and the nearest name",
        "test_openapi.py::test_all_faults_are_reported_at_once_in_the_order_of_the_file",
    ),
]
SPLITS: list[Case] = [
    Held(
        "split",
        "2,000 units at 80/20, then 60/40, then 0/100",
        "shares within binomial bounds, and nobody moves back",
        "test_splits.py::test_shares_follow_the_weights_and_nobody_moves_back",
    ),
    Held(
        "split",
        "the same units with another salt",
        "an independent share of them (chi-squared)",
        "test_splits.py::test_two_salts_share_out_independently",
    ),
    Held(
        "split",
        "another key or token of the same consumer",
        "the same revision",
        "test_splits.py::test_a_consumer_is_one_unit_with_every_key_and_token_it_has",
    ),
    Held(
        "split",
        "a browser without a cookie, then with the one it got",
        "the same revision",
        "test_splits.py::test_a_browser_gets_a_cookie_with_its_first_answer_and_stays",
    ),
    Held(
        "split",
        "nothing that names a unit",
        "the site's own revision",
        "test_splits.py::test_who_has_no_unit_meets_the_sites_own_revision",
    ),
    Held(
        "split",
        "forged headers beside the verified unit",
        "no effect",
        "test_splits.py::test_what_a_caller_writes_moves_no_verified_unit",
    ),
]
CASES: list[Case] = [*TOKENS, *KEYS, *REQUIREMENTS, *PATHS, *APART, *SPLITS]
