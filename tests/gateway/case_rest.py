"""Attacks with framing, floods, keys and quotas, and on what runs the gateway: rows 37 to 56."""

from __future__ import annotations

from mawasu.gateway import listener
from tests.gateway.case_world import bearer, get, key, renamed
from tests.gateway.cases import Asked, Case, Different, Held

NO_KEY, BAD_KEY = listener.NO_KEY, listener.BAD_KEY
UNCLEAR = "test_framing.py::test_a_body_of_unclear_length_is_refused_and_the_connection_closed"
QUOTA = "test_quota.py::test"
CLOSED = "400, and the connection is closed"

FRAMING: list[Case] = [
    Held(37, "both, in either order", CLOSED, UNCLEAR),
    Held(38, "four spellings that are no header line", CLOSED, UNCLEAR),
    Different(
        38,
        "six codings that nobody knows, or in an order that nobody takes",
        "501, and the connection is closed",
        "so RFC 9112, 6.1 has it for a coding that is not understood; the back end sees as little",
    ),
    Held(39, "two, and eight that are no length", CLOSED, UNCLEAR),
    Held(
        40,
        "chunks that are no chunks",
        CLOSED,
        "test_framing.py::test_40_a_bad_chunk_is_refused_and_the_connection_closed",
    ),
    Held(
        41,
        "fields that HTTP/1.1 would read as another request",
        "the stream is reset",
        "test_framing.py::test_http2_that_could_become_another_request_is_reset",
    ),
    Held(
        42,
        "10,000 of them",
        "cut off; others' answers come as before",
        "test_framing.py::test_42_rapid_resets_are_cut_off_and_other_callers_go_on",
    ),
    Held(43, "headers that never end", "408 or closed", "test_framing.py::test_43_headers_that_never_end_are_given_up"),
    Held(
        43,
        "headers that trickle",
        "408 or closed",
        "test_framing.py::test_43_headers_that_trickle_are_given_up_all_the_same",
    ),
    Held(43, "a body that never ends", "408 or closed", "test_framing.py::test_43_a_body_that_never_ends_is_given_up"),
    Held(43, "the same over HTTP/2", "reset", "test_framing.py::test_43_http2_headers_that_never_end_are_given_up"),
    Held(
        44,
        "with a length, in chunks, over HTTP/2",
        "413",
        "test_framing.py::test_44_a_body_over_the_cap_is_refused_however_it_comes",
    ),
    Held(45, "long ones, many of them", "431", "test_framing.py::test_45_a_header_bomb_is_refused"),
    Held(
        45,
        "compressed (HPACK)",
        "the connection ends",
        "test_framing.py::test_45_a_bomb_of_compressed_headers_ends_the_connection",
    ),
]
KEYS: list[Case] = [
    Asked(46, "no key", get("/k"), 401, NO_KEY),
    Asked(
        46,
        "a key with another signature",
        get("/k", x_api_key=lambda w: w.keys["good"][:-8] + "AAAAAAAA"),
        400,
        BAD_KEY,
    ),
    Asked(46, "a revoked key", get("/k", x_api_key=key("revoked")), 400, BAD_KEY),
    Asked(46, "a key that names no key id", get("/k", x_api_key=renamed), 400, BAD_KEY),
    Asked(
        46,
        "a key with an empty key id",
        get("/k", x_api_key=lambda w: renamed(w, '{"alg":"ES256","kid":""}')),
        400,
        BAD_KEY,
    ),
    Asked(
        46,
        "a key with two key ids",
        get("/k", x_api_key=lambda w: renamed(w, '{"alg":"ES256","kid":"mk","kid":""} ')),
        400,
        BAD_KEY,
    ),
    Asked(46, "a nameless key in the query", get(lambda w: f"/q?api={renamed(w)}"), 400, BAD_KEY),
    Asked(46, "the same under an escaped name", get(lambda w: f"/q?%61pi={renamed(w)}"), 400, BAD_KEY),
    Asked(
        46,
        "a nameless key after a good one",
        get(lambda w: f"/q?api={w.keys['good']}&%61pi={renamed(w)}"),
        401,
        listener.TWO_CREDENTIALS,
    ),
    Asked(46, "a good token as a key", get("/k", x_api_key=lambda w: w.issuer.token()), 400, BAD_KEY),
    Asked(
        46, "a good key as a token", get("/t", authorization=bearer(key("good"))), 401, "Jwt issuer is not configured"
    ),
    Asked(47, "a key of another feature", get("/k", x_api_key=key("other")), 403, listener.OTHER_KEY),
    Asked(47, "a key that opens every feature's production", get("/k", x_api_key=key("any")), 200),
    Asked(48, "inside", get("/k", x_api_key=key("in its grace")), 200),
    Asked(48, "after", get("/k", x_api_key=key("rotated out")), 400, BAD_KEY),
    Asked(48, "the new key", get("/k", x_api_key=key("renewed")), 200),
    Held(
        48,
        "the moment it is over, under load",
        "refused from then on; no other call fails",
        "test_switching.py::test_a_rotated_key_opens_until_its_grace_is_over",
    ),
    Held(
        49,
        "every file of the home and of Envoy",
        "holds public halves only",
        "test_switching.py::test_nothing_at_rest_can_call",
    ),
]
POLICY: list[Case] = [
    Held(
        50,
        "N+1 calls at once",
        "429 `RESOURCE_EXHAUSTED: …`",
        f"{QUOTA}_one_call_more_than_the_quota_is_refused_and_no_back_end_sees_it",
    ),
    Held(50, "calls of another consumer then", "arrive", f"{QUOTA}_what_one_consumer_spends_no_other_pays"),
    Held(
        51,
        "another address in it with each call",
        "429",
        f"{QUOTA}_callers_without_a_name_are_told_apart_by_address_and_cannot_forge_it",
    ),
    Different(52, "—", "—", "Envoy counts by itself, so no limiter can be away (decision 16)"),
    Held(
        53,
        "`OPTIONS` from a foreign origin",
        "400",
        "test_cors.py::test_a_refused_pre_flight_allows_no_origin_and_no_credentials",
    ),
    Held(
        54,
        "a call from a foreign origin",
        "the gateway says nothing of origins: the back end's words stand",
        "test_cors.py::test_the_gateway_adds_no_word_about_origins_to_what_a_back_end_answers",
    ),
]
OPERATIONS: list[Case] = [
    Held(
        55,
        "a look at all that Envoy listens on",
        "its admin interface is a Unix socket of mode 0600",
        "test_edge.py::test_55_the_admin_interface_is_a_private_socket_and_nothing_else",
    ),
    Held(
        56,
        "CR, LF, quotes, escapes in path and headers",
        "one JSON line, escaped",
        "test_access_log.py::test_what_callers_write_cannot_make_a_line_or_a_field",
    ),
    Held(56, "credentials in every place", "in no log", "test_cases.py::test_no_credential_stands_in_any_log"),
]
CASES: list[Case] = [*FRAMING, *KEYS, *POLICY, *OPERATIONS]
