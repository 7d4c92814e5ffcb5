"""The edge: what callers say of themselves is not believed, limits hold, and nothing but the gateway is reachable."""

from __future__ import annotations

import contextlib
import json
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hyperframe.frame import SettingsFrame

from mawasu.gateway.asked import Request
from mawasu.gateway.edge import LISTENER, Edge
from mawasu.gateway.explain import explain
from mawasu.gateway.verify import Known
from tests.gateway.conftest import Stand, standing
from tests.gateway.http2 import Http2, exchange, fields, headers_frame, opening
from tests.gateway.machinery import Backend, Issuer, Seen, call, document, eventually, raw, read_answer, request, site

AT = "/flight-delay/production"
CALLER = "203.0.113.7"  # RFC 5737
PROXY = "198.51.100.2"


class World(msgspec.Struct):
    stand: Stand
    backend: Backend
    issuer: Issuer

    def call(self, path: str = "/open", headers: dict[str, str] | None = None) -> Seen:
        """One call that arrives, as the back end saw it."""
        assert call(self.stand.port, "GET", AT + path, headers).status == 200
        return self.backend.seen[-1]

    def logged_from(self) -> str:
        """Whom the access log names as the last caller."""
        mark = f"/mark-{time.monotonic_ns()}"
        call(self.stand.port, "GET", AT + mark, {"x-forwarded-for": f"{CALLER}, {PROXY}"})
        log = self.stand.gateway.log.with_name("access.jsonl")

        def written() -> bool:
            self.stand.gateway._table.envoy.reopen_logs()
            return mark in log.read_text()

        eventually(written, "the call in the access log")
        return str(json.loads(next(line for line in log.read_text().splitlines() if mark in line))["from"])


@contextlib.contextmanager
def served(edge: Edge) -> Iterator[World]:
    issuer = Issuer()
    with standing(edge) as stand:
        backend = stand.backend("flights")
        text = document({"keys": [issuer.jwk]}, open=[], t=[{"jwt": []}], things={"post": {"security": []}})
        stand.gateway.switch([site(backend.endpoint(), text)])
        yield World(stand, backend, issuer)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with served(Edge()) as world:
        yield world


# ------------------------------------------------------------------------------------------------ what callers say


@pytest.mark.parametrize("path", ["/open", "/t"])
def test_32_a_forged_original_path_is_dropped(world: World, path: str) -> None:
    token = {"authorization": f"Bearer {world.issuer.token()}"} if path == "/t" else {}
    seen = world.call(path, {"X-Envoy-Original-Path": "/admin"} | token)
    assert seen.line == f"GET {path} HTTP/1.1"
    assert seen.values("x-envoy-original-path") == []


def test_32_a_forged_original_path_opens_nothing(world: World) -> None:
    before = len(world.backend.seen)
    assert call(world.stand.port, "GET", f"{AT}/t", {"X-Envoy-Original-Path": f"{AT}/open"}).status == 401
    assert len(world.backend.seen) == before


def test_33_two_forged_identities_are_both_replaced(world: World) -> None:
    token = f"authorization: Bearer {world.issuer.token()}"
    forged = ["X-Endpoint-API-UserInfo: one", "x-endpoint-api-userinfo: two"]
    for path, more, count in (("/t", [token], 1), ("/open", [], 0)):
        lines = [f"GET {AT}{path} HTTP/1.1", "host: x", "connection: close", *forged, *more, "", ""]
        assert raw(world.stand.port, "\r\n".join(lines).encode()).status == 200
        found = world.backend.seen[-1].values("x-endpoint-api-userinfo")
        assert len(found) == count
        assert not {"one", "two"} & set(found)


def test_33_forged_identities_are_replaced_over_http2_too(world: World) -> None:
    forged = [("x-endpoint-api-userinfo", "one"), ("x-endpoint-api-userinfo", "two"), ("x-mawasu-consumer", "root")]
    with Http2(world.stand.port) as client:
        assert client.ask("GET", f"{AT}/open", forged).status == 200
    seen = world.backend.seen[-1]
    assert seen.values("x-endpoint-api-userinfo") == seen.values("x-mawasu-consumer") == []


@pytest.mark.parametrize("host", ["evil.example", "gateway", "evil.example:80", "user@gateway", ""])
def test_34_an_absolute_target_is_refused(world: World, host: str) -> None:
    before = len(world.backend.seen)
    answer = raw(world.stand.port, request("GET", f"http://{host}{AT}/open"))
    assert answer.status in (400, 404)
    assert len(world.backend.seen) == before


def test_connect_makes_no_tunnel(world: World) -> None:
    before = len(world.backend.seen)
    for target, status in (("127.0.0.1:22", 405), ("gateway:443", 405), (f"{AT}/open", 400)):
        answer = raw(world.stand.port, f"CONNECT {target} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        assert answer.status == status
    assert len(world.backend.seen) == before


def test_an_upgrade_makes_no_tunnel(world: World) -> None:
    before = len(world.backend.seen)
    upgrade = {
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-key": "eA==",
        "sec-websocket-version": "13",
    }
    assert call(world.stand.port, "GET", f"{AT}/open", upgrade).status in (400, 403, 426)
    assert len(world.backend.seen) == before


def test_callers_cannot_steer_the_gateway_by_its_own_headers(world: World) -> None:
    steering = {
        "x-envoy-upstream-rq-timeout-ms": "1",
        "x-envoy-retry-on": "5xx",
        "x-envoy-max-retries": "50",
        "x-envoy-internal": "true",
        "x-envoy-external-address": CALLER,
        "x-envoy-upstream-alt-stat-name": "x",
        "x-envoy-decorator-operation": "x",
        "x-envoy-expected-rq-timeout-ms": "1",
    }
    seen = world.call("/open", steering)
    passed = {name: value for name, value in seen.headers if name in steering}
    assert passed.pop("x-envoy-external-address") != CALLER
    assert passed == {}


# ------------------------------------------------------------------------------------------------ hops


def test_without_a_trusted_proxy_nobody_says_where_a_request_comes_from(world: World) -> None:
    headers = {"x-forwarded-for": f"{CALLER}, {PROXY}", "forwarded": f"for={CALLER}", "x-forwarded-proto": "https"}
    seen = world.call("/open", headers)
    assert not any(CALLER in value or PROXY in value for _, value in seen.headers)
    assert seen.values("x-forwarded-proto") == ["http"]
    assert world.logged_from() == "127.0.0.1"


@pytest.mark.parametrize(("hops", "logged"), [(1, PROXY), (2, CALLER)])
def test_behind_load_balancers_the_caller_is_who_they_say(hops: int, logged: str) -> None:
    with served(Edge(trusted_hops=hops)) as world:
        assert world.logged_from() == logged
        headers = {"x-forwarded-for": f"{CALLER}, {PROXY}", "x-forwarded-proto": "https"}
        seen = world.call("/open", headers)
    assert seen.values("x-forwarded-for")[0].startswith(f"{CALLER}, {PROXY}")
    assert seen.values("x-forwarded-proto") == ["https"]


# ------------------------------------------------------------------------------------------------ limits


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("POST", 404)])
def test_the_gateway_says_that_it_is_there_and_asks_no_back_end(world: World, method: str, status: int) -> None:
    before = len(world.backend.seen)
    answer = call(world.stand.port, method, "/healthz")
    assert (answer.status, explain(Request(method, "/healthz"), [], Known((), 0)).status) == (status, status)
    assert answer.headers["content-type"] == "application/json"
    assert method != "GET" or answer.body == '{"healthy":true}'
    assert len(world.backend.seen) == before


def test_http2_connections_are_told_their_limits(world: World) -> None:
    frames = exchange(world.stand.port, opening() + headers_frame(1, fields("GET", f"{AT}/open")))
    said = next(frame for frame in frames if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags).settings
    assert said[SettingsFrame.MAX_CONCURRENT_STREAMS] == 100
    assert said[SettingsFrame.INITIAL_WINDOW_SIZE] == 65536


def test_connections_beyond_the_limit_are_closed_and_the_others_go_on() -> None:
    data = f"GET {AT}/open HTTP/1.1\r\nhost: x\r\n\r\n".encode()
    with served(Edge(connections=5)) as world, contextlib.ExitStack() as stack:

        def another() -> socket.socket:
            return stack.enter_context(socket.create_connection(("127.0.0.1", world.stand.port), timeout=10))

        kept = [another() for _ in range(5)]
        for connection in kept:
            connection.sendall(data)
            assert read_answer(connection).status == 200
        before = len(world.backend.seen)
        for _ in range(3):
            assert refused(another(), data)
        assert len(world.backend.seen) == before
        for connection in kept:
            connection.sendall(data)
            assert read_answer(connection).status == 200
        kept[0].close()
        eventually(lambda: not refused(another(), data), "a place that was given up")


def refused(connection: socket.socket, data: bytes) -> bool:
    try:
        connection.sendall(data)
        return read_answer(connection).status == 0
    except (ConnectionResetError, BrokenPipeError):
        return True


def test_when_memory_runs_out_callers_are_told_and_the_gateway_lives_on() -> None:
    """Bodies that are held whole fill the heap; nobody is served from memory that is not there."""
    head = f"POST {AT}/things HTTP/1.1\r\nhost: x\r\ncontent-length: 9000000\r\n\r\n".encode()
    with served(Edge(heap=80 * 2**20)) as world:
        process = world.stand.processes.children["gateway"].pid
        with contextlib.ExitStack() as stack:
            for _ in range(12):
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", world.stand.port), timeout=10))
                connection.settimeout(2)
                with contextlib.suppress(OSError):  # it was reset, or is not read any more
                    connection.sendall(head + b"x" * 8_900_000)
            relieved = [False]

            def acted() -> bool:
                said = world.stand.gateway._table.envoy._ask("/stats?filter=overload_actions.*(count|active)$")
                relieved[0] |= any(not line.endswith(": 0") for line in said.splitlines() if line)
                return relieved[0]

            eventually(acted, "the overload manager to act")
        eventually(lambda: call(world.stand.port, "GET", f"{AT}/open").status == 200, "service as before")
        assert world.stand.processes.children["gateway"].pid == process
        assert not [seen for seen in world.backend.seen if seen.line.startswith("POST")]


def test_envoy_may_open_as_many_files_as_the_system_allows(world: World) -> None:
    limits = Path(f"/proc/{world.stand.processes.children['gateway'].pid}/limits").read_text()
    soft, hard = next(line for line in limits.splitlines() if "open files" in line).split()[3:5]
    assert soft == hard


# ------------------------------------------------------------------------------------------------ nothing else


def test_55_the_admin_interface_is_a_private_socket_and_nothing_else(world: World) -> None:
    admin = world.stand.home.gateway / "admin.sock"
    assert stat.S_IMODE(admin.stat().st_mode) == 0o600
    assert stat.S_IMODE(admin.parent.stat().st_mode) == 0o700
    said = world.stand.gateway._table.envoy._ask("/listeners")
    assert said.strip() == f"{LISTENER}::127.0.0.1:{world.stand.port}"
    for path in ("/config_dump", "/stats", "/server_info", "/quitquitquit"):
        for method in ("GET", "POST"):
            assert call(world.stand.port, method, path).status == 404


def test_only_the_address_that_was_asked_for_is_listened_on() -> None:
    """Every address of 127.0.0.0/8 is this machine (Linux), so another one of them stands for an outside one."""
    with served(Edge(host="127.0.0.2")) as world:
        for host, open_ in (("127.0.0.2", True), ("127.0.0.1", False)):
            with contextlib.ExitStack() as stack:
                if not open_:
                    stack.enter_context(pytest.raises(ConnectionRefusedError))
                socket.create_connection((host, world.stand.port), timeout=5).close()
        assert world.stand.gateway.url == f"http://127.0.0.2:{world.stand.port}"


def test_an_ipv6_address_is_written_as_urls_want_it() -> None:
    with served(Edge(host="::1")) as world:
        assert world.stand.gateway.url == f"http://[::1]:{world.stand.port}"
        with socket.create_connection(("::1", world.stand.port), timeout=5) as connection:
            connection.sendall(request("GET", f"{AT}/open"))
            assert read_answer(connection).status == 200


def test_many_callers_at_once_are_served(world: World) -> None:
    answers: list[int] = []

    def several() -> None:
        answers.extend(call(world.stand.port, "GET", f"{AT}/open").status for _ in range(10))

    threads = [threading.Thread(target=several) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 100
