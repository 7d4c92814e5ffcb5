"""What `mawasu up` is told about the gateway's edge: what is remembered, and what it refuses to do in the open."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from mawasu.daemon.settings import Said, Settings, check, load, save, told
from mawasu.errors import UsageError
from mawasu.gateway.certificate import Files
from mawasu.gateway.edge import Edge
from mawasu.gateway.tracing import Collector, collector
from mawasu.home import Home

PAIR = Said(tls_cert="/c.pem", tls_key="/k.pem")
SECURE = told(Settings(), PAIR)


def test_nothing_said_changes_nothing() -> None:
    for known in (Settings(), Settings(port=9000, builds=4, data=("/srv",)), SECURE):
        assert told(known, Said()) == known


def test_what_is_said_is_remembered_and_the_rest_stays() -> None:
    known = told(Settings(), Said(port=9000, data=("/srv",)))
    known = told(known, PAIR)
    known = told(known, Said(host="0.0.0.0", hsts=60, trusted_hops=1, builds=3))
    assert known == Settings(9000, 3, ("/srv",), "0.0.0.0", Files("/c.pem", "/k.pem"), False, 60, 1)
    assert known.edge == Edge("0.0.0.0", 9000, tls=True, hsts=60, trusted_hops=1)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "2001:db8::1", "::ffff:127.0.0.1"])
def test_an_outside_address_without_tls_is_refused_unless_plain_is_said(host: str) -> None:
    with pytest.raises(UsageError, match="in the open without TLS") as refusal:
        told(Settings(), Said(host=host))
    assert "--tls-cert" in refusal.value.hint
    assert "--plain" in refusal.value.hint
    assert told(Settings(), Said(host=host, plain=True)).plain
    assert told(SECURE, Said(host=host)).tls == SECURE.tls


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1"])
def test_plain_http_on_loopback_needs_no_word(host: str) -> None:
    assert not told(Settings(), Said(host=host)).plain


def test_plain_was_said_for_one_address_and_holds_for_no_other() -> None:
    plain = told(Settings(), Said(host="192.0.2.1", plain=True))
    assert told(plain, Said(port=9000)).plain
    assert told(plain, Said(host="192.0.2.1")).plain
    with pytest.raises(UsageError, match=r"on 0\.0\.0\.0"):
        told(plain, Said(host="0.0.0.0"))


def test_plain_ends_tls_and_hsts_and_a_certificate_ends_plain() -> None:
    plain = told(told(SECURE, Said(hsts=60)), Said(plain=True))
    assert (plain.tls, plain.plain, plain.hsts) == (None, True, 0)
    assert not told(plain, PAIR).plain


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (Said(tls_cert="/c.pem"), "needs its private key"),
        (Said(tls_key="/k.pem"), "needs its private key"),
        (Said(tls_cert="/c.pem", tls_key="/k.pem", plain=True), "contradict"),
        (Said(host="localhost"), "'localhost' is not an IP address"),
        (Said(host="example.com"), "not an IP address"),
        (Said(hsts=60), "means nothing without TLS"),
        (Said(hsts=60, plain=True), "means nothing without TLS"),
        (Said(back_ends=("api.example", "https://b.example")), "'https://b.example' is no host"),
        (Said(back_ends=("*",)), "'\\*' is no host"),
        (Said(back_ends=("169.254.169.254",)), "is no host"),
    ],
)
def test_what_cannot_hold_together_is_refused_with_the_next_step(said: Said, cause: str) -> None:
    with pytest.raises(UsageError, match=cause) as refusal:
        told(Settings(), said)
    assert refusal.value.hint


def test_back_ends_are_said_anew_as_a_whole() -> None:
    known = told(Settings(), Said(back_ends=("API.example:443", "b.example:8443")))
    assert told(known, Said(port=9000)).back_ends == ("api.example", "b.example:8443")
    assert told(known, Said(back_ends=())).back_ends == ()


def test_settings_that_were_edited_by_hand_are_checked_too() -> None:
    with pytest.raises(UsageError, match="in the open"):
        check(Settings(host="0.0.0.0"))


def test_settings_survive_and_older_ones_are_read(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    assert load(home) == Settings()
    save(home, told(SECURE, Said(host="::", trusted_hops=2)))
    assert load(home) == told(SECURE, Said(host="::", trusted_hops=2))
    home.settings.write_bytes(msgspec.json.encode({"port": 9000, "builds": 2, "data": []}))
    assert load(home) == Settings(port=9000)


def test_a_collector_is_remembered_told_to_the_gateway_and_forgotten() -> None:
    known = told(Settings(), Said(traces="http://127.0.0.1:4318"))
    assert told(known, Said(port=9000)).edge.traces == Collector("127.0.0.1", 4318)
    assert told(known, Said(traces="")).edge.traces is None


@pytest.mark.parametrize(
    ("url", "posted_to"),
    [
        ("http://collector:4318", "http://collector:4318/v1/traces"),
        ("https://traces.example/otlp/", "https://traces.example:443/otlp/v1/traces"),
        ("http://[::1]:4318/", "http://[::1]:4318/v1/traces"),
    ],
)
def test_spans_are_posted_where_otlp_says(url: str, posted_to: str) -> None:
    assert collector(url).url == posted_to


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:4318",
        "grpc://c:4317",
        "http://",
        "http://c:x",
        "http://c:0",
        "http://c:99999",
        "http://[::1",
        "/c",
        "http://c/%0d",
        "http://me:secret@c",
        "http://c?key=secret",
        "http://c/#secret",
        "http://c,secret",
        "http://a..b",
        f"http://{'a' * 64}",
    ],
)
def test_what_is_no_address_of_a_collector_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(UsageError, match="--traces") as refusal:
        told(Settings(), Said(traces=url))
    assert "secret" not in f"{refusal.value} {refusal.value.hint}"
