"""The table of cases: every row of the list that the gateway is held to, what is sent, and what it is answered.

test_cases.py asks a real Envoy all of them, and `python -m tests.gateway.page` makes docs/gateway-cases.md. A row is
`Asked` here, or `Held` by a test of its own where one request and one answer do not tell it.
"""

from __future__ import annotations

import msgspec

from tests.gateway.case_world import Send

ORDINARY = {
    "no token": "no token, or `Authorization: Basic …`",
    "time": "expired / not yet valid",
    "issuer": "issuer not in the document",
    "signature": "bad signature",
    "kid": "kid not in the key set",
    "audience": "wrong or missing audience",
    "path": "path not in the document",
    "method": "path known, method not",
    "underscore": "header name with underscore",
    "no key": "no API key",
    "unknown key": "unknown API key",
    "quota": "quota spent",
    "deadline": "back end too slow (`deadline`, default 15 s)",
    "key set": "key set endpoint down: cold, warm",
    "pre-flight": "pre-flight from a foreign origin; `allowCors`",
    "slashes": "slashes are merged, one trailing slash matches",
    "token places": "where tokens are read from",
    "key places": "where keys are read from",
    "identity": "`X-Endpoint-API-UserInfo` is always overwritten",
    "back end's token": "`Authorization` replaced, the caller's in `X-Forwarded-Authorization`",
    "outside": "`x-google-backend` with an address",
    "outside forbidden": "an address that nobody should be made to call",
    "extensions": "`x-google-*` are held; an unknown one is a fault with its path and the nearest name",
    "requirements": "several schemes: and, or, optional",
    "templates": "path templates",
    "split": "a site that several revisions share by weight",
}
ATTACKS = {
    1: "`alg: none`",
    2: "`None` / `NONE` / `nOnE`",
    3: "payload edited",
    4: "RS256→HS256 signed with the public PEM",
    5: "embedded `jwk` header",
    6: "`jku` to an attacker's server",
    7: "`x5u` likewise",
    8: "`kid: ../../dev/null` with an empty HMAC",
    9: "unknown kid",
    10: "kid that is not a string",
    11: "expired",
    12: "`nbf` in the future",
    13: "no `exp` where required",
    14: "wrong issuer, also where the token is optional",
    15: "wrong audience",
    16: "missing audience",
    17: "two tokens, header and query",
    18: "token where the document does not declare it",
    19: "HMAC secret `secret`",
    20: "JWE wrapping a plain token",
    21: "bad base64 padding",
    22: "duplicate claims",
    23: "unknown `crit`",
    24: "key rotated out",
    25: "`GET` + `X-HTTP-Method-Override: DELETE`",
    26: "`//admin`",
    27: "`/pub/../admin`",
    28: "`%2e%2e%2f`",
    29: "`%2F`, `%5C`",
    30: "`/admin#x`",
    31: "`%00`, and NUL in a header",
    32: "forged `X-Envoy-Original-Path`",
    33: "two `X-Endpoint-API-UserInfo`",
    34: "absolute-form URI with another host",
    35: "undeclared path",
    36: "wrong method",
    37: "Content-Length with Transfer-Encoding",
    38: "obfuscated Transfer-Encoding",
    39: "two Content-Lengths",
    40: "bad chunk size",
    41: "HTTP/2 `:path` with space or CRLF",
    42: "rapid reset ×10,000",
    43: "slowloris",
    44: "body over the cap",
    45: "header bomb",
    46: "key missing, unknown, revoked",
    47: "key of another API",
    48: "old key inside and after its grace",
    49: "the key store leaks",
    50: "burst of N+1",
    51: "forged `X-Forwarded-For`",
    52: "the limiter is down",
    53: "pre-flight from a foreign origin",
    54: "wildcard origin never with credentials",
    55: "Envoy's admin port",
    56: "CRLF into logs",
}
Row = str | int


class Asked(msgspec.Struct, frozen=True):
    """What is sent, in words and as bytes, and what comes back: a status, a message, headers.

    200 says that it arrived at the back end; anything else, that nothing did. Without a message any will do.
    """

    row: Row
    sent: str
    send: Send
    status: int
    message: str = ""
    headers: dict[str, str] = {}

    @property
    def answered(self) -> str:
        said = [f"`{self.message}`"] if self.message else []
        said += [f"`{name}: {value}`" for name, value in self.headers.items()]
        return " ".join([str(self.status), *said]) if self.status != 200 else "arrives"


class Held(msgspec.Struct, frozen=True):
    """A row, or a part of one, that a test of its own shows: `file.py::test`."""

    row: Row
    sent: str
    answered: str
    by: str


class Different(msgspec.Struct, frozen=True):
    """A row that this gateway answers otherwise, and why."""

    row: Row
    sent: str
    answered: str
    why: str


Case = Asked | Held | Different


def table() -> list[Case]:
    """Every case, in the order of the rows."""
    from tests.gateway import case_ordinary, case_paths, case_rest, case_tokens

    rows = [*ORDINARY, *ATTACKS]
    cases: list[Case] = [*case_ordinary.CASES, *case_tokens.CASES, *case_paths.CASES, *case_rest.CASES]
    return sorted(cases, key=lambda case: rows.index(case.row))


def asked() -> list[Asked]:
    return [case for case in table() if isinstance(case, Asked)]


ESPV2: dict[Row, str] = {
    "time": "the same, within a minute",
    "no key": "401 `Jwt is missing`: keys are tokens to it",
    "unknown key": "401, as for a token: keys are tokens to it",
    "quota": "the same, counted by Google's own keys",
    "requirements": "or: the same; and, optional: refused when compiled (but for Google's key and one token)",
    "templates": "the same for whole segments; parts of one are refused when compiled",
    "extensions": "the same document; what it cannot hold is a fault of the build",
    "key set": "the same, kept for a minute",
    "back end's token": "replaced where the document does not say `disable_auth: true`, the caller's copied",
    "outside": "the same; appending a path with variables is refused when compiled",
    "outside forbidden": "the same faults; hosts need not be allowed",
    "split": "not there: whatever serves the site would have to do it (decision 18)",
    5: "the same verifier",
    11: "the same, a minute later",
    12: "the same, a minute earlier",
    13: "**differs**: accepted (nothing can be configured)",
    17: "**differs**: not refused",
    23: "**differs**: `crit` is not looked at",
    24: "the same, after a minute",
    25: "**differs**: honoured; the policy of the named method is what it meets",
    28: "the same; parameters of segments (`;`) are up to its Envoy",
    46: "refused as a token is: 401; a revoked key within a minute",
    47: "403 `Audiences in Jwt are not allowed`",
    48: "the same, within a minute of the next `mawasu reconcile`",
    50: "the same, counted by Google's own keys",
    51: "the same: it counts by key, not by address",
    52: "the same: ESPv2 lets calls pass when Service Control is away",
    55: "its admin port is not exposed by Cloud Run",
    56: "Cloud Logging takes structured entries",
}
"""What is known to be otherwise on Google Cloud. Nothing here was seen there: see docs/google-cloud.md."""
FRONT = "Google's front end and its Envoy"


def espv2(row: Row) -> str:
    if isinstance(row, int) and 37 <= row <= 45:
        return ESPV2.get(row, f"{FRONT}: nothing to configure")
    return ESPV2.get(row, "the same")
