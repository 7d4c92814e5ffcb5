"""What a request's credentials must look like before any of them is verified (an RBAC filter of Envoy, per route)."""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Sequence
from typing import Any

from mawasu.gateway.authn import TYPE
from mawasu.gateway.forms import KeyScheme, Place, Scheme

Dict = dict[str, Any]

FILTER = "mawasu.credentials"
TWO, MALFORMED = "two credentials", "malformed key"

KID = re.compile(r"mk[0-9a-f]{10}")
"""The id of an API key, as it stands in its token's header."""

_START = base64.urlsafe_b64encode(b'{"alg":"ES256","kid":"mk').decode()
KEY_SHAPE = rf"{_START}[A-Za-z0-9_-]{{16}}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"
"""An API key. Its header names a key id for certain, by being written in one way only: Envoy tries a token that names
none against every key there is, and with thousands of them one such request would hold a worker for a second."""


def is_shaped(text: str) -> bool:
    """Whether it looks like an API key."""
    return re.fullmatch(KEY_SHAPE, text) is not None


def rules(schemes: Sequence[Scheme]) -> Dict | None:
    """The filter's configuration for a route that asks for these schemes; None when there is nothing to refuse."""
    policies = {
        name: {"permissions": permissions, "principals": [{"any": True}]}
        for name, permissions in ((TWO, _two(schemes)), (MALFORMED, _malformed(schemes)))
        if permissions
    }
    if not policies:
        return None
    body = {"rules": {"action": "DENY", "policies": policies}}
    return {"@type": f"{TYPE}extensions.filters.http.rbac.v3.RBACPerRoute", "rbac": body}


def _two(schemes: Sequence[Scheme]) -> list[Dict]:
    """Two credentials of one scheme: which one the caller meant is not the gateway's to choose.

    A token and a key are two schemes, and may come together.
    """
    places = dict.fromkeys(place for scheme in schemes for place in scheme.places)
    pairs = dict.fromkeys(pair for scheme in schemes for pair in itertools.combinations(scheme.places, 2))
    both: list[Dict] = [{"and_rules": {"rules": [_present(one), _present(other)]}} for one, other in pairs]
    return both + [_twice(place) for place in places if place.kind != "cookie"]


def _malformed(schemes: Sequence[Scheme]) -> list[Dict]:
    places = dict.fromkeys(place for scheme in schemes if isinstance(scheme, KeyScheme) for place in scheme.places)
    return [{"and_rules": {"rules": [_present(place), {"not_rule": _shaped(place)}]}} for place in places]


def _present(place: Place) -> Dict:
    if place.kind == "query":
        return _query(rf"[^?]*\?(.*&)?{_name(place)}=.*")
    if place.kind == "cookie":
        return _matches("cookie", rf"(.*; *)?{re.escape(place.name)}=.*")
    here = {"string_match": {"prefix": place.prefix}} if place.prefix else {"present_match": True}
    return {"header": {"name": place.name, **here}}


def _shaped(place: Place) -> Dict:
    if place.kind == "query":
        return _matches(":path", rf"[^?]*\?(.*&)?{_name(place)}={KEY_SHAPE}(&.*)?")
    return _matches(place.name, rf"{re.escape(place.prefix)}{KEY_SHAPE}")


def _twice(place: Place) -> Dict:
    if place.kind == "query":
        return _query(rf"[^?]*\?(.*&)?{_name(place)}=.*&{_name(place)}=.*")
    # Repeated fields are joined by a comma (RFC 9110, 5.3).
    return {"header": {"name": place.name, "string_match": {"contains": ","}}}


def _query(regex: str) -> Dict:
    """Of the path with its query. Most requests have none, and looking for `?` costs less than an expression."""
    has_one = {"header": {"name": ":path", "string_match": {"contains": "?"}}}
    return {"and_rules": {"rules": [has_one, _matches(":path", regex)]}}


def _name(place: Place) -> str:
    """A query parameter's name, each character as it is or percent-encoded: Envoy decodes before it looks."""
    return "".join(f"(?:{re.escape(char)}|{_encoded(char)})" for char in place.name)


def _encoded(char: str) -> str:
    return "".join(f"%(?i:{byte:02x})" for byte in char.encode())


def _matches(header: str, regex: str) -> Dict:
    return {"header": {"name": header, "string_match": {"safe_regex": {"regex": regex}}}}
