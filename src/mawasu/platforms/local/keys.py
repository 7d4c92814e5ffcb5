"""API keys: a key is a token signed with a key pair of its own, of which only the public half is kept.

See decisions/0004-keys-are-tokens.md. Whoever reads `home.keys` can call nothing.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mawasu.errors import CorruptError, UsageError
from mawasu.gateway.credentials import KID
from mawasu.gateway.schemes import OURS
from mawasu.home import Home
from mawasu.platforms.local.files import replace
from mawasu.store.durable import sync_directory
from mawasu.words import PublicKey

_GRANT = re.compile(r"\*|(\*|[a-z0-9][a-z0-9._-]*)/(\*|[a-z0-9][a-z0-9._-]*)")
_CONSUMER = re.compile(r"[A-Za-z0-9][A-Za-z0-9 @._+:-]{0,63}")


class KeyRing:
    """The public halves, one file each in `home.keys`."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def create(self, consumer: str, grants: Sequence[str], expires: float | None = None) -> tuple[PublicKey, str]:
        """Make a key that opens `grants` (`feature/environment`, either side may be `*`; `*` is everything).

        Returns the public half and the token: the only time it is seen. `expires`: seconds since the epoch.
        The gateway takes the key from its next `refresh_keys` on. Raises UsageError.
        """
        now = time.time()
        _check(consumer, grants, expires, now)
        token, jwk, name = _sign(consumer, grants, expires)
        key = PublicKey(name, consumer, jwk, tuple(dict.fromkeys(grants)), now, expires)
        self._home.create()
        self._home.keys.mkdir(mode=0o700, exist_ok=True)
        replace(self._path(name), msgspec.json.encode(key) + b"\n")
        return key, token

    def list(self) -> Sequence[PublicKey]:
        """All keys that were not revoked, the oldest first; expired ones too. Raises CorruptError."""
        keys = [self._read(path) for path in self._home.keys.glob("*.json") if not path.name.startswith(".")]
        return sorted(keys, key=lambda key: (key.created, key.id))

    def revoke(self, name: str) -> PublicKey:
        """Forget the public half: after the next `refresh_keys` its token opens nothing. Raises UsageError."""
        found = [key for key in self.list() if key.id == name]
        if not found:
            raise UsageError(f"there is no API key {name!r}", "`mawasu keys list` shows all")
        self._path(name).unlink(missing_ok=True)
        sync_directory(self._home.keys)
        return found[0]

    def _path(self, name: str) -> Path:
        return self._home.keys / f"{name}.json"

    @staticmethod
    def _read(path: Path) -> PublicKey:
        try:
            key = msgspec.json.decode(path.read_bytes(), type=PublicKey)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise CorruptError(f"{path} is not an API key: {error}", "restore it, or remove it to revoke it") from error
        if key.id != path.stem:
            raise CorruptError(f"{path} holds the API key {key.id!r}", "restore it, or remove it to revoke it")
        return key


def _check(consumer: str, grants: Sequence[str], expires: float | None, now: float) -> None:
    if not _CONSUMER.fullmatch(consumer):
        raise UsageError(f"{consumer!r} is no name for a consumer", "1 to 64 letters, digits, spaces and @ . _ + : -")
    if not grants:
        raise UsageError("a key must open something", "grant it feature/environment, or '*'")
    for grant in grants:
        if not _GRANT.fullmatch(grant):
            raise UsageError(f"{grant!r} is no grant", "expected feature/environment, either side may be '*'")
    if expires is not None and not expires > now:
        raise UsageError("the key would have expired already", "expires is in seconds since the epoch")


def _sign(consumer: str, grants: Sequence[str], expires: float | None) -> tuple[str, Mapping[str, str], str]:
    """A fresh pair: the token (RFC 7515, compact, ES256 as of RFC 7518, 3.4), the public JWK, its kid.

    The private half lives in this function only.
    """
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    name = f"mk{secrets.token_hex(5)}"
    assert KID.fullmatch(name)
    claims: dict[str, Any] = {"iss": OURS, "sub": consumer, "aud": list(dict.fromkeys(grants))}
    if expires is not None:
        claims["exp"] = int(expires)
    signed = b".".join(_base64(_json(part)) for part in ({"alg": "ES256", "kid": name}, claims))
    private = ec.generate_private_key(ec.SECP256R1())
    r, s = utils.decode_dss_signature(private.sign(signed, ec.ECDSA(hashes.SHA256())))
    token = signed + b"." + _base64(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
    public = private.public_key().public_numbers()
    point = {axis: _base64(value.to_bytes(32, "big")).decode() for axis, value in (("x", public.x), ("y", public.y))}
    return token.decode(), {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", **point}, name


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
