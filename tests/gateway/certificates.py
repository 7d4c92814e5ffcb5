"""Certificates as their owners have them: an authority of the test's own, pairs by name and time, good ones and bad."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from mawasu.gateway.certificate import Files

DAY = 86400.0
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


class Authority:
    """Signs certificates; `context()` is a client that trusts it and nobody else."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "the test's authority")])
        basic = x509.BasicConstraints(ca=True, path_length=None)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        own = self._builder(self._name, self._key, 0, 30).add_extension(basic, critical=True)
        self._own = own.add_extension(usage, critical=True).sign(self._key, hashes.SHA256())

    def pair(
        self,
        name: str = "localhost",
        key: Key | None = None,
        begins: float = -1,
        ends: float = 30,
        staple: bool = False,
    ) -> tuple[bytes, bytes]:
        """A certificate for a name and its key, both PEM; it begins and ends so many days from now.

        `staple`: it says that servers must bring word of it from the authority too (RFC 7633).
        """
        key = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName([x509.DNSName(name), x509.DNSName(f"*.{name}")])
        made = self._builder(subject, key, begins, ends).add_extension(names, critical=False)
        if staple:
            made = made.add_extension(x509.TLSFeature([x509.TLSFeatureType.status_request]), critical=False)
        signed = made.sign(self._key, hashes.SHA256())
        return signed.public_bytes(Encoding.PEM), pem(key)

    def context(self, *alpn: str) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self._own.public_bytes(Encoding.PEM).decode())
        context.set_alpn_protocols(list(alpn or ("http/1.1",)))
        return context

    def _builder(self, subject: x509.Name, key: Key, begins: float, ends: float) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=begins))
            .not_valid_after(now + datetime.timedelta(days=ends))
        )


def pem(key: Key, passphrase: bytes | None = None) -> bytes:
    locked = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked)


def put(directory: Path, pair: tuple[bytes, bytes]) -> Files:
    """The pair in two plain files, the key for its owner alone."""
    directory.mkdir(exist_ok=True)
    certificate, key = directory / "fullchain.pem", directory / "privkey.pem"
    certificate.write_bytes(pair[0])
    key.touch(mode=0o600)
    key.write_bytes(pair[1])
    return Files(str(certificate), str(key))
