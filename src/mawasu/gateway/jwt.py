"""One token looked at as Envoy's verifier does, with its words (google/jwt_verify_lib, status.cc, jwt.cc, verify.cc).

It only explains: nothing is let in by what is found here. Tests ask Envoy the same.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

MISSING = "Jwt is missing"
NOT_A_JWT = "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"
EXPIRED, EARLY = "Jwt is expired", "Jwt not yet valid"
UNKNOWN_ISSUER = "Jwt issuer is not configured"
BAD_AUDIENCE = "Audiences in Jwt are not allowed"
BAD_SIGNATURE = "Jwt verification fails"
NO_SUCH_KEY = "Jwks doesn't have key to match kid or alg from Jwt"
FAMILIES = {"ES": "EC", "RS": "RSA", "PS": "RSA", "Ed": "OKP"}
"""The `kty` (RFC 7518, 6.1) of keys that can verify an algorithm; HMAC has none, for no secret stands in a document."""

_BASE64 = re.compile(r"[A-Za-z0-9_-]+")
_ALGORITHMS = re.compile(r"(?:ES|HS|RS|PS)(?:256|384|512)|EdDSA")


class Jwt(NamedTuple):
    """A token's parts; `signed` is what `signature` is of."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes

    @property
    def audiences(self) -> list[str]:
        found = self.claims.get("aud", [])
        return [found] if isinstance(found, str) else list(found)


class _BadError(ValueError):
    """Its text is Envoy's message."""


def parse(text: str) -> Jwt | str:
    """The token, or why it is none, in Envoy's words."""
    parts = text.split(".")
    if len(parts) != 3 or not all(parts):
        return NOT_A_JWT
    try:
        header = _object(parts[0], "header")
        _check_header(header)
        claims = _object(parts[1], "payload")
        _check_claims(claims)
        return Jwt(header, claims, f"{parts[0]}.{parts[1]}".encode(), _bytes(parts[2], "signature"))
    except _BadError as error:
        return str(error)


def _object(text: str, part: str) -> Mapping[str, Any]:
    try:
        found = json.loads(_bytes(text, part), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise error if isinstance(error, _BadError) else _BadError(f"Jwt {part} is an invalid JSON") from error
    if not isinstance(found, dict):
        raise _BadError(f"Jwt {part} is an invalid JSON")
    return found


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """What is said twice is refused: two readers could hear different things."""
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a name stands twice")
    return dict(pairs)


def _no_constant(text: str) -> Any:
    raise ValueError(text)


def _bytes(text: str, part: str) -> bytes:
    """Base64url (RFC 4648, 5), padded as it should be or not at all."""
    bare = text.rstrip("=")
    padding = "=" * (-len(bare) % 4)
    if not _BASE64.fullmatch(bare) or len(padding) > 2 or text[len(bare) :] not in ("", padding):
        raise _BadError(f"Jwt {part} is an invalid Base64url encoded")
    return base64.urlsafe_b64decode(bare + padding)


def _check_header(header: Mapping[str, Any]) -> None:
    if not isinstance(header.get("alg"), str):
        raise _BadError("Jwt header [alg] field is required and must be a string")
    if not _ALGORITHMS.fullmatch(header["alg"]):
        raise _BadError("Jwt header [alg] is not supported")
    if not isinstance(header.get("kid", ""), str):
        raise _BadError("Jwt header [kid] field is not a string")


def _check_claims(claims: Mapping[str, Any]) -> None:
    for name in ("iss", "sub"):
        if not isinstance(claims.get(name, ""), str):
            raise _BadError(f"Jwt payload [{name}] field is not a string")
    for name in ("iat", "nbf", "exp"):
        value = claims.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _BadError(f"Jwt payload [{name}] field is not an integer")
        if value < 0:
            raise _BadError(f"Jwt payload [{name}] field is not a positive 64 bit integer")
    if not isinstance(claims.get("jti", ""), str):
        raise _BadError("Jwt payload [jti] field is not a string")
    audience = claims.get("aud", [])
    if not isinstance(audience, str) and not (
        isinstance(audience, list) and all(isinstance(one, str) for one in audience)
    ):
        raise _BadError("Jwt payload [aud] field is not a string or string list")


def fault_of_time(jwt: Jwt, now: float, skew: int) -> str:
    if int(now) + skew < jwt.claims.get("nbf", 0):
        return EARLY
    return EXPIRED if 0 < jwt.claims.get("exp", 0) < int(now) - skew else ""


def fault_of_signature(jwt: Jwt, jwks: str) -> str:
    """`jwks`: a JWK Set (RFC 7517, 5) of public keys, as JSON text."""
    algorithm, kid = jwt.header["alg"], jwt.header.get("kid", "")
    fitting = [
        jwk
        for jwk in json.loads(jwks)["keys"]
        if (not kid or not jwk.get("kid") or jwk["kid"] == kid) and jwk.get("alg", algorithm) == algorithm
    ]
    if not fitting:
        return NO_SUCH_KEY
    return "" if any(_verifies(jwk, jwt) for jwk in fitting) else BAD_SIGNATURE


def _verifies(jwk: Mapping[str, Any], jwt: Jwt) -> bool:
    from joserfc.errors import JoseError
    from joserfc.jwk import import_key
    from joserfc.jws import JWSRegistry

    algorithm = jwt.header["alg"]
    if FAMILIES.get(algorithm[:2]) != jwk["kty"]:
        return False
    try:
        return JWSRegistry.algorithms[algorithm].verify(jwt.signed, jwt.signature, import_key(dict(jwk)))
    except (JoseError, ValueError):
        return False
