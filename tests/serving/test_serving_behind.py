"""Behind Cloud Endpoints: the prefix goes, and nobody is told who they are by their own callers."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from mawasu.gateway import authn, schemes
from mawasu.serving import behind
from mawasu.serving.behind import arrived
from mawasu.serving.config import Config
from mawasu.serving.message import Body, Headers, Request
from mawasu.serving.proxy import ProxyApp

PREFIX = "/flight-delay/production"


def claims(**said: Any) -> Headers:
    return [(behind.USER_INFO, base64.urlsafe_b64encode(json.dumps(said).encode()).rstrip(b"="))]


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        (f"{PREFIX}/predict", "/predict"),
        (f"{PREFIX}/a%2Fb//c%20d", "/a%2Fb//c%20d"),
        (PREFIX, "/"),
        (f"{PREFIX}/", "/"),
        (f"/-open{PREFIX}/about", "/about"),
        ("/predict", "/predict"),
        (f"{PREFIX}s/predict", f"{PREFIX}s/predict"),
        (f"/-open{PREFIX}s/x", f"/-open{PREFIX}s/x"),
        ("/-open/x", "/-open/x"),
    ],
)
def test_the_prefix_is_taken_off_and_the_rest_left_as_it_was_sent(sent: str, path: str) -> None:
    assert arrived(PREFIX, sent.encode(), [])[0] == path.encode()


def test_the_consumer_is_who_the_verified_key_was_made_for() -> None:
    told = [*claims(iss="mawasu", sub="shop"), (b"X-Mawasu-Consumer", b"forged")]
    _, headers = arrived(PREFIX, f"{PREFIX}/x".encode(), told)
    assert [value for name, value in headers if name.lower() == behind.CONSUMER] == [b"shop"]


@pytest.mark.parametrize(
    "told",
    [
        claims(iss="https://accounts.google.com", sub="shop"),
        claims(iss="mawasu", sub="a\nb"),
        claims(iss="mawasu", sub="a") + claims(iss="mawasu", sub="b"),
        [(behind.USER_INFO, b"!")],
        [(behind.USER_INFO, b"W10")],
        [],
    ],
)
def test_without_a_verified_key_there_is_no_consumer(told: Headers) -> None:
    _, headers = arrived(PREFIX, f"{PREFIX}/x".encode(), [*told, (behind.CONSUMER, b"forged")])
    assert not [name for name, _ in headers if name.lower() == behind.CONSUMER]


def test_where_nothing_was_verified_no_identity_is_believed() -> None:
    told = [*claims(iss="mawasu", sub="shop"), (behind.CONSUMER, b"shop"), (b"accept", b"*/*")]
    assert arrived(PREFIX, f"/-open{PREFIX}/x".encode(), told) == (b"/x", [(b"accept", b"*/*")])


def test_the_words_are_the_gateways() -> None:
    assert authn.USER_INFO.encode() == behind.USER_INFO
    assert authn.CONSUMER.encode() == behind.CONSUMER
    assert schemes.OURS == behind.ISSUER


def test_a_users_own_server_is_called_by_the_path_of_its_document() -> None:
    app = ProxyApp(Config("", "http://127.0.0.1:9", "r", command=True, prefix=PREFIX))
    request = Request("GET", f"{PREFIX}/x".encode(), b"a=1", [(b"host", b"h")], Body(0, lambda _: None, whole=True))
    assert app._request(request).url.target == b"/x?a=1"
