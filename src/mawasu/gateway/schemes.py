"""Security schemes: `apiKey` for mawasu's own keys, `http bearer` and `oauth2` for JWTs, with Google's extensions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from mawasu.gateway.document import Document, Path, kind_of, nearest
from mawasu.gateway.forms import KeyScheme, Place, Scheme, TokenScheme
from mawasu.gateway.outside import host_fault

KEY_PLACES = (Place("header", "x-api-key"), Place("query", "key"), Place("query", "api_key"))
TOKEN_PLACES = (
    Place("header", "authorization", "Bearer "),
    Place("header", "x-goog-iap-jwt-assertion"),
    Place("query", "access_token"),
)
ISSUER, JWKS_URI, AUDIENCES, LOCATIONS = (
    "x-google-issuer",
    "x-google-jwks_uri",
    "x-google-audiences",
    "x-google-jwt-locations",
)
INLINE = "x-mawasu-jwks"
OURS = "mawasu"
"""The issuer of API keys: no document may claim it."""

KINDS = ("RSA", "EC", "OKP")
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "k", "oth"})  # RFC 7518, 6.2.2, 6.3.2, 6.4.1


def parse_scheme(doc: Document, name: str, value: Any, at: Path) -> Scheme | None:
    """One entry of `components.securitySchemes`; None (and faults) when the gateway cannot hold what it asks."""
    value, at = doc.resolve(value, at)
    body = doc.mapping(value, at)
    kind = body.get("type")
    if kind == "apiKey":
        return _key_scheme(doc, name, body, at)
    if kind == "oauth2" or (kind == "http" and str(body.get("scheme", "")).lower() == "bearer"):
        return _token_scheme(doc, name, body, at)
    said = f"http {body.get('scheme')}" if kind == "http" else kind_of(kind)
    known = "apiKey, http with scheme bearer, or oauth2"
    hint = "; for OpenID Connect use http bearer with x-google-issuer" if kind == "openIdConnect" else ""
    doc.fault((*at, "type"), f"expected {known}, found {said}{hint}")
    return None


def _key_scheme(doc: Document, name: str, body: Mapping[str, Any], at: Path) -> KeyScheme | None:
    if "in" not in body and "name" not in body:
        return KeyScheme(name, KEY_PLACES)
    where = body.get("in")
    field = doc.text(body.get("name"), (*at, "name"))
    if where not in ("header", "query"):
        doc.fault((*at, "in"), f"expected header or query, found {kind_of(where)}")
        return None
    return KeyScheme(name, (_place(doc, where, field, "", (*at, "name")),))


def _place(doc: Document, kind: str, name: str, prefix: str, at: Path) -> Place:
    if kind == "header":
        if "_" in name:
            doc.fault(at, f"header names with an underscore are refused at the gateway, found {name!r}")
        elif not all(char.isascii() and (char.isalnum() or char in "!#$%&'*+-.^`|~") for char in name):
            doc.fault(at, f"{name!r} is not a header name")  # RFC 9110, 5.6.2: token
        name = name.lower()
    return Place(kind, name, prefix)


def _token_scheme(doc: Document, name: str, body: Mapping[str, Any], at: Path) -> TokenScheme | None:
    issuer = doc.text(body.get(ISSUER), (*at, ISSUER))
    if issuer == OURS:
        doc.fault((*at, ISSUER), f"{OURS!r} is the issuer of API keys; use type: apiKey for them")
    return TokenScheme(
        name=name,
        issuer=issuer,
        audiences=_audiences(doc, body.get(AUDIENCES), (*at, AUDIENCES)),
        places=_locations(doc, body[LOCATIONS], (*at, LOCATIONS)) if LOCATIONS in body else TOKEN_PLACES,
        jwks_uri=_jwks_uri(doc, body, at),
        jwks=_inline_jwks(doc, body[INLINE], (*at, INLINE)) if INLINE in body else "",
    )


def _audiences(doc: Document, value: Any, at: Path) -> tuple[str, ...]:
    """A comma list (Google) or a list. Never empty: a token made for somebody else must not open this API."""
    if isinstance(value, list):
        parts = [doc.text(item, (*at, index)) for index, item in enumerate(value)]
    elif isinstance(value, str):
        parts = [part.strip() for part in value.split(",")]
    else:
        doc.fault(at, f"expected the audiences this API accepts (a, b), found {kind_of(value)}")
        return ()
    if not any(parts):
        doc.fault(at, "names no audience")
    return tuple(part for part in parts if part)


def _jwks_uri(doc: Document, body: Mapping[str, Any], at: Path) -> str:
    if (JWKS_URI in body) == (INLINE in body):
        both = "both stand here" if INLINE in body else "neither stands here"
        doc.fault(at, f"expected {JWKS_URI} (https) or {INLINE} (the key set itself); {both}")
        return ""
    if JWKS_URI not in body:
        return ""
    uri = doc.text(body[JWKS_URI], (*at, JWKS_URI))
    if not uri:
        return ""
    try:
        parts = urlsplit(uri)
        fine = parts.scheme == "https" and bool(parts.hostname) and not parts.username and parts.port != 0
    except ValueError:
        fine = False
    if not fine or any(char.isspace() for char in uri):
        doc.fault((*at, JWKS_URI), f"expected an https URL, found {uri!r}")
    elif wrong := host_fault(urlsplit(uri).hostname or ""):
        doc.fault((*at, JWKS_URI), wrong)
    return uri


def _inline_jwks(doc: Document, value: Any, at: Path) -> str:
    """A JWK Set (RFC 7517, 5) of public, asymmetric keys: what stands in git must not be able to sign."""
    keys = doc.mapping(value, at).get("keys")
    if not isinstance(keys, list) or not keys:
        doc.fault((*at, "keys"), f"expected a list of JWKs, found {kind_of(keys)}")
        return ""
    for index, key in enumerate(keys):
        here = (*at, "keys", index)
        jwk = doc.mapping(key, here)
        private = sorted(_PRIVATE & jwk.keys())
        for member in private:
            doc.fault((*here, member), "is part of a private key: remove it here and replace the key at its issuer")
        if not private:
            _check_key(doc, dict(jwk), here)
    try:
        return json.dumps({"keys": keys}, sort_keys=True)
    except (TypeError, ValueError):
        doc.fault(at, "holds values that JSON does not have")
        return ""


def _check_key(doc: Document, jwk: dict[str, Any], at: Path) -> None:
    """Envoy would refuse every site's update for the sake of one bad key, so it is found here."""
    if wrong := fault_of_key(jwk):
        doc.fault((*at, "kty") if jwk.get("kty") not in KINDS else at, wrong)


def fault_of_key(jwk: Mapping[str, Any]) -> str:
    """What keeps a JWK from being a public key that verifies tokens; "" for nothing."""
    from joserfc.errors import JoseError
    from joserfc.jwk import import_key

    if jwk.get("kty") not in KINDS:
        return f"expected RSA, EC or OKP, found {kind_of(jwk.get('kty'))}"
    try:
        _ = import_key(dict(jwk)).public_key
    except (JoseError, ValueError, TypeError, KeyError) as error:
        return f"is not a valid public key: {str(error).splitlines()[0] if str(error) else 'malformed'}"
    return ""


def _locations(doc: Document, value: Any, at: Path) -> tuple[Place, ...]:
    """`x-google-jwt-locations`: a list of `header` (with `value_prefix`), `query` or `cookie`."""
    if not isinstance(value, list) or not value:
        doc.fault(at, f"expected a list of places, found {kind_of(value)}")
        return ()
    places: list[Place] = []
    for index, item in enumerate(value):
        here = (*at, index)
        body = doc.mapping(item, here)
        kinds = [kind for kind in ("header", "query", "cookie") if kind in body]
        for key in body.keys() - {"header", "query", "cookie", "value_prefix"}:
            doc.fault((*here, key), f"unknown key{nearest(key, ('header', 'query', 'cookie', 'value_prefix'))}")
        if len(kinds) != 1 or ("value_prefix" in body and kinds != ["header"]):
            doc.fault(here, "expected one of header (with value_prefix), query, cookie")
            continue
        name = doc.text(body[kinds[0]], (*here, kinds[0]))
        prefix = body.get("value_prefix", "")
        if not isinstance(prefix, str):
            doc.fault((*here, "value_prefix"), f"expected text, found {kind_of(prefix)}")
            prefix = ""
        places.append(_place(doc, kinds[0], name, prefix, (*here, kinds[0])))
    return tuple(places)
