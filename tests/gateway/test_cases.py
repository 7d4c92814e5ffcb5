"""The cases of the gateway, ordinary and hostile, through a real Envoy: one table says what each is answered."""

from __future__ import annotations

import base64
import json
import stat
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mawasu.gateway import listener, routes
from mawasu.gateway.authn import SKEW
from mawasu.words import Endpoint
from tests.gateway.conftest import Stand
from tests.gateway.machinery import (
    Answer,
    Backend,
    Issuer,
    call,
    document,
    encoded,
    eventually,
    hmac_token,
    raw,
    request,
    site,
)

AT = "/flight-delay/production"
LONG = "a-very-long-name-of-a-thing." * 8 + "{id}"
NOT_A_JWT = "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"


class World(msgspec.Struct):
    """What the cases are about: one site with every kind of security, its issuer, its keys, its back end."""

    stand: Stand
    backend: Backend
    issuer: Issuer
    keys: dict[str, str]
    secrets: set[str]

    def ask(self, case: Case) -> Answer:
        data = case.data(self)
        return raw(self.stand.port, data)


class Case(msgspec.Struct):
    """One row: how it is named, what is sent, the status and the message that come back (200: it arrives)."""

    name: str
    send: Any  # (World) -> bytes
    status: int
    message: str | None = None

    def data(self, world: World) -> bytes:
        data: bytes = self.send(world)
        return data


@pytest.fixture(scope="module")
def world(stand: Stand) -> World:
    backend = stand.backend("flights")
    issuer = Issuer()
    described: dict[str, Any] = {
        "k": [{"key": []}],
        "t": [{"jwt": []}],
        "both": [{"key": [], "jwt": []}],
        "either": [{"jwt": []}, {"key": []}],
        "maybe": [{"jwt": []}, {}],
        "open": [],
        "admin": {"get": {"security": [{"jwt": []}]}, "delete": {"security": [{"jwt": []}]}},
        "pub__x": [],
        "elsewhere": [{"iap": []}],
        "q": [{"query": []}],
        "things__{id}": [],
        "long__" + LONG: [],
        "things__special": {"post": {"security": []}},
    }
    text = document({"keys": [issuer.jwk]}, **described)
    body = json.loads(text)
    jwt = body["components"]["securitySchemes"]["jwt"]
    body["components"]["securitySchemes"]["iap"] = jwt | {"x-google-jwt-locations": [{"header": "x-token"}]}
    body["components"]["securitySchemes"]["query"] = {"type": "apiKey", "in": "query", "name": "api"}
    other = stand.backend("other")
    stand.gateway.switch(
        [
            site(backend.endpoint(), json.dumps(body)),
            site(other.endpoint(), document(k=[{"key": []}]), "other", "staging"),
        ]
    )
    keys = {
        "good": stand.keys.create("bob", ["flight-delay/production"])[1],
        "any": stand.keys.create("eve", ["*/production"])[1],
        "other": stand.keys.create("tom", ["other/*"])[1],
    }
    key, keys["revoked"] = stand.keys.create("gone", ["*"])
    stand.keys.revoke(key.id)
    brief, keys["expired"] = stand.keys.create("late", ["*"], time.time() + 0.2)
    stand.gateway.refresh_keys()
    assert brief.expires is not None
    made = World(stand, backend, issuer, keys, set(keys.values()))
    expired = int(brief.expires) + SKEW + 1
    eventually(lambda: time.time() >= expired, "the key is past its time")
    return made


def get(path: Any, **headers: Any) -> Any:
    """A GET of a path with headers; the path and each value may be made from the world."""

    def send(world: World) -> bytes:
        made = {name.replace("_", "-"): value(world) if callable(value) else value for name, value in headers.items()}
        target = path(world) if callable(path) else path
        world.secrets.update(word for value in made.values() for word in str(value).split() if len(word) > 20)
        return request("GET", f"{AT}{target}", made)

    return send


def bearer(make: Any) -> Any:
    return lambda world: f"Bearer {make(world)}"


def token(header: dict[str, Any] | None = None, **claims: Any) -> Any:
    return bearer(lambda world: world.issuer.token(header, **claims))


def with_token(header: dict[str, Any] | None = None, **claims: Any) -> Any:
    return get("/t", authorization=token(header, **claims))


def edited(world: World) -> str:
    head, _, signature = world.issuer.token().split(".")
    return f"{head}.{encoded(json.dumps(world.issuer.claims(sub='root')).encode())}.{signature}"


def unsigned(alg: str) -> Any:
    def make(world: World) -> str:
        head, body = (encoded(json.dumps(part).encode()) for part in ({"alg": alg}, world.issuer.claims()))
        return f"{head}.{body}."

    return make


def public_pem_as_secret(world: World) -> str:
    from cryptography.hazmat.primitives import serialization

    pem = world.issuer._key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hmac_token(pem, {"alg": "HS256", "kid": world.issuer.kid}, world.issuer.claims())


def padded(world: World) -> str:
    head, body, signature = world.issuer.token().split(".")
    return f"{head}=.{body}==.{signature}"


def doubled_claims(world: World) -> str:
    text = json.dumps(world.issuer.claims())[:-1] + ', "sub": "root"}'
    return world.issuer.sign({"alg": "ES256", "kid": world.issuer.kid}, text)


def unnamed(key: str, kid: str | None = None, twice: bool = False) -> str:
    """A key with another header: no key id, this one, or a second, empty one."""
    header = '{"alg":"ES256"}' if kid is None else f'{{"alg":"ES256","kid":"{kid}"}}'
    if twice:
        header = '{"alg":"ES256","kid":"mk","kid":""} '
    return ".".join([encoded(header.encode()), *key.split(".")[1:]])


def wrapped(world: World) -> str:
    head = encoded(json.dumps({"alg": "dir", "enc": "A256GCM"}).encode())
    return f"{head}..{encoded(b'0' * 12)}.{encoded(world.issuer.token().encode())}.{encoded(b'0' * 16)}"


def raw_line(line: str, *headers: str) -> Any:
    text = "\r\n".join([line, "host: gateway", "connection: close", *headers, "", ""])
    return lambda world: text.encode("latin-1")


KEYS_ISSUER = "Jwt issuer is not configured"
WRONG_KEY = "Jwks doesn't have key to match kid or alg from Jwt"
BAD_SIGNATURE = "Jwt verification fails"
BAD_ALGORITHM = "Jwt header [alg] is not supported"

ORDINARY = [
    Case("an open operation", get("/open"), 200),
    Case("an open operation, with a trailing slash", get("/open/"), 200),
    Case("an open operation, slashes merged", get("//open"), 200),
    Case("a path template", get("/things/a%20b"), 200),
    Case("a method of a template where a literal has another", get("/things/special"), 200),
    Case("a good key", get("/k", x_api_key=lambda world: world.keys["good"]), 200),
    Case("a key granted by pattern", get("/k", x_api_key=lambda world: world.keys["any"]), 200),
    Case("a good token", with_token(), 200),
    Case("a good token for several audiences", with_token(aud=["buses", "trains"]), 200),
    Case("a good token in the query", get(lambda world: f"/t?access_token={world.issuer.token()}"), 200),
    Case("a good token behind Google's proxy", get("/t", x_goog_iap_jwt_assertion=lambda w: w.issuer.token()), 200),
    Case("a good token where the document wants it", get("/elsewhere", x_token=lambda w: w.issuer.token()), 200),
    Case("either, by token", get("/either", authorization=token()), 200),
    Case("either, by key", get("/either", x_api_key=lambda world: world.keys["good"]), 200),
    Case("either, with neither", get("/either"), 401, "Jwt is missing"),
    Case("both", get("/both", authorization=token(), x_api_key=lambda world: world.keys["good"]), 200),
    Case("both asked, token missing", get("/both", x_api_key=lambda w: w.keys["good"]), 401, "Jwt is missing"),
    Case("both asked, key missing", get("/both", authorization=token()), 401, listener.NO_KEY),
    Case("optional, without", get("/maybe"), 200),
    Case("optional, with", get("/maybe", authorization=token()), 200),
    Case("optional, but bad", get("/maybe", authorization=token(exp=1)), 401, "Jwt is expired"),
    Case("no token", get("/t"), 401, "Jwt is missing"),
    Case("another scheme", get("/t", authorization="Basic Ym9iOmJvYg=="), 401, "Jwt is missing"),
    Case("not yet valid", with_token(nbf=int(time.time()) + 86400), 401, "Jwt not yet valid"),
    Case("an issuer that is not in the document", with_token(iss="https://evil"), 401, KEYS_ISSUER),
    Case("no key", get("/k"), 401, listener.NO_KEY),
    Case("an unknown key", get("/k", x_api_key="AIzaSyNotAKeyOfOurs"), 400, listener.BAD_KEY),
    Case("an expired key", get("/k", x_api_key=lambda world: world.keys["expired"]), 400, listener.OLD_KEY),
    Case("a path that is not in the document", get("/nothing"), 404, routes.NOT_FOUND),
    Case("a long path template", get("/long/" + LONG.format(id="7")), 200),
    Case("a path template matches no slash", get("/things/a/b"), 404, routes.NOT_FOUND),
    Case("no site", raw_line("GET / HTTP/1.1"), 404, routes.NOT_FOUND),
    Case("a site of another name", raw_line("GET /flight-delay/productions/open HTTP/1.1"), 404, routes.NOT_FOUND),
    Case("a header name with an underscore", raw_line(f"GET {AT}/open HTTP/1.1", "a_b: c"), 400, "Bad Request"),
]
TOKENS = [
    Case("1 alg none, signed", with_token({"alg": "none"}), 401, BAD_ALGORITHM),
    Case("1 alg none, unsigned", get("/t", authorization=bearer(unsigned("none"))), 401, NOT_A_JWT),
    Case("2 alg None", with_token({"alg": "None"}), 401, BAD_ALGORITHM),
    Case("2 alg NONE", with_token({"alg": "NONE"}), 401, BAD_ALGORITHM),
    Case("2 alg nOnE", with_token({"alg": "nOnE"}), 401, BAD_ALGORITHM),
    Case("3 payload edited", get("/t", authorization=bearer(edited)), 401, BAD_SIGNATURE),
    Case("4 HS256 with the public PEM", get("/t", authorization=bearer(public_pem_as_secret)), 401, WRONG_KEY),
    Case("5 embedded jwk", get("/t", authorization=bearer(lambda w: Issuer().token({"jwk": Issuer().jwk}))), 401),
    Case("6 jku", get("/t", authorization=bearer(lambda w: Issuer().token({"jku": "http://127.0.0.1:9/"}))), 401),
    Case("7 x5u", get("/t", authorization=bearer(lambda w: Issuer().token({"x5u": "http://127.0.0.1:9/"}))), 401),
    Case(
        "8 kid is a path, empty secret",
        get(
            "/t",
            authorization=bearer(
                lambda w: hmac_token(b"", {"alg": "HS256", "kid": "../../dev/null"}, w.issuer.claims())
            ),
        ),
        401,
        WRONG_KEY,
    ),
    Case("9 unknown kid", with_token({"kid": "two"}), 401, WRONG_KEY),
    Case("10 kid is no string", with_token({"kid": 7}), 401, "Jwt header [kid] field is not a string"),
    Case("11 expired", with_token(exp=int(time.time()) - 5), 401, "Jwt is expired"),
    Case("12 nbf in the future", with_token(nbf=int(time.time()) + 86400), 401, "Jwt not yet valid"),
    Case("13 no exp", with_token(exp=None), 401, BAD_SIGNATURE),
    Case("14 wrong issuer where optional", get("/maybe", authorization=token(iss="https://evil")), 401, KEYS_ISSUER),
    Case("15 wrong audience", with_token(aud="buses"), 403, "Audiences in Jwt are not allowed"),
    Case("16 missing audience", with_token(aud=None), 403, "Audiences in Jwt are not allowed"),
    Case(
        "17 two tokens, header and query",
        get(lambda world: f"/t?access_token={world.issuer.token()}", authorization=token()),
        401,
        listener.TWO_CREDENTIALS,
    ),
    Case(
        "17 two tokens in one header", get("/t", authorization=bearer(lambda w: f"{w.issuer.token()}, Bearer x")), 401
    ),
    Case("18 token where it is not declared", get("/elsewhere", authorization=token()), 401, "Jwt is missing"),
    Case(
        "19 HMAC secret",
        get("/t", authorization=bearer(lambda w: hmac_token(b"secret", {"alg": "HS256"}, w.issuer.claims()))),
        401,
        WRONG_KEY,
    ),
    Case("20 JWE wrapping a plain token", get("/t", authorization=bearer(wrapped)), 401, NOT_A_JWT),
    Case("21 bad base64 padding", get("/t", authorization=bearer(padded)), 401),
    Case("22 duplicate claims", get("/t", authorization=bearer(doubled_claims)), 401),
    Case("23 unknown crit", with_token({"crit": ["exp2"], "exp2": 1}), 401, listener.CRITICAL),
]
PATHS = [
    Case("25 method override", get("/open", x_http_method_override="DELETE"), 200),
    Case("25 method override of a guarded path", get("/admin", x_http_method_override="DELETE"), 401, "Jwt is missing"),
    Case("26 //admin", get("//admin"), 401, "Jwt is missing"),
    Case("26 //admin at the root", raw_line(f"GET //{AT}/admin HTTP/1.1"), 401, "Jwt is missing"),
    Case("27 /pub/../admin", get("/pub/../admin"), 401, "Jwt is missing"),
    Case("28 encoded dots", get("/pub/%2e%2e/admin"), 401, "Jwt is missing"),
    Case("28 encoded dots and slash", get("/pub/%2e%2e%2fadmin"), 400, listener.BAD_PATH),
    Case("29 encoded slash", get("/pub%2Fx"), 400, listener.BAD_PATH),
    Case("29 encoded backslash", get("/pub%5Cx"), 400, listener.BAD_PATH),
    Case("29 backslash", get("/pub\\..\\admin"), 401, "Jwt is missing"),
    Case("30 fragment", get("/admin#x"), 400, listener.BAD_PATH),
    Case("30 fragment after an open path", get("/open#/../admin"), 400, listener.BAD_PATH),
    Case("31 encoded NUL", get("/open%00"), 400),
    Case("31 NUL in a header", raw_line(f"GET {AT}/open HTTP/1.1", "x: a\0b"), 400),
    Case("34 absolute form, another host", raw_line(f"GET http://evil.example{AT}/open HTTP/1.1"), 404),
    Case("35 undeclared path", get("/pub"), 404, routes.NOT_FOUND),
    Case("36 wrong method", raw_line(f"DELETE {AT}/pub/x HTTP/1.1"), 405, routes.NOT_ALLOWED.format("/pub/x")),
    Case("36 wrong method of a literal", raw_line(f"PUT {AT}/things/special HTTP/1.1"), 405),
]
KEYS = [
    Case("46 key missing", get("/k"), 401, listener.NO_KEY),
    Case("46 key unknown", get("/k", x_api_key=lambda world: world.keys["good"][:-8] + "AAAAAAAA"), 400),
    Case("46 key revoked", get("/k", x_api_key=lambda world: world.keys["revoked"]), 400, listener.BAD_KEY),
    Case("47 key of another API", get("/k", x_api_key=lambda world: world.keys["other"]), 403, listener.OTHER_KEY),
    Case("a token of the document's issuer as a key", get("/k", x_api_key=lambda world: world.issuer.token()), 400),
    Case("a key as a token", get("/t", authorization=bearer(lambda world: world.keys["good"])), 401, KEYS_ISSUER),
    Case("a key that names no key id", get("/k", x_api_key=lambda world: unnamed(world.keys["good"])), 400),
    Case("a key that names an empty key id", get("/k", x_api_key=lambda w: unnamed(w.keys["good"], "")), 400),
    Case("a key that names two key ids", get("/k", x_api_key=lambda w: unnamed(w.keys["good"], twice=True)), 400),
    Case("a key in the query", get(lambda world: f"/q?a=b&api={world.keys['good']}&c"), 200),
    Case("a key in the query, its name escaped", get(lambda world: f"/q?%61p%69={world.keys['good']}"), 200),
    Case("a nameless key in the query", get(lambda w: f"/q?api={unnamed(w.keys['good'])}"), 400, listener.BAD_KEY),
    Case("a nameless key, escaped", get(lambda w: f"/q?%61pi={unnamed(w.keys['good'])}"), 400, listener.BAD_KEY),
    Case(
        "a nameless key after a good one",
        get(lambda w: f"/q?api={w.keys['good']}&%61pi={unnamed(w.keys['good'])}"),
        401,
        listener.TWO_CREDENTIALS,
    ),
    Case("a key in a place that is not declared", get(lambda w: f"/k?key={w.keys['good']}"), 401, listener.NO_KEY),
]


@pytest.mark.parametrize("case", ORDINARY + TOKENS + PATHS + KEYS, ids=lambda case: case.name)
def test_a_case_is_answered_as_the_table_says(case: Case, world: World) -> None:
    before = len(world.backend.seen)

    answer = world.ask(case)

    assert answer.status == case.status, answer.body
    reached = len(world.backend.seen) - before
    assert reached == (1 if case.status == 200 else 0), "a refusal must not reach the back end"
    if case.message is not None:
        assert answer.message == case.message
    if case.status in (401, 403):
        assert answer.headers["www-authenticate"].startswith("Bearer realm=")


def test_a_refused_method_is_told_the_allowed_ones(world: World) -> None:
    assert call(world.stand.port, "POST", f"{AT}/admin").headers["allow"] == "DELETE, GET"


def test_a_forged_identity_never_reaches_the_back_end(world: World) -> None:
    forged = ["X-Endpoint-API-UserInfo: forged", "x-endpoint-api-userinfo: again", "X-Mawasu-Consumer: root"]
    for path, credentials in (
        ("/open", ""),
        ("/maybe", ""),
        ("/t", f"authorization: Bearer {world.issuer.token()}"),
        ("/k", f"x-api-key: {world.keys['good']}"),
    ):
        lines = [f"GET {AT}{path} HTTP/1.1", "host: x", "connection: close", *forged, credentials]
        text = "\r\n".join(line for line in lines if line) + "\r\n\r\n"
        assert raw(world.stand.port, text.encode()).status == 200
        seen = world.backend.seen[-1]
        assert not any("forged" in value or "again" in value or value == "root" for _, value in seen.headers)
        assert len(seen.values("x-endpoint-api-userinfo")) == (0 if path in ("/open", "/maybe") else 1)


def test_the_back_end_learns_who_calls_from_the_verified_token(world: World) -> None:
    key = world.keys["good"]
    call(world.stand.port, "GET", f"{AT}/both", {"authorization": f"Bearer {world.issuer.token()}", "x-api-key": key})

    seen = world.backend.seen[-1]
    (payload,) = seen.values("x-endpoint-api-userinfo")
    assert json.loads(base64.urlsafe_b64decode(payload + "=="))["sub"] == "ann"
    assert seen.values("x-mawasu-consumer") == ["bob"]
    assert seen.values("x-api-key") == []
    assert seen.line == "GET /both HTTP/1.1"


def test_the_original_path_cannot_be_forged(world: World) -> None:
    assert call(world.stand.port, "GET", f"{AT}/open", {"X-Envoy-Original-Path": "/admin"}).status == 200
    assert world.backend.seen[-1].values("x-envoy-original-path") == []


def test_a_template_and_its_query_reach_the_back_end_without_the_address(world: World) -> None:
    call(world.stand.port, "GET", f"{AT}/things/7?a=%2F&b={AT}")
    assert world.backend.seen[-1].line == f"GET /things/7?a=%2F&b={AT} HTTP/1.1"


def test_a_body_over_the_cap_is_refused_before_the_back_end_sees_it(world: World) -> None:
    before = len(world.backend.seen)
    big = b"x" * (listener.LARGEST_BODY + 1)
    answer = raw(world.stand.port, request("POST", f"{AT}/things/special", {}, big))
    assert answer.status == 413
    assert len(world.backend.seen) == before


def test_headers_beyond_measure_are_refused(world: World) -> None:
    assert call(world.stand.port, "GET", f"{AT}/open", {"x-long": "x" * 70_000}).status == 431


@pytest.mark.parametrize(
    "lines",
    [
        ("content-length: 3", "transfer-encoding: chunked"),
        ("transfer-encoding: xchunked",),
        ("content-length: 3", "content-length: 4"),
    ],
)
def test_ambiguous_framing_is_refused_and_the_connection_closed(world: World, lines: tuple[str, ...]) -> None:
    before = len(world.backend.seen)
    head = "\r\n".join([f"POST {AT}/things/special HTTP/1.1", "host: x", *lines, "", ""])
    answer = raw(world.stand.port, head.encode() + b"0\r\n\r\nGET /admin HTTP/1.1\r\n\r\n")
    assert answer.status in (400, 501)
    assert answer.headers["connection"] == "close"
    assert len(world.backend.seen) == before


def test_no_credential_stands_in_any_log(world: World) -> None:
    for case in ORDINARY + TOKENS + KEYS:
        world.ask(case)
    call(world.stand.port, "GET", f"{AT}/nothing?key={world.keys['good']}")
    log = world.stand.gateway.log
    access = log.with_name("access.jsonl")
    world.stand.gateway._table.envoy.reopen_logs()

    eventually(lambda: "/nothing" in access.read_text(), "the access log is written")
    written = access.read_text() + log.read_text()
    assert not [secret for secret in world.secrets if secret in written]
    assert {json.loads(line)["consumer"] for line in access.read_text().splitlines()} >= {"bob", "eve", None}


def test_what_a_caller_writes_is_escaped_in_the_log(world: World) -> None:
    call(world.stand.port, "GET", f'{AT}/no"thing%0d%0a"status":200')
    access = world.stand.gateway.log.with_name("access.jsonl")
    eventually(lambda: "no%22thing%0d%0a%22status%22:200" in access.read_text(), "the access log is written")
    assert all(json.loads(line) for line in access.read_text().splitlines())


def test_the_admin_interface_is_a_private_socket_and_nothing_else(world: World) -> None:
    socket_file = world.stand.home.gateway / "admin.sock"
    assert stat.S_IMODE(socket_file.stat().st_mode) == 0o600
    child = world.stand.processes.children["gateway"]
    listening = _listening_ports(child.pid)
    assert listening == {world.stand.port}
    assert call(world.stand.port, "GET", "/config_dump").status == 404


def _listening_ports(pid: int) -> set[int]:
    """Ports on which a process listens (proc(5): net/tcp, by the inodes of its descriptors)."""
    inodes = {
        link.readlink().name.removeprefix("socket:[").rstrip("]")
        for link in Path(f"/proc/{pid}/fd").iterdir()
        if link.readlink().name.startswith("socket:[")
    }
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports


def test_a_key_set_that_cannot_be_fetched_opens_nothing(world: World) -> None:
    text = json.loads(document({"keys": [world.issuer.jwk]}, t=[{"jwt": []}]))
    scheme = text["components"]["securitySchemes"]["jwt"]
    del scheme["x-mawasu-jwks"]
    scheme["x-google-jwks_uri"] = "https://127.0.0.1:9/jwks"
    served = world.stand.gateway._table.load()
    nowhere = site(Endpoint("away", ("/nowhere.sock",)), json.dumps(text), "away", "staging")
    try:
        world.stand.gateway.switch([*served, nowhere])
        answer = call(world.stand.port, "GET", "/away/staging/t", {"authorization": f"Bearer {world.issuer.token()}"})
        assert (answer.status, answer.message) == (401, "Jwks remote fetch is failed")
    finally:
        world.stand.gateway.switch(served)
