"""Which pairs of certificate and key are good enough to be shown, and what is said of the others."""

from __future__ import annotations

import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from mawasu.errors import PlatformError
from mawasu.gateway.certificate import SOON, Certificate, Files, examine
from tests.gateway.certificates import DAY, Authority, pem

HERE = Files("/c.pem", "/k.pem")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def test_pairs_that_cannot_be_shown_are_refused_with_file_and_cause(authority: Authority) -> None:
    now = time.time()
    chain, key = authority.pair()
    curve, short = ec.generate_private_key(ec.SECP256K1()), rsa.generate_private_key(65537, 1024)
    locked = pem(ec.generate_private_key(ec.SECP256R1()), b"secret")
    for pair, said in (
        ((b"", key), "/c.pem holds no certificate"),
        ((chain, b""), "/k.pem holds no private key"),
        ((key, chain), "/c.pem holds no certificate"),
        ((chain, locked), "/k.pem is locked with a passphrase"),
        ((chain, authority.pair()[1]), "/k.pem is not the private key of /c.pem"),
        (authority.pair(begins=1), "/c.pem is not valid before"),
        (authority.pair(begins=-9, ends=-1), "/c.pem ended on"),
        (authority.pair(key=short), "a kind that Envoy does not serve with"),
        (authority.pair(key=curve), "a kind that Envoy does not serve with"),
    ):
        with pytest.raises(PlatformError, match=said) as refusal:
            examine(HERE, *pair, now)
        assert refusal.value.hint


def test_a_certificate_tells_its_names_and_speaks_up_before_its_end(authority: Authority) -> None:
    now = time.time()
    certificate = examine(HERE, *authority.pair("api.example.com", ends=30), now)
    assert certificate.names == ("api.example.com", "*.api.example.com")
    assert certificate.says(now) is None
    assert "does its renewal work" in (certificate.says(now + 30 * DAY - SOON + 10) or "")
    assert "callers refuse it" in (certificate.says(now + 31 * DAY) or "")
    assert Certificate((), now + 1).says(now) is not None
