"""Back ends outside mawasu: what a document may name, and what a real server with TLS is asked by a real Envoy."""

from __future__ import annotations

import base64
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mawasu.errors import SpecError
from mawasu.gateway import routes
from mawasu.gateway.explain import routes_of
from mawasu.gateway.forms import Outside
from mawasu.gateway.openapi import check, parse, parse_site
from mawasu.gateway.outside import BACKEND, authority_of
from mawasu.platforms.local.gateway import LocalGateway
from mawasu.words import Endpoint
from tests.gateway.certificates import Authority, put
from tests.gateway.conftest import Stand, standing
from tests.gateway.machinery import Issuer, Seen, call, document, eventually, site

AT = "/flight-delay/production"
ISSUER = Issuer()


class Server:
    """A server on loopback that shows a certificate, answers everything, and remembers what it was asked."""

    def __init__(self, directory: Path, pair: tuple[bytes, bytes]) -> None:
        self.seen: list[Seen] = []
        self.names: list[str | None] = []
        self.hold: threading.Event | None = None
        files = put(directory, pair)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate, files.key)
        context.sni_callback = lambda _, name, __: self.names.append(name)
        self._server = _Quiet(("127.0.0.1", 0), partial(_Handler, self))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.authority = f"localhost:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Quiet(http.server.ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Callers hang up on a server that cannot prove its name."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, server: Server, *args: Any) -> None:
        self.outside = server
        super().__init__(*args)

    def do_GET(self) -> None:
        self.outside.seen.append(Seen(self.requestline, list(self.headers.items())))
        if self.outside.hold is not None:
            self.outside.hold.wait(20)
        self.send_response(200)
        self.send_header("content-length", "7")
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(b"outside")

    def do_OPTIONS(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""


class World:
    """A gateway that may call `server`, `stranger` (a certificate of nobody's) and `other` (of another name)."""

    def __init__(self, stand: Stand, servers: dict[str, Server]) -> None:
        self.stand, self.servers = stand, servers
        self.server = servers["server"]
        self.own = stand.backend("own")

    def serve(self, **operations: Any) -> None:
        """Operations by path: an address's path and what more its back end says, or the security of an own one."""
        self.stand.gateway.switch([site(self.own.endpoint(), described(self.server.authority, **operations))])

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        made = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = call(self.stand.port, "GET", AT + path, made)
        return answer.status, answer.body

    def asked(self, path: str, **headers: str) -> str:
        """What the server was asked in place of a path."""
        assert self.get(path, **headers) == (200, "outside")
        return self.server.seen[-1].line.split()[1]


def described(authority: str, **operations: Any) -> str:
    paths: dict[str, Any] = {}
    for name, said in operations.items():
        if isinstance(said, list):
            paths[name] = said
            continue
        address, security = said.pop("at", ""), said.pop("security", [])
        backend = {"address": f"https://{said.pop('on', authority)}{address}", "disable_auth": True} | said
        paths[name] = {"get": {"security": security, BACKEND: backend}}
    return document({"keys": [ISSUER.jwk]}, **paths)


@contextmanager
def served(directory: Path, authority: Authority) -> Iterator[dict[str, Server]]:
    pairs = {"server": authority.pair(), "stranger": Authority().pair(), "other": authority.pair("elsewhere")}
    servers = {name: Server(directory / name, pair) for name, pair in pairs.items()}
    try:
        yield servers
    finally:
        for server in servers.values():
            server.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory, authority = tmp_path_factory.mktemp("outside"), Authority()
    trusted = directory / "roots.pem"
    trusted.write_bytes(authority.certificate)
    with pytest.MonkeyPatch.context() as patch, served(directory, authority) as servers:
        patch.setenv("SSL_CERT_FILE", str(trusted))  # where this machine's roots are
        allowed = [server.authority for server in servers.values()]
        with standing(back_ends=allowed) as stand:
            yield World(stand, servers)


# ------------------------------------------------------------------------------------------------------ paths


def test_the_callers_path_is_put_after_the_address(world: World) -> None:
    append = {"path_translation": "APPEND_PATH_TO_ADDRESS"}
    world.serve(**{"a": {"at": "/v1/", **append}, "things__{id}": {"at": "/v1", **append}, "bare": dict(append)})
    assert world.asked("/a") == "/v1/a"
    assert world.asked("/a/?x=1") == "/v1/a/?x=1"
    assert world.asked("/things/a%20b?x=%2F") == "/v1/things/a%20b?x=%2F"
    assert world.asked("/bare") == "/bare"
    assert world.server.seen[-1].values("host") == [world.server.authority]
    assert world.server.names[-1] == "localhost"


def test_an_operations_own_address_is_constant_and_variables_go_into_the_query(world: World) -> None:
    world.serve(
        **{
            "about": {"at": "/fn"},
            "root": {},
            "hello__{name}": {"at": "/fn/hello"},
            "of__{day}.{month}__in__{a b}": {"at": "/days/"},
        }
    )
    assert world.asked("/about?x=1") == "/fn?x=1"
    assert world.asked("/root") == "/"
    assert world.asked("/hello/Dave") == "/fn/hello?name=Dave"
    assert world.asked("/hello/Dave/?x=1&name=2") == "/fn/hello?x=1&name=2&name=Dave"
    assert world.asked("/hello/a%20b%26c") == "/fn/hello?name=a%20b%26c"
    assert world.asked("/hello/x&admin=1+1;%25") == "/fn/hello?name=x%26admin%3D1%2B1%3B%25"
    assert world.asked("/of/24.12/in/2026?") == "/days?day=24&month=12&a%20b=2026"


def test_the_features_own_api_answers_the_rest(world: World) -> None:
    world.serve(mine=[], theirs={})
    assert world.get("/mine") == (200, "own")
    assert world.get("/theirs") == (200, "outside")


def test_with_allow_cors_the_back_end_answers_pre_flights_too(world: World) -> None:
    text = json.loads(described(world.server.authority, t={"at": "/fn", "security": [{"jwt": []}]}))
    text["x-google-endpoints"] = [{"allowCors": True}]
    world.stand.gateway.switch([site(world.own.endpoint(), json.dumps(text))])
    asking = {"origin": "https://page.example", "access-control-request-method": "GET"}
    assert call(world.stand.port, "OPTIONS", f"{AT}/t", asking).body == "outside"
    assert world.server.seen[-1].line == "OPTIONS /fn HTTP/1.1"
    assert world.get("/t")[0] == 401


# ------------------------------------------------------------------------------------------------------ credentials


def test_the_back_end_gets_what_espv2_would_give_it(world: World) -> None:
    _, key = world.stand.keys.create("bob", ["*"])
    world.stand.gateway.refresh_keys()
    world.serve(t={"security": [{"jwt": []}]}, k={"security": [{"key": []}]}, open={})
    forged = {"X-Endpoint-API-UserInfo": "forged", "X-Mawasu-Consumer": "root", "X-Forwarded-Authorization": "forged"}
    token = ISSUER.token()

    world.asked("/t", authorization=f"Bearer {token}", **forged)
    seen = world.server.seen[-1]
    assert seen.values("authorization") == [f"Bearer {token}"], "as it came: the gateway shows nothing of its own"
    (claims,) = seen.values("x-endpoint-api-userinfo")
    assert json.loads(base64.urlsafe_b64decode(claims + "=="))["sub"] == "ann"
    assert seen.values("x-forwarded-authorization") == seen.values("x-mawasu-consumer") == []

    world.asked("/k", x_api_key=key, **{**forged, "X-Mawasu-Consumer": "root"})
    seen = world.server.seen[-1]
    assert seen.values("x-mawasu-consumer") == ["bob"]
    assert seen.values("x-api-key") == []

    world.asked("/open", **forged)
    assert not {"forged", "root"} & {value for _, value in world.server.seen[-1].headers}


def test_a_refused_call_reaches_no_back_end(world: World) -> None:
    world.serve(t={"security": [{"jwt": []}]}, k={"security": [{"key": []}]})
    before = len(world.server.seen)
    assert world.get("/t")[0] == world.get("/t", authorization="Bearer nonsense")[0] == 401
    assert world.get("/k")[0] == 401
    assert world.get("/t/more")[0] == 404
    assert len(world.server.seen) == before


# ------------------------------------------------------------------------------------------------------ the way there


@pytest.mark.parametrize("name", ["stranger", "other"])
def test_a_server_that_cannot_prove_its_name_is_told_nothing(world: World, name: str) -> None:
    server = world.servers[name]
    world.serve(there={"on": server.authority})
    assert world.get("/there", authorization="Bearer secret")[0] == 503
    assert server.seen == []
    assert server.names, "it was called, and hung up on"


def test_a_server_that_is_too_slow_is_given_up(world: World) -> None:
    world.serve(slow={"deadline": 0.2})
    world.server.hold = threading.Event()
    try:
        status, body = world.get("/slow")
    finally:
        world.server.hold.set()
        world.server.hold = None
    assert (status, json.loads(body)["message"]) == (504, "upstream request timeout")


def test_the_access_log_says_which_server_answered(world: World) -> None:
    world.serve(logged={"at": "/somewhere/else"})
    world.asked("/logged?secret=1")
    log = world.stand.gateway.log.with_name("access.jsonl")
    world.stand.gateway._table.envoy.reopen_logs()
    eventually(lambda: "/logged" in log.read_text(), "the access log is written")
    line = json.loads(next(line for line in log.read_text().splitlines() if "/logged" in line))
    assert line["revision"] == f"https://{world.server.authority}"
    assert "secret" not in str(line)


def test_http2_is_spoken_where_the_document_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is another gateway: it speaks both, and says in its log which."""
    authority = Authority()
    (tmp_path / "roots.pem").write_bytes(authority.certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "roots.pem"))
    with standing(certificate=put(tmp_path / "pair", authority.pair())) as there:
        there.gateway.switch([site(there.backend("there").endpoint(), document(x=[], y=[]))])
        name = f"localhost:{there.port}"
        with standing(back_ends=[name]) as here:
            append = {"at": AT, "path_translation": "APPEND_PATH_TO_ADDRESS"}
            text = described(name, x={**append, "protocol": "h2"}, y=append)
            here.gateway.switch([site(here.backend("here").endpoint(), text)])
            for path in ("/x", "/y"):
                assert call(here.port, "GET", AT + path).body == "there"
        log = there.gateway.log.with_name("access.jsonl")
        there.gateway._table.envoy.reopen_logs()
        eventually(lambda: log.read_text().count("\n") == 2, "the access log is written")
        assert [json.loads(line)["protocol"] for line in log.read_text().splitlines()] == ["HTTP/2", "HTTP/1.1"]


# ------------------------------------------------------------------------------------------------------ who is called


def test_what_is_no_longer_allowed_is_not_called(world: World) -> None:
    world.serve(theirs={}, t={"security": [{"jwt": []}]}, mine=[])
    stand = world.stand
    stand.gateway.stop(drain=0)
    strict = LocalGateway(stand.home, stand.edge, stand.processes, threads=1)
    before = len(world.server.seen)
    strict.start()
    try:
        assert world.get("/mine") == (200, "own")
        status, body = world.get("/theirs")
        assert (status, json.loads(body)["message"]) == (503, routes.NOT_HERE)
        assert world.get("/t")[0] == 401
        assert len(world.server.seen) == before
    finally:
        strict.stop(drain=0)
        stand.gateway.start()
    assert world.get("/theirs") == (200, "outside")


def faults(text: str, *back_ends: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        check(text, "f", back_ends)
    return [str(fault) for fault in caught.value.faults]


def test_only_servers_that_were_allowed_may_be_named() -> None:
    text = document(x={"get": {"security": [], BACKEND: {"address": "https://api.example/v1", "disable_auth": True}}})
    check(text, "f", ["api.example"])
    (fault,) = faults(text, "example", "api.example:8443", "other.api.example")
    assert fault == (
        "f:1: paths./x.get.x-google-backend.address: whoever runs this mawasu has not allowed api.example "
        "as a back end: `mawasu up --back-ends api.example,api.example:8443,example,other.api.example`"
    )


def test_the_local_gateway_has_no_identity_to_show() -> None:
    text = document(x={"get": {"security": [], BACKEND: {"address": "https://api.example"}}})
    (fault,) = faults(text, "api.example")
    assert "say `disable_auth: true`" in fault


def test_a_back_end_is_read_with_espv2s_defaults() -> None:
    text = json.loads(
        document(
            top=[],
            deadline={"get": {"security": [], BACKEND: {"deadline": 3}}},
            own={"get": {"security": [], BACKEND: {"address": "https://B.example:8443/fn/", "protocol": "h2"}}},
        )
    )
    text[BACKEND] = {"address": "https://a.example/v1", "disable_auth": True, "deadline": 5}
    found = {one.path: (one.deadline, one.backend) for one in parse(json.dumps(text), "f").operations}
    assert found == {
        "/top": (5, Outside("a.example", path="/v1")),
        "/deadline": (3, None),
        "/own": (
            15,
            Outside("b.example", 8443, "/fn", constant=True, http2=True, audience="https://B.example:8443/fn/"),
        ),
    }


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"address": "http://a.example"}, "over http anybody on the way"),
        ({"address": "http://169.254.169.254/computeMetadata/v1"}, "over http anybody"),
        ({"address": "https://169.254.169.254"}, "surroundings"),
        ({"address": "https://[fe80::1]/x"}, "surroundings"),
        ({"address": "https://[::ffff:169.254.169.254]"}, "surroundings"),
        ({"address": "https://0.0.0.0"}, "surroundings"),
        ({"address": "https://224.0.0.1"}, "surroundings"),
        ({"address": "https://2852039166/"}, "is no name of a host"),
        ({"address": "https://0xa9fea9fe/"}, "is no name of a host"),
        ({"address": "https://metadata.google.internal"}, "gives credentials"),
        ({"address": "unix:///run/mawasu/x.sock"}, "expected an https URL"),
        ({"address": "https://a_b.example"}, "is no name of a host"),
        ({"address": "https://a.example:0"}, "a port"),
        ({"address": "https://a.example:99999"}, "expected an https URL"),
        ({"address": "https://user:pass@a.example"}, "has a user"),
        ({"address": "https://a.example/x?y"}, "a query"),
        ({"address": "https://a.example/x/../y"}, "no path of a URL"),
        ({"address": r"https://a.example/\1"}, "no path of a URL"),
        ({"address": ""}, "expected text"),
        ({"address": 7}, "expected text"),
        ({"address": "https://a.example", "path_translation": "APPEND"}, "APPEND_PATH_TO_ADDRESS or CONSTANT_ADDRESS"),
        ({"address": "https://a.example", "protocol": "grpc"}, "http/1.1 or h2"),
        ({"address": "https://a.example", "jwt_audience": "https://run.example"}, "is another host than the address"),
        ({"address": "https://a.example", "jwt_audience": "aud"}, "is another host than the address"),
        ({"address": "https://a.example", "jwt_audience": "https://a.example", "disable_auth": True}, "contradicts"),
        ({"address": "https://a.example", "disable_auth": "yes"}, "expected true or false"),
        ({"address": "https://a.example", "addres": "x"}, "did you mean 'address'?"),
        ({"jwt_audience": "https://a.example"}, "belongs to an address"),
    ],
)
def test_what_no_document_may_make_a_gateway_call_is_a_fault(said: dict[str, Any], words: str) -> None:
    (fault, *_) = [
        one for one in faults(document(x={"get": {"security": [], BACKEND: said}}), "a.example") if words in one
    ]
    assert "paths./x.get.x-google-backend" in fault


def test_an_explanation_names_the_server() -> None:
    served = parse_site(site(Endpoint("r1", ("/s",)), described("api.example:8443", theirs={}, mine=[])))
    assert {route.path: route.targets[0].revision for route in routes_of([served])} == {
        "/theirs": "https://api.example:8443",
        "/mine": "r1",
    }


def test_names_of_servers_are_written_in_one_way() -> None:
    assert [authority_of(text) for text in ("A.example", "a.example:443", "a.example:8443", "[::1]:9", "10.0.0.1")] == [
        "a.example",
        "a.example",
        "a.example:8443",
        "[::1]:9",
        "10.0.0.1",
    ]
    wrong = ("", "https://a", "a/b", "a?b", "a@b", "a b", "*", "*.example", "169.254.169.254", "a:x", "a:0:1")
    assert [authority_of(text) for text in wrong] == [""] * len(wrong)
