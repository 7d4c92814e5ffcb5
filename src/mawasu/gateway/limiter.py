"""Quotas → Envoy's local rate limit filter (envoy.extensions.filters.http.local_ratelimit.v3), one for all sites.

A call is charged to whoever makes it: the consumer of its API key, the issuer and subject of its token, and without
either the address it comes from. Every consumer has a bucket of each limit, made when it first calls and shared by
Envoy's threads. See decisions/0016-quotas.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mawasu.gateway.authn import KEY, METADATA, TOKEN, TYPE, USER_INFO, digest
from mawasu.gateway.forms import Operation, Served

Dict = dict[str, Any]

FILTER = "mawasu.quotas"
ROUTE = "mawasu"
"""A route says in its metadata, under this name, what a call takes: `quota 0`, `quota 1`, … each with a cost."""

CONSUMERS = 10_000
"""Buckets of one limit that are remembered. The one that was not used for longest is forgotten: it starts full."""
MOST = 2**32 - 1  # tokens of a bucket; 71 million calls a second are as good as no limit
MOST_AT_ONCE = 10**9  # what Envoy takes for one call


_CALLERS: tuple[list[Dict], ...] = (
    [{"key": "key"}],
    [{"key": "issuer"}, {"key": "subject"}],
    [{"key": "caller", "value": "unknown"}, {"key": "masked_remote_address"}],
)
"""What names a consumer. An entry without value stands for each value there is, with a bucket of its own."""


def buckets(served: Served) -> dict[str, int]:
    """How many tokens a minute each limit of a site gives a consumer, by a name that nothing else has."""
    return {_name(served, limit.name): min(limit.per_minute, MOST) for limit in served.api.limits}


def charges(served: Served, operation: Operation) -> Dict:
    """What the operation's routes say of it in their metadata; empty when it is free."""
    taken = [
        (_name(served, limit.name), operation.costs[limit.metric])
        for limit in served.api.limits
        if limit.metric in operation.costs
    ]
    return {f"quota {slot}": {"name": name, "cost": min(cost, MOST_AT_ONCE)} for slot, (name, cost) in enumerate(taken)}


def _name(served: Served, limit: str) -> str:
    per_minute = {one.name: one.per_minute for one in served.api.limits}[limit]
    return f"{served.feature}/{served.environment}:{digest([limit, per_minute])}"


def configuration(limits: Mapping[str, int], slots: int) -> Dict:
    """The filter, for limits (tokens a minute, by name) of which one operation is charged at most `slots`."""
    whole = {"default_value": {"numerator": 100}, "runtime_key": "quotas"}
    return {
        "@type": f"{TYPE}extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        "stat_prefix": "quotas",
        "filter_enabled": whole,
        "filter_enforced": whole,
        # Who is charged nothing is not counted at all.
        "token_bucket": {"max_tokens": MOST, "tokens_per_fill": MOST, "fill_interval": "1s"},
        "always_consume_default_token_bucket": False,
        "max_dynamic_descriptors": CONSUMERS,
        "descriptors": [
            {"entries": [{"key": "quota", "value": name}, *payer], "token_bucket": _bucket(tokens)}
            for name, tokens in sorted(limits.items())
            for payer in _CALLERS
        ],
        "rate_limits": [_charge(slot, payer) for slot in range(slots) for payer in _payers()],
        "response_headers_to_add": [{"header": {"key": "retry-after", "value": "60"}}],
    }


def read(filter_: Dict) -> tuple[dict[str, int], int]:
    """What `configuration` was called with."""
    limits = {one["entries"][0]["value"]: one["token_bucket"]["max_tokens"] for one in filter_["descriptors"]}
    return limits, len(filter_["rate_limits"]) // len(_payers())


def _bucket(tokens: int) -> Dict:
    return {"max_tokens": tokens, "tokens_per_fill": tokens, "fill_interval": "60s"}


def _charge(slot: int, payer: Sequence[Dict]) -> Dict:
    """A charge on one bucket. Where an action finds nothing there is no charge."""
    quota = _metadata("quota", ROUTE, (f"quota {slot}", "name"), "ROUTE_ENTRY")
    return {
        "actions": [quota, *payer],
        "hits_addend": {"format": f"%METADATA(ROUTE:{ROUTE}:quota {slot}:cost)%"},
    }


def _payers() -> tuple[list[Dict], ...]:
    """Who pays. An address only where no credential says who calls; a network of /64 is one IPv6 caller."""
    unknown = {"headers": [{"name": USER_INFO, "present_match": True}], "expect_match": False}
    return (
        [_metadata("key", METADATA, (KEY, "sub"), "DYNAMIC")],
        [
            _metadata("issuer", METADATA, (TOKEN, "iss"), "DYNAMIC"),
            _metadata("subject", METADATA, (TOKEN, "sub"), "DYNAMIC"),
        ],
        [
            {"header_value_match": {"descriptor_key": "caller", "descriptor_value": "unknown", **unknown}},
            {"masked_remote_address": {"v4_prefix_mask_len": 32, "v6_prefix_mask_len": 64}},
        ],
    )


def _metadata(key: str, namespace: str, path: Sequence[str], source: str) -> Dict:
    where = {"key": namespace, "path": [{"key": part} for part in path]}
    return {"metadata": {"descriptor_key": key, "metadata_key": where, "source": source}}
