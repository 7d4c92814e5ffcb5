"""Splits → routes of Envoy that keep every unit on one revision, and a filter that finds out whose request it is.

Envoy takes the XXH64 of `salt:unit` modulo 10,000 and counts the weights off in their order, the site's own revision
first: so a share that grows takes units from those before it, and gives none back (envoy.config.route.v3,
WeightedCluster.use_hash_policy). See decisions/0018-weighted-sticky-targets.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mawasu.errors import UsageError
from mawasu.gateway.authn import KEY, METADATA, TOKEN, TYPE
from mawasu.gateway.forms import Served
from mawasu.words import Split, Unit

Dict = dict[str, Any]

FILTER = "mawasu.unit"
WHOLE = 10_000
COOKIE = "mawasu-unit"
YEAR = 365 * 24 * 3600

_WHO, _HASHED = "mawasu.who", "mawasu.unit"
"""Filter state of a request: the unit as it was found, and with salt. No header, so no caller can write there."""

_UUID = "([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
_IN_COOKIES = rf"^(?:.*?; *)?{COOKIE}={_UUID}(?: *;.*)?$"
_SALT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")
_NAMES = {
    "consumer": re.compile(""),
    "claim": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"),
    "header": re.compile(r"[a-z0-9][a-z0-9-]{0,63}"),
    "cookie": re.compile(""),
}


def check(split: Split) -> None:
    """Raises UsageError for a split that cannot be held."""
    weights = [share.weight for share in split.shares]
    if not weights or min(weights) < 0 or sum(weights) > WHOLE:
        raise UsageError(f"the shares of a split are {weights}", f"0 and more, together at most {WHOLE}")
    if not _SALT.fullmatch(split.salt):
        raise UsageError(f"{split.salt!r} is no salt", "1 to 128 letters, digits and . _ / -")
    if not _NAMES[split.unit.kind].fullmatch(split.unit.name):
        hint = "a claim, or a header in small letters, has a name; a consumer and a cookie have none"
        raise UsageError(f"{split.unit.name!r} is no name for a unit of kind {split.unit.kind}", hint)


def filter_() -> Dict:
    """Finds the unit and lets Envoy look for the route again. Where a route says nothing of it, it is not there."""
    body = {"@type": f"{TYPE}extensions.filters.http.set_filter_state.v3.Config", "clear_route_cache": True}
    return {"name": FILTER, "disabled": True, "typed_config": body}


def shared(route: Dict, served: Served, clusters: Mapping[str, str], secure: bool) -> list[Dict]:
    """What stands in place of a route to the site's own revision.

    `clusters`: the name of each revision's; `secure`: whether callers come by TLS. Where the unit is verified first,
    the second route is the one that every request begins with, and whoever turns out to have no unit stays with.
    """
    split = served.split
    if split is None:
        return [route]
    targets = _targets(served, split, clusters)
    if split.unit.kind == "cookie":
        known = _with_header(route, "cookie", _IN_COOKIES)
        again = {"header": {"header_name": "cookie", "regex_rewrite": _salted(_IN_COOKIES, split.salt)}}
        first = {"header": {"header_name": "x-request-id", "regex_rewrite": _salted(f"^{_UUID}$", split.salt)}}
        header = {"key": "set-cookie", "value": _set_cookie(served.prefix, secure)}
        new = route | {"response_headers_to_add": [{"header": header}]}
        return [_among(known, targets, again), _among(new, targets, first)]
    finding = {FILTER: _finding(split)}
    route = route | {"typed_per_filter_config": route["typed_per_filter_config"] | finding}
    if split.unit.kind == "header":  # what anybody keeps of the answer is one revision's (RFC 9110, 12.5.5)
        vary = {"header": {"key": "vary", "value": split.unit.name}}
        route = route | {"response_headers_to_add": [vary]}
    has_unit = {"key": _WHO, "string_match": {"safe_regex": {"regex": "(?s).+"}}}
    known = route | {"match": route["match"] | {"filter_state": [has_unit]}}
    return [_among(known, targets, {"filter_state": {"key": _HASHED}}), route]


def _targets(served: Served, split: Split, clusters: Mapping[str, str]) -> list[Dict]:
    own = WHOLE - sum(share.weight for share in split.shares)
    weights = [(served.endpoint, own), *((share.endpoint, share.weight) for share in split.shares)]
    return [{"name": clusters[endpoint.revision], "weight": weight} for endpoint, weight in weights]


def _among(route: Dict, targets: Sequence[Dict], hashed: Dict) -> Dict:
    """The route with its requests shared out by the hash of something."""
    action = {key: value for key, value in route["route"].items() if key != "cluster"}
    weighted = {"clusters": list(targets), "use_hash_policy": True}
    return route | {"route": {"weighted_clusters": weighted, "hash_policy": [hashed], **action}}


def _with_header(route: Dict, name: str, regex: str) -> Dict:
    headers = [*route["match"]["headers"], {"name": name, "string_match": {"safe_regex": {"regex": regex}}}]
    return route | {"match": route["match"] | {"headers": headers}}


def _salted(regex: str, salt: str) -> Dict:
    return {"pattern": {"regex": regex}, "substitution": rf"{salt}:\1"}


def _set_cookie(path: str, secure: bool) -> str:
    """The unit of a browser that has none yet is this request's id, which Envoy made: random, and nobody's."""
    rest = f"Path={path}; Max-Age={YEAR}; HttpOnly; SameSite=Lax"
    return f"{COOKIE}=%REQ(X-REQUEST-ID)%; {rest}" + ("; Secure" if secure else "")


def _finding(split: Split) -> Dict:
    """The filter's rules: of several places where the unit may stand the last one that has it counts."""
    issuer = _verified(TOKEN, "iss") if split.unit.kind in ("consumer", "claim") else ""
    salted = f"{split.salt}:{issuer}:%FILTER_STATE({_WHO}:PLAIN)%"
    rules = [*(_rule(_WHO, place) for place in _places(split.unit)), _rule(_HASHED, salted)]
    return {"@type": f"{TYPE}extensions.filters.http.set_filter_state.v3.Config", "on_request_headers": rules}


def _places(unit: Unit) -> list[str]:
    """Where a person's token and a program's key meet, the person is the caller."""
    if unit.kind == "consumer":
        return [_verified(KEY, "sub"), _verified(TOKEN, "sub")]
    return [_verified(TOKEN, unit.name) if unit.kind == "claim" else f"%REQ({unit.name})%"]


def _verified(part: str, claim: str) -> str:
    return f"%DYNAMIC_METADATA({METADATA}:{part}:{claim})%"


def _rule(key: str, text: str) -> Dict:
    return {
        "object_key": key,
        "factory_key": "envoy.hashable_string",
        "format_string": {"text_format_source": {"inline_string": text}, "omit_empty_values": True},
        "skip_if_empty": True,
    }
