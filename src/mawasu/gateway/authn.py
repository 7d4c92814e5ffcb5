"""Schemes and requirements → providers and requirements of Envoy's `jwt_authn` filter.

Source of shapes: envoy.extensions.filters.http.jwt_authn.v3. Names are content addresses, so that while a document
is replaced the old and the new policy can stand side by side; only the key set of API keys changes under one name.
API keys have one provider for all sites, for Envoy reads the whole key set once for each; what a key opens is
asked afterwards (`claims.py`). See decisions/0020-many-keys.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from mawasu.gateway import clusters
from mawasu.gateway.forms import KeyScheme, Operation, Place, Scheme, Served, TokenScheme
from mawasu.gateway.schemes import OURS, fault_of_key
from mawasu.words import PublicKey, digest_of_value

Dict = dict[str, Any]

TYPE = "type.googleapis.com/envoy."
FILTER = "mawasu.authn"
METADATA = "envoy.filters.http.jwt_authn"
"""The filter writes its dynamic metadata under this name, whatever the filter is called."""

KEY, TOKEN = "key", "token"
"""In that metadata: the claims of the API key, and of the token."""

USER_INFO = "x-endpoint-api-userinfo"
CONSUMER = "x-mawasu-consumer"
SKEW = 1
"""Seconds. 0 would mean Envoy's default of 60."""

CACHE = {"jwt_cache_size": 1_000}
KEY_CACHE = {"jwt_cache_size": 10_000}
"""Tokens whose signature each worker remembers, some 6 KB each; of API keys more, for they come again and again.
Only where the set is told to Envoy: another set is another filter with an empty memory, whereas a token would be
remembered longer than a key that its issuer rotated out."""

KEPT = 300
"""Seconds until a key set is fetched again: how long a key that its issuer took out still opens doors."""
AGAIN = 5
"""Seconds until it is tried again when that failed; what was fetched last goes on until then."""
FROM = "x-mawasu-from"
"""A member of a set that is a copy: where the set is published. Verifiers leave it alone (RFC 7517, 5)."""

NOBODY = {
    "kty": "EC",
    "crv": "P-256",
    "alg": "ES256",
    "kid": "nobody",
    "x": "Haolkt-lHH8985dTj6UVTFP9LxNUg9TA_Z7Lwy-BbYo",
    "y": "ex8ncFrwn9-bvWwJFPcIQBpZLNhTGGth1ibIzApB5KM",
}
"""Envoy refuses an empty key set, so where there are no keys stands one whose private half nobody can know: its x is
the SHA-256 of "mawasu: nobody's key 0" (a test derives it)."""


def digest(value: Any) -> str:
    return digest_of_value(value).removeprefix("sha256:")[:16]


def grants_for(feature: str, environment: str) -> list[str]:
    """The audiences of API keys that open one site."""
    return [f"{feature}/{environment}", f"{feature}/*", f"*/{environment}", "*/*", "*"]


def key_set(keys: Iterable[PublicKey]) -> str:
    """All public halves as one JWK Set, without what no verifier looks at: each member costs it time."""
    jwks = [
        {**{name: value for name, value in key.jwk.items() if name != "use"}, "kid": key.id}
        for key in sorted(keys, key=lambda key: key.id)
    ]
    return msgspec.json.encode({"keys": jwks or [NOBODY]}).decode()


def provider(served: Served, scheme: Scheme, keys: str) -> tuple[str, Dict]:
    """The name and body of what verifies one scheme. `keys`: the file that holds the key set of API keys."""
    common: Dict = {
        "clock_skew_seconds": SKEW,
        "from_headers": [_header(place) for place in scheme.places if place.kind == "header"],
        "from_params": [place.name for place in scheme.places if place.kind == "query"],
        "from_cookies": [place.name for place in scheme.places if place.kind == "cookie"],
        "forward_payload_header": USER_INFO,
    }
    if isinstance(scheme, KeyScheme):
        body = common | {
            "issuer": OURS,
            "forward": False,  # a back end learns who calls, never what opens the door
            "payload_in_metadata": KEY,
            "failed_status_in_metadata": "key failure",
            "claim_to_headers": [{"claim_name": "sub", "header_name": CONSUMER}],
        }
        return f"key:{digest(body)}", body | {"local_jwks": {"filename": keys}, "jwt_cache_config": KEY_CACHE}
    body = common | {
        "issuer": scheme.issuer,
        "audiences": list(scheme.audiences),
        "header_in_metadata": "header",
        **({"payload_in_metadata": TOKEN} if _reads_claims(served) else {}),
        "forward": True,  # as ESPv2: a back end may call others in its caller's name
        "require_expiration": True,
        **_jwks_source(scheme),
    }
    return f"token:{served.feature}/{served.environment}:{digest(body)}", body


def _reads_claims(served: Served) -> bool:
    """Whether anything behind the verifier looks at a token's claims: they are copied for every request."""
    return bool(served.api.limits) or (served.split is not None and served.split.unit.kind in ("consumer", "claim"))


def _header(place: Place) -> Dict:
    return {"name": place.name, "value_prefix": place.prefix} if place.prefix else {"name": place.name}


def _jwks_source(scheme: TokenScheme) -> Dict:
    if scheme.jwks:
        return {"local_jwks": {"inline_string": scheme.jwks}, "jwt_cache_config": CACHE}
    return _fetched(scheme.jwks_uri)


def _fetched(uri: str) -> Dict:
    return {
        "remote_jwks": {
            "http_uri": {"uri": uri, "cluster": jwks_cluster_name(uri), "timeout": "5s"},
            "cache_duration": f"{KEPT}s",
            # Fetched before the policy takes effect, and kept while the issuer is away.
            "async_fetch": {"fast_listener": True, "failed_refetch_duration": f"{AGAIN}s"},
        }
    }


def published_at(provider: Dict) -> str:
    """Where the key set of a provider is published; "" for API keys, and for a set that stands in a document."""
    if "remote_jwks" in provider:
        return str(provider["remote_jwks"]["http_uri"]["uri"])
    inline = provider["local_jwks"].get("inline_string", "")
    return str(json.loads(inline).get(FROM, "")) if FROM in inline else ""


def with_copy(provider: Dict, copies: Mapping[str, str]) -> Dict:
    """The provider with the copy of its key set, by URI, where there is one; else Envoy fetches it.

    Its name stays. No token is remembered beside a copy, for it is to go as soon as its issuer is back.
    """
    uri = published_at(provider)
    if not uri:
        return provider
    rest = {key: value for key, value in provider.items() if key not in ("remote_jwks", "local_jwks")}
    if uri not in copies:
        return rest | _fetched(uri)
    text = json.dumps({"keys": json.loads(copies[uri])["keys"], FROM: uri}, separators=(",", ":"))
    return rest | {"local_jwks": {"inline_string": text}}


def usable_set(text: str) -> str:
    """The keys of a JWK Set that can verify a token, as JSON; "" when there are none: Envoy would refuse such a set."""
    try:
        keys = json.loads(text)["keys"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    found = [key for key in keys if isinstance(key, dict) and not fault_of_key(key)] if isinstance(keys, list) else []
    return json.dumps({"keys": found}) if found else ""


def jwks_cluster_name(uri: str) -> str:
    return f"jwks:{_authority(uri)}"


def _authority(uri: str) -> str:
    parts = urlsplit(uri)
    return f"{parts.hostname}:{parts.port or 443}"


def jwks_cluster(uri: str, trust: str) -> Dict:
    """Where a key set is fetched from."""
    parts = urlsplit(uri)
    return clusters.by_tls(jwks_cluster_name(uri), parts.hostname or "", parts.port or 443, trust)


def requirement(operation: Operation, names: dict[str, str]) -> tuple[str, Dict] | None:
    """What an operation requires, by the names of its schemes' providers; None when it requires nothing.

    In an AND the tokens come last: each verifier overwrites the identity that the one before it set, and where a
    person's token and a program's key meet, the person is the caller.
    """
    if not any(operation.security):  # `[{}]`: a bad token is nobody's business there
        return None
    # "key:…" before "token:…"
    body = _any_of([sorted(names[scheme] for scheme in alternative) for alternative in operation.security])
    return digest(body), body


def _any_of(alternatives: Sequence[Sequence[str]]) -> Dict:
    """A verified key is taken off the request, so all alternatives that want the same one ask for it together."""
    groups: dict[str, list[Sequence[str]]] = {}
    for one in alternatives:
        key = one[0] if one and one[0].startswith("key:") else ""
        groups.setdefault(key, []).append(one[1:] if key else one)
    found: list[Dict] = []
    for key, rests in groups.items():
        if not key:
            found += [_all_of(rest) for rest in rests]
        elif len(rests) == 1:
            found.append(_all_of([key, *rests[0]]))
        else:
            either = [_all_of(rest) if rest else {"allow_missing_or_failed": {}} for rest in rests]
            found.append({"requires_all": {"requirements": [{"provider_name": key}, _one_of(either)]}})
    return _one_of(found)


def _one_of(requirements: list[Dict]) -> Dict:
    return requirements[0] if len(requirements) == 1 else {"requires_any": {"requirements": requirements}}


def _all_of(providers: Sequence[str]) -> Dict:
    if not providers:
        return {"allow_missing": {}}
    ordered: list[Dict] = [{"provider_name": name} for name in providers]
    return ordered[0] if len(ordered) == 1 else {"requires_all": {"requirements": ordered}}
