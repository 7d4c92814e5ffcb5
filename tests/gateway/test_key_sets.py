"""Key sets that issuers publish, fetched by a real Envoy over TLS: what is let in while they change or are away."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mawasu.gateway import authn
from tests.gateway.certificates import Authority, put
from tests.gateway.conftest import Stand, standing
from tests.gateway.machinery import Answer, Backend, Issuer, call, document, eventually, site

AT = "/flight-delay/production"
UNKNOWN_KEY = "Jwks doesn't have key to match kid or alg from Jwt"


class Published:
    """An issuer's server: it answers with what it publishes now, and counts who asks."""

    def __init__(self, directory: Path, pair: tuple[bytes, bytes]) -> None:
        self.status, self.body, self.asked = 200, b"", 0
        files = put(directory, pair)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate, files.key)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.uri = f"https://localhost:{self._server.server_port}/keys"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def publish(self, *issuers: Issuer) -> None:
        self.status, self.body = 200, json.dumps({"keys": [one.jwk for one in issuers]}).encode()

    def fail(self, status: int, body: bytes = b"") -> None:
        self.status, self.body = status, body

    def is_asked_again(self) -> None:
        """Twice: of the first one the answer may have been under way already."""
        before = self.asked
        eventually(lambda: self.asked >= before + 2, "the key set to be fetched again", timeout=20)

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
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.published.asked += 1

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""


class World(msgspec.Struct):
    stand: Stand
    published: Published
    backend: Backend

    def serve(self, uri: str = "") -> None:
        text = json.loads(document({"keys": []}, t=[{"jwt": []}]))
        scheme = text["components"]["securitySchemes"]["jwt"]
        del scheme["x-mawasu-jwks"]
        scheme["x-google-jwks_uri"] = uri or self.published.uri
        self.stand.gateway.switch([site(self.backend.endpoint(), json.dumps(text))])

    def get(self, issuer: Issuer) -> Answer:
        return call(self.stand.port, "GET", f"{AT}/t", self.with_token(issuer))

    def with_token(self, issuer: Issuer) -> Mapping[str, str]:
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
    eventually(lambda: world.opens(issuer), "the key set to be there")
    return issuer


@pytest.mark.parametrize("answer", [(503, b""), (404, b"gone"), (200, b"no key set"), (200, b'{"keys": []}')])
def test_while_the_issuer_is_away_its_last_good_keys_go_on(
    world: World, issuer: Issuer, answer: tuple[int, bytes]
) -> None:
    world.published.fail(*answer)
    world.published.is_asked_again()
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
    world.published.is_asked_again()
    before = len(world.backend.seen)
    answer = world.get(issuer)
    assert (answer.status, answer.message) == (401, UNKNOWN_KEY)
    assert len(world.backend.seen) == before
    assert world.opens(new)


def test_a_key_set_that_comes_late_opens_without_another_switch(world: World) -> None:
    issuer = Issuer()
    world.published.fail(503)
    world.serve(f"{world.published.uri}?late")
    answer = world.get(issuer)
    assert (answer.status, answer.message) == (401, "Jwks remote fetch is failed")

    world.published.publish(issuer)
    eventually(lambda: world.opens(issuer), "the key set to be there", timeout=20)
