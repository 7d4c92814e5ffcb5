"""A certificate and its private key, before Envoy is told of them: is this a pair that callers can be shown?"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from mawasu.errors import PlatformError
from mawasu.words import Value

if TYPE_CHECKING:
    from cryptography.x509 import Certificate as Leaf

CURVES = ("secp256r1", "secp384r1", "secp521r1")
LEAST_RSA = 2048  # bits; Envoy refuses a shorter one
SOON = 7 * 86400.0  # seconds; certbot and cert-manager renew weeks before the end


class Files(Value, frozen=True):
    """Where a certificate (PEM, followed by its chain) and its private key (PEM) are kept; absolute paths."""

    certificate: str
    key: str


class Certificate(Value, frozen=True):
    """What callers are shown: the names it is good for, and until when (Unix time)."""

    names: tuple[str, ...]
    until: float

    def says(self, now: float) -> str | None:
        """What its owner should know of its end."""
        day = datetime.datetime.fromtimestamp(self.until, datetime.UTC).date()
        if now >= self.until:
            return f"the certificate that is served ended on {day}: callers refuse it — renew it"
        if now >= self.until - SOON:
            return f"the certificate that is served ends on {day} — does its renewal work?"
        return None


def examine(files: Files, chain: bytes, key: bytes, now: float) -> Certificate:
    """The certificate, if the pair is good at `now`. Raises PlatformError that names the file, the cause, the mend."""
    leaf = _leaf(files, chain)
    if leaf.public_key() != _public_half(files, key):
        raise PlatformError(
            f"{files.key} is not the private key of {files.certificate}", "put both of one renewal in place"
        )
    begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if now < begin.timestamp():
        raise PlatformError(
            f"{files.certificate} is not valid before {begin:%Y-%m-%d %H:%M} UTC", "is the clock right?"
        )
    if now >= end.timestamp():
        raise PlatformError(f"{files.certificate} ended on {end:%Y-%m-%d}", "renew it")
    return Certificate(_names(leaf), end.timestamp())


def served(chain: bytes) -> Certificate:
    """What a chain says that was found good before. Raises ValueError."""
    from cryptography.x509 import load_pem_x509_certificates

    leaf = load_pem_x509_certificates(chain)[0]
    return Certificate(_names(leaf), leaf.not_valid_after_utc.timestamp())


def _leaf(files: Files, chain: bytes) -> Leaf:
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(chain)[0]
    except ValueError as error:
        hint = "give PEM: the server's own certificate, then its chain (certbot: fullchain.pem)"
        raise PlatformError(f"{files.certificate} holds no certificate that can be read", hint) from error


def _public_half(files: Files, key: bytes) -> object:
    """Raises PlatformError for what Envoy would not take either."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        private = load_pem_private_key(key, password=None)
    except TypeError as error:
        hint = "keep it without one, in a file that only mawasu's user can read"
        raise PlatformError(f"the private key in {files.key} is locked with a passphrase", hint) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise PlatformError(f"{files.key} holds no private key that can be read", "give it as PEM") from error
    good = (
        isinstance(private, ed25519.Ed25519PrivateKey)
        or (isinstance(private, rsa.RSAPrivateKey) and private.key_size >= LEAST_RSA)
        or (isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name in CURVES)
    )
    if not good:
        hint = f"make one for ECDSA on P-256, or for RSA of {LEAST_RSA} bits or more"
        raise PlatformError(f"the private key in {files.key} is of a kind that Envoy does not serve with", hint)
    return private.public_key()


def _names(leaf: Leaf) -> tuple[str, ...]:
    from cryptography.x509 import DNSName, ExtensionNotFound, IPAddress, SubjectAlternativeName

    try:
        names = leaf.extensions.get_extension_for_class(SubjectAlternativeName).value
    except ExtensionNotFound:
        return ()
    return (*names.get_values_for_type(DNSName), *map(str, names.get_values_for_type(IPAddress)))
