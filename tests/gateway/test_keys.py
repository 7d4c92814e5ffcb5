"""API keys as they are kept: made, listed, revoked."""

from __future__ import annotations

import json
import re
import stat
import time
from pathlib import Path

import pytest

from mawasu.errors import CorruptError, UsageError
from mawasu.gateway.credentials import KEY_SHAPE
from mawasu.home import Home
from mawasu.platforms.local.keys import KeyRing


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return KeyRing(Home(tmp_path / "home"))


def test_a_key_ring_without_keys_is_empty(ring: KeyRing) -> None:
    assert list(ring.list()) == []


def test_a_created_key_is_listed_until_it_is_revoked(ring: KeyRing) -> None:
    first, _ = ring.create("bob", ["flight-delay/production", "*/staging"])
    second, _ = ring.create("eve", ["*"], time.time() + 60)
    assert list(ring.list()) == [first, second]
    assert ring.revoke(first.id) == first
    assert list(ring.list()) == [second]


def test_what_is_kept_is_private_and_holds_no_secret(ring: KeyRing, tmp_path: Path) -> None:
    key, token = ring.create("bob", ["*"])
    (kept,) = (tmp_path / "home" / "records" / "keys").iterdir()
    assert kept.name == f"{key.id}.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert json.loads(kept.read_bytes())["jwk"].keys() == {"kty", "crv", "alg", "use", "x", "y"}
    assert token.rpartition(".")[2] not in kept.read_text()


def test_a_token_has_the_one_shape_that_the_gateway_lets_through(ring: KeyRing) -> None:
    for expires in (None, time.time() + 60):
        assert re.fullmatch(KEY_SHAPE, ring.create("bob", ["*"], expires)[1])


def test_every_key_has_a_pair_of_its_own(ring: KeyRing) -> None:
    keys = [ring.create("bob", ["*"])[0] for _ in range(3)]
    assert len({key.jwk["x"] for key in keys}) == len({key.id for key in keys}) == 3


def test_a_token_is_verified_by_the_kept_half_alone(ring: KeyRing) -> None:
    from joserfc import jwt
    from joserfc.jwk import ECKey

    key, token = ring.create("bob", ["*/staging"], 2_000_000_000.9)
    decoded = jwt.decode(token, ECKey.import_key(dict(key.jwk)), algorithms=["ES256"])
    assert decoded.header == {"alg": "ES256", "kid": key.id}
    assert decoded.claims == {"iss": "mawasu", "sub": "bob", "aud": ["*/staging"], "exp": 2_000_000_000}


@pytest.mark.parametrize(
    ("consumer", "grants", "expires"),
    [
        ("", ["*"], None),
        ("a\r\nx: y", ["*"], None),
        ("é", ["*"], None),
        ("bob", [], None),
        ("bob", ["flight-delay"], None),
        ("bob", ["a/b/c"], None),
        ("bob", ["A/b"], None),
        ("bob", ["*"], 1.0),
        ("bob", ["*"], float("nan")),
    ],
)
def test_a_key_for_nobody_nothing_or_no_time_is_refused(
    ring: KeyRing, consumer: str, grants: list[str], expires: float | None
) -> None:
    with pytest.raises(UsageError):
        ring.create(consumer, grants, expires)
    assert list(ring.list()) == []


def test_an_unknown_key_cannot_be_revoked(ring: KeyRing) -> None:
    with pytest.raises(UsageError, match="no API key 'nope'"):
        ring.revoke("nope")


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[1]"])
def test_a_damaged_key_is_named(ring: KeyRing, tmp_path: Path, content: bytes) -> None:
    key, _ = ring.create("bob", ["*"])
    path = tmp_path / "home" / "records" / "keys" / f"{key.id}.json"
    path.write_bytes(content)
    with pytest.raises(CorruptError, match=key.id):
        ring.list()


def test_a_key_under_another_name_is_not_taken(ring: KeyRing, tmp_path: Path) -> None:
    key, _ = ring.create("bob", ["*"])
    path = tmp_path / "home" / "records" / "keys" / f"{key.id}.json"
    path.rename(path.with_name("other.json"))
    with pytest.raises(CorruptError, match=key.id):
        ring.list()


def test_a_key_is_replaced_once_so_that_no_new_one_lives_for_a_grace_alone(ring: KeyRing) -> None:
    old, _ = ring.create("shop", ["*"])
    ring.rotate(old.id, grace=60)
    with pytest.raises(UsageError, match="was replaced already"):
        ring.rotate(old.id, grace=60)
