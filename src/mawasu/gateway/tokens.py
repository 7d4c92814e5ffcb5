"""API keys: a key is a token signed with a key pair of its own, of which only the public half is kept.

See decisions/0004-keys-are-tokens.md. Where the public halves are kept is a platform's business; whoever reads them can
call nothing.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mawasu.errors import CorruptError, UsageError
from mawasu.gateway.credentials import KID
from mawasu.gateway.schemes import OURS
from mawasu.words import PublicKey

_GRANT = re.compile(r"\*|(\*|[a-z0-9][a-z0-9._-]*)/(\*|[a-z0-9][a-z0-9._-]*)")
_CONSUMER = re.compile(r"[A-Za-z0-9][A-Za-z0-9 @._+:-]{0,63}")
_DECODER = msgspec.json.Decoder(PublicKey)
_REMOVE = "restore it, or remove it to revoke it"


def make(consumer: str, grants: Sequence[str], now: float, expires: float | None = None) -> tuple[PublicKey, str]:
    """A key that opens `grants` (`feature/environment`, either side may be `*`; `*` is everything), and its token.

    The token is seen here and never again. Times are in seconds since the epoch. Raises UsageError.
    """
    _check(consumer, grants, expires, now)
    token, jwk, name = _sign(consumer, grants, expires)
    return PublicKey(name, consumer, jwk, tuple(dict.fromkeys(grants)), now, expires), token


def renewed(old: PublicKey, now: float) -> float | None:
    """When a key that replaces `old` expires: it lives as long as the old one was meant to. Raises UsageError."""
    if old.replaced:
        cause = f"the API key {old.id!r} was replaced already"
        raise UsageError(cause, "rotate the one that replaced it (`mawasu keys list`), or create another")
    if old.expires is None:
        return None
    if not valid(old, now):
        raise UsageError(f"the API key {old.id!r} has expired", "create another")
    return now + old.expires - old.created


def ending(old: PublicKey, at: float) -> PublicKey:
    """A key that is valid no longer than until then. Its token does not say so: the key set must lose it in time."""
    return msgspec.structs.replace(old, expires=min(at, old.expires or at), replaced=True)


def valid(key: PublicKey, now: float) -> bool:
    return key.expires is None or key.expires > now


def encode(key: PublicKey) -> bytes:
    """A public half as it is kept."""
    return msgspec.json.encode(key) + b"\n"


def decode(data: bytes, name: str, place: str) -> PublicKey:
    """A public half that was kept as `name`; `place` is for messages. Raises CorruptError."""
    try:
        key = _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptError(f"{place} is not an API key: {error}", _REMOVE) from error
    if key.id != name:
        raise CorruptError(f"{place} holds the API key {key.id!r}", _REMOVE)
    return key


def opens(key: PublicKey, feature: str, now: float) -> bool:
    """Whether a key opens anything of a feature."""
    return valid(key, now) and any(grant.partition("/")[0] in ("*", feature) for grant in key.grants)


def unknown(name: str) -> UsageError:
    return UsageError(f"there is no API key {name!r}", "`mawasu keys list` shows all")


def _check(consumer: str, grants: Sequence[str], expires: float | None, now: float) -> None:
    if not _CONSUMER.fullmatch(consumer):
        raise UsageError(f"{consumer!r} is no name for a consumer", "1 to 64 letters, digits, spaces and @ . _ + : -")
    if not grants:
        raise UsageError("a key must open something", "grant it feature/environment, or '*'")
    for grant in grants:
        if not _GRANT.fullmatch(grant):
            raise UsageError(f"{grant!r} is no grant", "expected feature/environment, either side may be '*'")
    if expires is not None and not expires > now:
        raise UsageError("the key would have expired already", "give it a time to live: `--expires-in` is in days")


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
