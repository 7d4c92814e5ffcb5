"""Attacks with tokens: rows 1 to 24."""

from __future__ import annotations

import time

from mawasu.gateway import authn, listener
from tests.gateway.case_world import (
    bearer,
    by_secret,
    by_stranger,
    doubled_claims,
    edited,
    get,
    padded,
    public_pem_as_secret,
    sent_as_token,
    token,
    unsigned,
    with_token,
    wrapped,
)
from tests.gateway.cases import Asked, Case, Held

NOT_A_JWT = "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"
NO_ISSUER = "Jwt issuer is not configured"
NO_KEY = "Jwks doesn't have key to match kid or alg from Jwt"
BAD_SIGNATURE = "Jwt verification fails"
BAD_ALGORITHM = "Jwt header [alg] is not supported"
BAD_AUDIENCE = "Audiences in Jwt are not allowed"
TWO = listener.TWO_CREDENTIALS
PAST, FUTURE = int(time.time()) - 5, int(time.time()) + 86_400

CASES: list[Case] = [
    Asked(1, "a token with `alg: none`, signed", with_token({"alg": "none"}), 401, BAD_ALGORITHM),
    Asked(1, "a token with `alg: none` and no signature", sent_as_token(unsigned("none")), 401, NOT_A_JWT),
    Asked(2, "`alg: None`", with_token({"alg": "None"}), 401, BAD_ALGORITHM),
    Asked(2, "`alg: NONE`", with_token({"alg": "NONE"}), 401, BAD_ALGORITHM),
    Asked(2, "`alg: nOnE`", with_token({"alg": "nOnE"}), 401, BAD_ALGORITHM),
    Asked(3, "a good token's signature under other claims", sent_as_token(edited), 401, BAD_SIGNATURE),
    Asked(4, "HS256, the issuer's public PEM as the secret", sent_as_token(public_pem_as_secret), 401, NO_KEY),
    Asked(
        5,
        "a stranger's token that brings its own `jwk`",
        sent_as_token(by_stranger(jwk=lambda stranger, world: stranger.jwk)),
        401,
        BAD_SIGNATURE,
    ),
    Asked(
        6,
        "a stranger's token whose `jku` names the stranger's server, which is not asked",
        sent_as_token(by_stranger(jku=lambda stranger, world: world.attacker_url)),
        401,
        BAD_SIGNATURE,
    ),
    Asked(
        7,
        "the same with `x5u`",
        sent_as_token(by_stranger(x5u=lambda stranger, world: world.attacker_url)),
        401,
        BAD_SIGNATURE,
    ),
    Asked(
        8,
        "HS256 with an empty secret, its `kid` a path",
        sent_as_token(by_secret(b"", kid="../../dev/null")),
        401,
        NO_KEY,
    ),
    Asked(9, "`kid: two`", with_token({"kid": "two"}), 401, NO_KEY),
    Asked(10, "`kid: 7`", with_token({"kid": 7}), 401, "Jwt header [kid] field is not a string"),
    Asked(11, "`exp` 5 s ago", with_token(exp=PAST), 401, "Jwt is expired"),
    Asked(12, "`nbf` tomorrow", with_token(nbf=FUTURE), 401, "Jwt not yet valid"),
    Asked(13, "a token without `exp`", with_token(exp=None), 401, BAD_SIGNATURE),
    Asked(14, "another issuer", with_token(iss="https://evil"), 401, NO_ISSUER),
    Asked(
        14, "the same where a token is optional", get("/maybe", authorization=token(iss="https://evil")), 401, NO_ISSUER
    ),
    Asked(15, "`aud: buses`", with_token(aud="buses"), 403, BAD_AUDIENCE),
    Asked(16, "a token without `aud`", with_token(aud=None), 403, BAD_AUDIENCE),
    Asked(
        17,
        "a good token in the header and another in the query",
        get(lambda world: f"/t?access_token={world.issuer.token()}", authorization=token()),
        401,
        TWO,
    ),
    Asked(
        17,
        "two tokens in one header",
        get("/t", authorization=bearer(lambda w: f"{w.issuer.token()}, Bearer x")),
        401,
        TWO,
    ),
    Asked(
        18,
        "a good token in another header than the document's",
        get("/elsewhere", authorization=token()),
        401,
        "Jwt is missing",
    ),
    Asked(19, "HS256 with the secret `secret`", sent_as_token(by_secret(b"secret")), 401, NO_KEY),
    Asked(20, "five parts, the fourth a good token", sent_as_token(wrapped), 401, NOT_A_JWT),
    Asked(
        21,
        "a good token with `=` after its parts",
        sent_as_token(padded),
        401,
        "Jwt header is an invalid Base64url encoded",
    ),
    Asked(22, "a signed token with two `sub`", sent_as_token(doubled_claims), 401, "Jwt payload is an invalid JSON"),
    Asked(23, "`crit: [exp2]`", with_token({"crit": ["exp2"], "exp2": 1}), 401, listener.CRITICAL),
    Held(
        24,
        "a token of a key that its issuer no longer publishes",
        f"401 `{NO_KEY}`, at most {authn.KEPT // 60} minutes later (a set in the document: with its push)",
        "test_key_sets.py::test_24_a_key_that_its_issuer_rotated_out_opens_nothing_once_the_set_is_fetched_again",
    ),
]
