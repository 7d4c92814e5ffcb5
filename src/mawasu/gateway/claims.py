"""What a verified token must say before its caller is let through (an RBAC filter of Envoy after the verifier).

The verifier leaves the header and the claims of what it verified in its dynamic metadata; nobody else writes there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mawasu.gateway.authn import METADATA, TYPE, grants_for
from mawasu.gateway.forms import KeyScheme, Scheme, TokenScheme

Dict = dict[str, Any]

FILTER = "mawasu.claims"
CRITICAL, OTHER = "critical header", "key of another API"


def critical() -> Dict:
    """RFC 7515, 4.1.11: a token whose critical header is not understood is refused, and none is understood here."""
    return _policy(_said("header", "crit"))


def deny(policies: Dict) -> Dict:
    return {"action": "DENY", "policies": policies}


def rules_for(feature: str, environment: str, schemes: Sequence[Scheme]) -> Dict | None:
    """For a route of one site that asks for these schemes; None where it asks for none.

    All sites share the verifier of API keys, so here a key is asked whether it opens this one.
    """
    policies: Dict = {}
    if any(isinstance(scheme, TokenScheme) for scheme in schemes):
        policies[CRITICAL] = critical()
    if any(isinstance(scheme, KeyScheme) for scheme in schemes):
        policies[OTHER] = _other(feature, environment)
    if not policies:
        return None
    return {"@type": f"{TYPE}extensions.filters.http.rbac.v3.RBACPerRoute", "rbac": {"rules": deny(policies)}}


def _other(feature: str, environment: str) -> Dict:
    """A key that does not open this site."""
    granted = [{"string_match": {"exact": grant}} for grant in grants_for(feature, environment)]
    opens = _metadata("key", "aud", {"list_match": {"one_of": {"or_match": {"value_matchers": granted}}}})
    return _policy({"and_ids": {"ids": [_said("key", "iss"), {"not_id": opens}]}})


def _policy(who: Dict) -> Dict:
    return {"permissions": [{"any": True}], "principals": [who]}


def _said(part: str, name: str) -> Dict:
    return _metadata(part, name, {"present_match": True})


def _metadata(part: str, name: str, value: Dict) -> Dict:
    matcher = {"filter": METADATA, "path": [{"key": part}, {"key": name}], "value": value}
    return {"sourced_metadata": {"metadata_matcher": matcher, "metadata_source": "DYNAMIC"}}
