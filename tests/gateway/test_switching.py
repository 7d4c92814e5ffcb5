"""What is served changes while requests run: nobody notices, whatever happens to Envoy or to who drives it."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from mawasu.errors import PlatformError, SpecError
from mawasu.gateway.edge import Edge
from mawasu.gateway.listener import AUTHN, CLUSTERS, ROUTES
from mawasu.platforms.local.gateway import LocalGateway, refresh_keys
from mawasu.words import Endpoint, Share, Site, Split, Unit
from tests.gateway.conftest import Stand
from tests.gateway.machinery import Backend, Issuer, call, document, eventually, free_port, raw, read_answer, site

AT = "/flight-delay/production"
ISSUER = Issuer()
DOCUMENT = document({"keys": [ISSUER.jwk]}, open=[], k=[{"key": []}], t=[{"jwt": []}])


def here(backend: Backend, text: str = DOCUMENT) -> Site:
    return site(backend.endpoint(), text)


def opened(stand: Stand, path: str = "/open", **headers: str) -> tuple[int, str]:
    answer = call(stand.port, "GET", AT + path, {name.replace("_", "-"): value for name, value in headers.items()})
    return answer.status, answer.body


class Caller:
    """Calls without pause over one kept connection and over new ones, until told to end; remembers what went wrong."""

    def __init__(self, stand: Stand, headers: dict[str, str], path: str = "/open") -> None:
        self.calls = 0
        self.wrong: list[Any] = []
        self._port = stand.port
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._data = f"GET {AT}{path} HTTP/1.1\r\nhost: x\r\n{lines}\r\n".encode()
        self._end = threading.Event()
        self._threads = [threading.Thread(target=run) for run in (self._kept, self._new)]

    def __enter__(self) -> Caller:
        for thread in self._threads:
            thread.start()
        eventually(lambda: self.calls > 20 or self.wrong, "calls under way")
        return self

    def __exit__(self, *_: object) -> None:
        more = self.calls + 20
        eventually(lambda: self.calls > more or self.wrong, "calls after the last change")
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _kept(self) -> None:
        with socket.create_connection(("127.0.0.1", self._port), timeout=10) as connection:
            while not self._end.is_set() and not self.wrong:
                try:
                    connection.sendall(self._data)
                    self._judge(read_answer(connection))
                except OSError as error:
                    self.wrong.append(error)

    def _new(self) -> None:
        while not self._end.is_set() and not self.wrong:
            try:
                self._judge(raw(self._port, self._data))
            except OSError as error:
                self.wrong.append(error)

    def _judge(self, answer: Any) -> None:
        self.calls += 1
        if answer.status != 200 or "connection" in answer.headers:
            self.wrong.append(answer)


@pytest.fixture
def pair(stand: Stand) -> Iterator[tuple[Backend, Backend]]:
    one, two = stand.backend("one"), stand.backend("two")
    stand.gateway.switch([here(one)])
    yield one, two
    for backend in (one, two):
        stand.backends.remove(backend)
        backend.close()


@contextmanager
def held(backend: Backend) -> Iterator[None]:
    """The back end thinks for as long as this lasts."""
    backend.hold = threading.Event()
    try:
        yield
    finally:
        backend.hold.set()
        backend.hold = None


def in_background(call_: Any) -> tuple[threading.Thread, list[Any]]:
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(call_()))
    thread.start()
    return thread, answers


def test_two_hundred_swaps_of_routes_and_keys_fail_no_request_and_close_no_connection(
    stand: Stand, pair: tuple[Backend, Backend]
) -> None:
    _, steady = stand.keys.create("steady", ["*"])
    stand.gateway.refresh_keys()
    token, key = {"authorization": f"Bearer {ISSUER.token()}"}, {"x-api-key": steady}
    with Caller(stand, token, "/t") as guarded, Caller(stand, key, "/k") as keyed:
        for turn in range(100):
            backend = pair[(turn + 1) % 2]
            # Every other document differs too, so routes, providers and clusters all change.
            described: dict[str, Any] = {"open": [], "t": [{"jwt": []}], "k": [{"key": []}], f"new{turn}": []}
            text = document({"keys": [ISSUER.jwk]}, **described)
            stand.gateway.switch([here(backend, text)])
            assert opened(stand, f"/new{turn}") == (200, backend.says)
            assert opened(stand, f"/new{turn - 1}")[0] == 404
            brief, opens = stand.keys.create("brief", ["*"])
            stand.gateway.refresh_keys()
            assert opened(stand, "/k", x_api_key=opens) == (200, backend.says)
            stand.keys.revoke(brief.id)  # the next switch takes it away
    assert (guarded.wrong, keyed.wrong) == ([], [])


def test_the_shares_of_a_split_change_under_load_and_fail_no_request(
    stand: Stand, pair: tuple[Backend, Backend]
) -> None:
    old, new = (backend.endpoint() for backend in pair)
    with Caller(stand, {"x-user": "u1"}) as caller:
        for percent in range(10, 110, 10):
            split = Split(Unit("header", "x-user"), "salt", (Share(new, percent * 100),))
            stand.gateway.switch([msgspec.structs.replace(site(old, DOCUMENT), split=split)])
    assert caller.wrong == []


def test_a_request_under_way_is_finished_by_who_began_it(stand: Stand, pair: tuple[Backend, Backend]) -> None:
    one, two = pair
    with held(one):
        thread, answers = in_background(lambda: opened(stand))
        eventually(lambda: one.seen, "the request to arrive")
        stand.gateway.switch([here(two)])
        assert opened(stand) == (200, "two")
    thread.join()
    assert answers == [(200, "one")]


def test_a_key_opens_at_once_and_stops_at_once_and_no_connection_is_dropped(
    stand: Stand, pair: tuple[Backend, Backend]
) -> None:
    _, steady = stand.keys.create("steady", ["*"])
    stand.gateway.refresh_keys()
    with Caller(stand, {"x-api-key": steady}, "/k") as caller:
        for _ in range(5):
            key, token = stand.keys.create("brief", ["flight-delay/*"])
            assert opened(stand, "/k", x_api_key=token)[0] == 400
            stand.gateway.refresh_keys()
            assert opened(stand, "/k", x_api_key=token)[0] == 200
            stand.keys.revoke(key.id)
            stand.gateway.refresh_keys()
            assert opened(stand, "/k", x_api_key=token)[0] == 400
    assert caller.wrong == []


def test_a_rotated_key_opens_until_its_grace_is_over(stand: Stand, pair: tuple[Backend, Backend]) -> None:
    old, before = stand.keys.create("patient", ["flight-delay/*"])
    new, after = stand.keys.rotate(old.id, grace=1.0)
    over = time.time() + 1.0
    stand.gateway.refresh_keys()
    assert (new.consumer, new.grants) == (old.consumer, old.grants)

    with Caller(stand, {"x-api-key": after}, "/k") as caller:
        assert opened(stand, "/k", x_api_key=before)[0] == 200
        assert stand.gateway.expire_keys(time.time()) <= over
        eventually(lambda: time.time() > over, "the grace to be over")
        stand.gateway.expire_keys(time.time())  # as the daemon does
        assert opened(stand, "/k", x_api_key=before)[0] == 400
        assert time.time() < over + 1.0
    assert caller.wrong == []


def test_keys_are_refreshed_by_a_process_that_is_no_daemon(stand: Stand, pair: tuple[Backend, Backend]) -> None:
    _, token = stand.keys.create("shell", ["*/production"])
    refresh_keys(stand.home)
    assert opened(stand, "/k", x_api_key=token)[0] == 200


def test_nothing_at_rest_can_call(stand: Stand, pair: tuple[Backend, Backend]) -> None:
    _, token = stand.keys.create("careful", ["*"])
    stand.gateway.refresh_keys()
    signature = token.rpartition(".")[2]
    files = [path for path in stand.home.path.rglob("*") if path.is_file()]
    files += [path for path in stand.home.run.rglob("*") if path.is_file()]
    assert any(AUTHN in path.name for path in files)
    for path in files:
        content = path.read_bytes()
        assert signature.encode() not in content, path
        assert b'"d"' not in content, path


def test_a_configuration_that_envoy_refuses_is_taken_back_with_its_words(
    stand: Stand, pair: tuple[Backend, Backend]
) -> None:
    directory = stand.home.gateway
    before = {name: (directory / name).read_bytes() for name in (CLUSTERS, ROUTES, AUTHN)}
    bad = site(Endpoint("bad", ("/" + "x" * 200,)), DOCUMENT, "bad", "staging")

    with pytest.raises(
        PlatformError, match=r"Envoy refused clusters\.json: .*200|Envoy refused clusters\.json: .*[Pp]ath"
    ):
        stand.gateway.switch([here(pair[1]), bad])

    assert {name: (directory / name).read_bytes() for name in before} == before
    assert opened(stand) == (200, "one")
    stand.gateway.switch([here(pair[1])])
    assert opened(stand) == (200, "two")


def test_a_faulty_document_leaves_what_is_served(stand: Stand, pair: tuple[Backend, Backend]) -> None:
    with pytest.raises(SpecError):
        stand.gateway.switch([here(pair[1]), here(pair[1], "openapi: 2")])
    assert opened(stand) == (200, "one")


def test_a_site_that_is_left_out_is_gone(stand: Stand, pair: tuple[Backend, Backend]) -> None:
    preview = site(pair[1].endpoint(), DOCUMENT, environment="preview-try-gbdt")
    stand.gateway.switch([here(pair[0]), preview])
    assert call(stand.port, "GET", "/flight-delay/preview-try-gbdt/open").body == "two"
    stand.gateway.switch([here(pair[0])])
    assert call(stand.port, "GET", "/flight-delay/preview-try-gbdt/open").status == 404


def test_a_replica_that_dies_fails_no_request_while_another_lives(stand: Stand, pair: tuple[Backend, Backend]) -> None:
    one, _ = pair
    mortal = Backend(stand.directory / "mortal.sock", "mortal")
    both = Endpoint("both", (str(one.path), str(mortal.path)))
    try:
        stand.gateway.switch([site(both, DOCUMENT)])
        eventually(lambda: opened(stand)[1] == "mortal", "the second replica to answer")
    finally:
        mortal.close()
    assert {opened(stand) for _ in range(50)} == {(200, "one")}


def test_another_daemon_adopts_the_running_envoy(stand: Stand, pair: tuple[Backend, Backend]) -> None:
    child = stand.processes.children["gateway"].pid
    with Caller(stand, {}) as caller:
        other = LocalGateway(stand.home, Edge(port=stand.port), stand.processes, threads=1)
        other.start()
        other.switch([here(pair[1])])
    assert caller.wrong == []
    assert opened(stand) == (200, "two")
    assert stand.processes.children["gateway"].pid == child


def test_what_a_killed_driver_left_half_done_is_put_right_at_start(stand: Stand, pair: tuple[Backend, Backend]) -> None:
    two = pair[1]
    # As if it had been killed after the routes were switched and before the table was kept.
    table = stand.gateway._table
    table.apply([here(two)])
    assert opened(stand) == (200, "two")
    stand.gateway.start()
    assert opened(stand) == (200, "one")


def test_after_a_crash_of_envoy_the_same_sites_and_keys_are_served(stand: Stand, pair: tuple[Backend, Backend]) -> None:
    _, token = stand.keys.create("patient", ["*"])
    os.kill(stand.processes.children["gateway"].pid, signal.SIGKILL)
    eventually(lambda: not stand.processes.running("gateway"), "Envoy to be gone")

    stand.gateway.switch([here(pair[1])])  # nobody is there to take it: it is kept
    stand.gateway.start()

    assert opened(stand, "/k", x_api_key=token) == (200, "two")


def test_another_port_moves_the_gateway(stand: Stand, pair: tuple[Backend, Backend]) -> None:
    moved = LocalGateway(stand.home, Edge(port=free_port()), stand.processes, threads=1)
    try:
        moved.start()
        assert call(int(moved.url.rpartition(":")[2]), "GET", f"{AT}/open").body == "one"
        with pytest.raises(ConnectionRefusedError):
            opened(stand)
    finally:
        stand.gateway.start()
    assert opened(stand) == (200, "one")


def test_a_taken_port_is_named_with_what_to_do(stand: Stand) -> None:
    stand.gateway.stop(drain=0)
    try:
        refusal = pytest.raises(PlatformError, match=f"port {stand.port} .*in use.*mawasu up --port N")
        with socket.create_server(("127.0.0.1", stand.port)), refusal:
            stand.gateway.start()
    finally:
        stand.gateway.start()


def test_stopping_finishes_what_is_under_way(stand: Stand, pair: tuple[Backend, Backend]) -> None:
    one, _ = pair
    try:
        with held(one):
            thread, answers = in_background(lambda: opened(stand))
            eventually(lambda: one.seen, "the request to arrive")
            stopping, _ = in_background(lambda: stand.gateway.stop(drain=10))

            def refused() -> bool:
                try:
                    socket.create_connection(("127.0.0.1", stand.port), timeout=1).close()
                except OSError:
                    return True
                return False

            eventually(refused, "new connections to be refused")
            assert not answers
        thread.join()
        stopping.join()
        assert answers == [(200, "one")]
        assert not stand.processes.running("gateway")
    finally:
        stand.gateway.start()


def test_what_comes_through_the_gateway_says_so_and_finds_no_page_of_the_servers_own(stand: Stand) -> None:
    """The servers' `/-/metrics` looks for this header of Envoy's (`serving/http.py`), which no caller can take away."""
    backend = stand.backend("any")
    paths: dict[str, Any] = {"{any}__{thing}": []}
    stand.gateway.switch([here(backend, document(**paths))])
    for headers in ({}, {"connection": "x-request-id"}, {"x-request-id": ""}, {"x-request-id": "mine"}):
        assert call(stand.port, "GET", f"{AT}/-/metrics", headers).status == 200
        assert backend.seen[-1].line.startswith("GET /-/metrics ")
        (told,) = backend.seen[-1].values("x-request-id")
        assert len(told) == 36, "a number of the gateway's own"
