"""What the table of cases is asked of, and how its requests are made."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from mawasu.gateway.authn import SKEW
from tests.gateway.conftest import Stand
from tests.gateway.machinery import (
    Answer,
    Backend,
    Issuer,
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

Send = Callable[["World"], bytes]
Text = str | Callable[["World"], str]


class World(msgspec.Struct):
    """One site with every kind of security, its issuer and keys, its back end, and a server that must not be asked.

    `secrets` gathers every credential that was sent.
    """

    stand: Stand
    backend: Backend
    attacker: socket.socket
    issuer: Issuer
    keys: dict[str, str]
    secrets: set[str]

    def ask(self, send: Send) -> Answer:
        return raw(self.stand.port, send(self))

    @property
    def attacker_url(self) -> str:
        return f"http://127.0.0.1:{self.attacker.getsockname()[1]}/keys.json"

    def attacker_was_asked(self) -> bool:
        try:
            self.attacker.accept()[0].close()
        except BlockingIOError:
            return False
        return True


@contextmanager
def a_world(stand: Stand) -> Iterator[World]:
    backend, other, issuer = stand.backend("flights"), stand.backend("other"), Issuer()
    stand.gateway.switch(
        [
            site(backend.endpoint(), _document(issuer)),
            site(other.endpoint(), document(k=[{"key": []}]), "other", "staging"),
        ]
    )
    keys = _keys(stand)
    with socket.create_server(("127.0.0.1", 0)) as attacker:
        attacker.setblocking(False)
        yield World(stand, backend, attacker, issuer, keys, set(keys.values()))


def _document(issuer: Issuer) -> str:
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
        "anywhere": [{"usual": []}],
        "slow": {"get": {"security": [], "x-google-backend": {"deadline": 0.2}}},
        "things__{id}": [],
        "long__" + LONG: [],
        "things__special": {"post": {"security": []}},
    }
    body = json.loads(document({"keys": [issuer.jwk]}, **described))
    schemes = body["components"]["securitySchemes"]
    schemes["iap"] = schemes["jwt"] | {"x-google-jwt-locations": [{"header": "x-token"}]}
    schemes["query"] = {"type": "apiKey", "in": "query", "name": "api"}
    schemes["usual"] = {"type": "apiKey"}
    return json.dumps(body)


def _keys(stand: Stand) -> dict[str, str]:
    ring = stand.keys
    keys = {
        "good": ring.create("bob", ["flight-delay/production"])[1],
        "any": ring.create("eve", ["*/production"])[1],
        "other": ring.create("tom", ["other/*"])[1],
    }
    gone, keys["revoked"] = ring.create("gone", ["*"])
    ring.revoke(gone.id)
    brief, keys["expired"] = ring.create("late", ["*"], time.time() + 0.2)
    old, keys["rotated out"] = ring.create("ann", ["*"])
    _, keys["renewed"] = ring.rotate(old.id, grace=0.1)
    old, keys["in its grace"] = ring.create("ann", ["*"])
    ring.rotate(old.id, grace=3600)
    assert brief.expires is not None
    over = int(brief.expires) + SKEW + 1
    eventually(lambda: time.time() >= over, "the key is past its time")
    stand.gateway.refresh_keys()
    return keys


# ------------------------------------------------------------------------------------------------------ requests


def get(path: Text, **headers: Text) -> Send:
    """A GET of a path of the site. The path and each value may be made from the world."""

    def send(world: World) -> bytes:
        made = {name.replace("_", "-"): _text(value, world) for name, value in headers.items()}
        target = _text(path, world)
        world.secrets.update(word for text in made.values() for word in text.split() if len(word) > 20)
        return request("GET", f"{AT}{target}", made)

    return send


def line(text: str, *headers: str) -> Send:
    """A request as it is: its first line and its headers."""
    lines = "\r\n".join([text, "host: gateway", "connection: close", *headers, "", ""])
    return lambda world: lines.encode("latin-1")


def _text(value: Text, world: World) -> str:
    return value if isinstance(value, str) else value(world)


def key(name: str) -> Callable[[World], str]:
    return lambda world: world.keys[name]


def bearer(make: Callable[[World], str]) -> Callable[[World], str]:
    return lambda world: f"Bearer {make(world)}"


def token(header: dict[str, Any] | None = None, **claims: Any) -> Callable[[World], str]:
    return bearer(lambda world: world.issuer.token(header, **claims))


def with_token(header: dict[str, Any] | None = None, **claims: Any) -> Send:
    return get("/t", authorization=token(header, **claims))


def sent_as_token(make: Callable[[World], str]) -> Send:
    return get("/t", authorization=bearer(make))


# ------------------------------------------------------------------------------------------------------ bad tokens


def edited(world: World) -> str:
    head, _, signature = world.issuer.token().split(".")
    return f"{head}.{encoded(json.dumps(world.issuer.claims(sub='root')).encode())}.{signature}"


def unsigned(alg: str) -> Callable[[World], str]:
    def make(world: World) -> str:
        head, body = (encoded(json.dumps(part).encode()) for part in ({"alg": alg}, world.issuer.claims()))
        return f"{head}.{body}."

    return make


def by_secret(secret: bytes, **header: str) -> Callable[[World], str]:
    """A token with an HMAC."""
    return lambda world: hmac_token(secret, {"alg": "HS256", **header}, world.issuer.claims())


def public_pem_as_secret(world: World) -> str:
    return by_secret(world.issuer.public_pem, kid=world.issuer.kid)(world)


def by_stranger(**header: Any) -> Callable[[World], str]:
    """A token that somebody else signed, who says in its header where the key is (RFC 7515, 4.1)."""

    def make(world: World) -> str:
        stranger = Issuer()
        said = {name: value(stranger, world) for name, value in header.items()}
        return stranger.token(said)

    return make


def padded(world: World) -> str:
    head, body, signature = world.issuer.token().split(".")
    return f"{head}=.{body}==.{signature}"


def doubled_claims(world: World) -> str:
    text = json.dumps(world.issuer.claims())[:-1] + ', "sub": "root"}'
    return world.issuer.sign({"alg": "ES256", "kid": world.issuer.kid}, text)


def wrapped(world: World) -> str:
    head = encoded(json.dumps({"alg": "dir", "enc": "A256GCM"}).encode())
    return f"{head}..{encoded(b'0' * 12)}.{encoded(world.issuer.token().encode())}.{encoded(b'0' * 16)}"


def renamed(world: World, header: str = '{"alg":"ES256"}') -> str:
    """A good key with another header, by default one that names no key id."""
    return ".".join([encoded(header.encode()), *world.keys["good"].split(".")[1:]])
