"""What stands between the network and the listener's filters: address, TLS, limits, what to do under load.

Follows Envoy's "Configuring Envoy as an edge proxy" (docs: configuration/best_practices/edge).
"""

from __future__ import annotations

from typing import Any

from mawasu.gateway import tracing
from mawasu.gateway.authn import TYPE
from mawasu.gateway.tracing import Collector
from mawasu.words import Value

Dict = dict[str, Any]

CERTIFICATE = "certificate.json"
SECRET = "certificate"  # its name in Envoy; nothing secret
LISTENER = "ingress"
HEAP = "envoy.resource_monitors.fixed_heap"


class Edge(Value, frozen=True):
    """Where and how a gateway listens. Times in seconds, `heap` in bytes, `host` an IP address.

    `hsts`: the seconds for which browsers remember to come by TLS alone; 0 says nothing to them.
    `trusted_hops`: how many proxies in front append to `X-Forwarded-For`; with 0 what a caller says there is dropped.
    `traces`: who is told of every request; None: nobody.
    `header_time`, `request_time`: how long the headers, and the whole request, may take to arrive.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    tls: bool = False
    hsts: int = 0
    trusted_hops: int = 0
    connections: int = 10_000
    heap: int = 2 * 2**30
    header_time: float = 10.0
    request_time: float = 60.0
    traces: Collector | None = None


def transport(directory: str) -> Dict:
    """TLS 1.2 and newer, HTTP/2 by ALPN; the certificate is discovered (SDS), so another one drops no connection."""
    source = {"path_config_source": {"path": f"{directory}/{CERTIFICATE}"}, "resource_api_version": "V3"}
    common = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_certificate_sds_secret_configs": [{"name": SECRET, "sds_config": source}],
    }
    kind = f"{TYPE}extensions.transport_sockets.tls.v3.DownstreamTlsContext"
    return {"name": "envoy.transport_sockets.tls", "typed_config": {"@type": kind, "common_tls_context": common}}


def secret(chain: str, key: str) -> list[Dict]:
    """A certificate with its chain and its private key (PEM), as Envoy discovers them: both or neither."""
    pair = {"certificate_chain": {"inline_string": chain}, "private_key": {"inline_string": key}}
    return [{"@type": f"{TYPE}extensions.transport_sockets.tls.v3.Secret", "name": SECRET, "tls_certificate": pair}]


def overload(edge: Edge) -> Dict:
    """Before memory runs out: reset the streams that hold most, give back what is free, then answer 503."""
    heap = {"max_heap_size_bytes": edge.heap}
    connections = {"max_active_downstream_connections": edge.connections}
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            _monitor(HEAP, "fixed_heap.v3.FixedHeapConfig", heap),
            _monitor(
                "envoy.resource_monitors.global_downstream_max_connections",
                "downstream_connections.v3.DownstreamConnectionsConfig",
                connections,
            ),
        ],
        # Bodies are held whole before the back end sees them, so streams of 64 KiB and more are worth counting.
        "buffer_factory_config": {"minimum_account_to_track_power_of_two": 16},
        "actions": [
            _action("reset_high_memory_stream", {"scaled": {"scaling_threshold": 0.85, "saturation_threshold": 0.95}}),
            _action("shrink_heap", {"threshold": {"value": 0.9}}),
            _action("stop_accepting_requests", {"threshold": {"value": 0.95}}),
        ],
    }


def _monitor(name: str, kind: str, config: Dict) -> Dict:
    return {"name": name, "typed_config": {"@type": f"{TYPE}extensions.resource_monitors.{kind}", **config}}


def _action(name: str, when: Dict) -> Dict:
    return {"name": f"envoy.overload_actions.{name}", "triggers": [{"name": HEAP, **when}]}


def runtime(edge: Edge) -> Dict:
    """Limits that Envoy has as runtime values only. Resets: decisions of Envoy 1.27.1, for CVE-2023-44487."""
    return {
        # Envoy's own limit, 100, is a path template of some 80 characters. RE2 is linear in time whatever the size.
        "re2.max_program_size.error_level": 10_000,
        f"envoy.resource_limits.listener.{LISTENER}.connection_limit": edge.connections,
        # A connection that resets half of its streams within a second is closed once it has had this many.
        "overload.premature_reset_total_stream_count": 200,
        "overload.premature_reset_min_stream_lifetime_seconds": 1,
        # A chunk that is longer than it says is an error, not a few bytes to skip (Envoy's default until it is proven).
        "envoy.reloadable_features.strict_chunk_parsing": True,
        # Many requests in one packet wait for those of other connections.
        "http.max_requests_per_io_cycle": 10,
        **(tracing.runtime() if edge.traces else {}),
    }
