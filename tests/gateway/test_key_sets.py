"""Key sets that issuers publish, fetched by a real Envoy over TLS: what is let in while they change or are away."""

from __future__ import annotations

import http.server
import json
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mawasu.gateway import authn
from mawasu.platforms.local.keysets import OLDEST
from tests.gateway.certificates import Authority, put
from tests.gateway.conftest import Stand, standing
from tests.gateway.machinery import Answer, Backend, Issuer, call, document, eventually, site
from tests.gateway.test_switching import Caller

AT = "/flight-delay/production"
UNKNOWN_KEY = "Jwks doesn't have key to match kid or alg from Jwt"


class Published:
    """An issuer's server: it answers with what it publishes now, and counts who asks."""

    def __init__(self, directory: Path, pair: tuple[bytes, bytes]) -> None:
        self.status, self.body = 200, b""
        self.asked: list[str] = []
        self.hold: threading.Event | None = None  # a byte now and then, until it is set
        files = put(directory, pair)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate, files.key)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.at = f"https://localhost:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def publish(self, *issuers: Issuer) -> None:
        self.status, self.body = 200, json.dumps({"keys": [one.jwk for one in issuers]}).encode()

    def answer(self, status: int, body: bytes = b"") -> None:
        self.status, self.body = status, body

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    def __init__(self, published: Published, *args: Any) -> None:
        self.published = published
        super().__init__(*args)

    def do_GET(self) -> None:
        status, body = self.published.status, self.published.body
        self.send_response(status)
        if self.published.hold is None:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        while self.published.hold is not None and not self.published.hold.wait(0.1):
            self.wfile.write(b" ")
        self.wfile.write(body)
        self.published.asked.append(self.path)

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""


class World(msgspec.Struct):
    stand: Stand
    published: Published
    backend: Backend
    target: str = ""

    def serve(self) -> None:
        """With a key set at an address that was never asked before."""
        self.target = f"/keys/{time.monotonic_ns()}"
        text = json.loads(document({"keys": []}, t=[{"jwt": []}]))
        scheme = text["components"]["securitySchemes"]["jwt"]
        del scheme["x-mawasu-jwks"]
        scheme["x-google-jwks_uri"] = self.published.at + self.target
        self.stand.gateway.switch([site(self.backend.endpoint(), json.dumps(text))])

    def is_asked(self, before: int = 0) -> None:
        """Twice: by mawasu and by Envoy at first, and later, of one answer the other may have been under way."""
        eventually(lambda: self.asked >= before + 2, "the key set to be fetched", timeout=20)

    def is_asked_again(self) -> None:
        self.is_asked(self.asked)

    @property
    def asked(self) -> int:
        return self.published.asked.count(self.target)

    def get(self, issuer: Issuer) -> Answer:
        return call(self.stand.port, "GET", f"{AT}/t", self.with_token(issuer))

    def with_token(self, issuer: Issuer) -> dict[str, str]:
        return {"authorization": f"Bearer {issuer.token()}"}

    def opens(self, issuer: Issuer) -> bool:
        return self.get(issuer).status == 200


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory, authority = tmp_path_factory.mktemp("keys"), Authority()
    (directory / "roots.pem").write_bytes(authority.certificate)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(directory / "roots.pem"))  # where this machine's roots are
        patch.setattr(authn, "KEPT", 1)  # five minutes are long for a test
        patch.setattr(authn, "AGAIN", 1)
        published = Published(directory, authority.pair())
        try:
            with standing() as stand:
                yield World(stand, published, stand.backend("flights"))
        finally:
            published.close()


@pytest.fixture
def issuer(world: World) -> Issuer:
    """Whose key set was fetched just now."""
    issuer = Issuer()
    world.published.publish(issuer)
    world.serve()
    world.is_asked()  # before any call: Envoy would fetch the set for that one alone
    eventually(lambda: world.opens(issuer), "the key set to be there")
    return issuer


@pytest.mark.parametrize("answer", [(503, b""), (404, b"gone"), (200, b"no key set"), (200, b'{"keys": []}')])
def test_while_the_issuer_is_away_its_last_good_keys_go_on(
    world: World, issuer: Issuer, answer: tuple[int, bytes]
) -> None:
    world.published.answer(*answer)
    world.is_asked_again()
    assert world.opens(issuer)
    before = len(world.backend.seen)
    assert world.get(Issuer(kid="two")).message == UNKNOWN_KEY
    assert len(world.backend.seen) == before


def test_24_a_key_that_its_issuer_rotated_out_opens_nothing_once_the_set_is_fetched_again(
    world: World, issuer: Issuer
) -> None:
    new = Issuer(kid="two")
    assert world.get(new).message == UNKNOWN_KEY

    world.published.publish(issuer, new)
    eventually(lambda: world.opens(new), "the new key to open", timeout=20)
    assert world.opens(issuer), "both are published"

    world.published.publish(new)
    world.is_asked_again()
    before = len(world.backend.seen)
    answer = world.get(issuer)
    assert (answer.status, answer.message) == (401, UNKNOWN_KEY)
    assert len(world.backend.seen) == before
    assert world.opens(new)


def test_a_key_set_that_comes_late_opens_without_another_switch(world: World) -> None:
    issuer = Issuer()
    world.published.answer(503)
    world.serve()
    answer = world.get(issuer)
    assert (answer.status, answer.message) == (401, "Jwks remote fetch is failed")

    world.published.publish(issuer)
    eventually(lambda: world.opens(issuer), "the key set to be there", timeout=20)


def a_key_is_made(stand: Stand) -> None:
    stand.keys.create("bob", ["*"])
    stand.gateway.refresh_keys()


def a_preview_is_pushed(stand: Stand) -> None:
    here = stand.gateway._table.load()
    text = document({"keys": [Issuer().jwk]}, t=[{"jwt": []}])
    stand.gateway.switch([*here, site(stand.backends[0].endpoint(), text, environment="preview-x")])


def the_gateway_starts_anew(stand: Stand) -> None:
    stand.gateway.stop(drain=0)
    stand.gateway.start()


CHANGES = [a_key_is_made, a_preview_is_pushed, the_gateway_starts_anew]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_while_the_issuer_is_away_leaves_its_last_good_keys_in_place(
    world: World, issuer: Issuer, change: Callable[[Stand], None]
) -> None:
    world.published.answer(503)
    for _ in range(2):
        change(world.stand)
        assert world.opens(issuer)
    assert world.get(Issuer(kid="two")).message == UNKNOWN_KEY


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_an_issuer_that_is_back_is_asked_again_and_what_it_took_out_opens_nothing(
    world: World, issuer: Issuer, change: Callable[[Stand], None]
) -> None:
    world.published.answer(503)
    change(world.stand)
    assert world.opens(issuer)
    new = Issuer(kid="two")
    world.published.publish(new)

    def taken() -> bool:
        world.stand.gateway.refresh_key_sets()  # as the daemon does
        return world.opens(new)

    eventually(taken, "the set that is published now", timeout=20)
    assert world.get(issuer).message == UNKNOWN_KEY
    world.is_asked_again()  # by Envoy itself, from now on


def test_keys_change_under_load_and_no_call_with_a_token_fails_whether_the_issuer_is_there_or_not(
    world: World, issuer: Issuer
) -> None:
    with Caller(world.stand, world.with_token(issuer), "/t") as caller:
        for turn in range(30):
            if turn == 15:
                world.is_asked_again()  # what Envoy was told last it has fetched
                world.published.answer(503)
            a_key_is_made(world.stand)
    assert caller.wrong == []


def test_an_issuer_that_sends_byte_by_byte_holds_up_no_change(world: World, issuer: Issuer) -> None:
    world.published.hold = threading.Event()
    try:
        began = time.monotonic()
        a_key_is_made(world.stand)
        took = time.monotonic() - began
        assert world.opens(issuer)
    finally:
        world.published.hold.set()
        world.published.hold = None
    assert took < 1.0


def test_a_copy_that_is_older_than_a_day_is_not_trusted(world: World, issuer: Issuer) -> None:
    world.published.answer(503)
    for copy in (world.stand.home.cache / "key-sets").iterdir():
        os.utime(copy, times=(0, time.time() - OLDEST - 1))
    a_key_is_made(world.stand)
    assert world.get(issuer).status == 401


def test_of_a_published_set_only_keys_that_can_verify_are_copied(world: World) -> None:
    issuer = Issuer()
    odd: Any = [{"kty": "oct", "k": "c2VjcmV0"}, {"kty": "EC", "crv": "P-1"}, 7, issuer.jwk]
    world.published.answer(200, json.dumps({"keys": odd, "more": 1}).encode())
    world.serve()
    world.is_asked()
    eventually(lambda: world.opens(issuer), "the key set to be there")
    world.published.answer(503)
    a_key_is_made(world.stand)
    assert world.opens(issuer)
