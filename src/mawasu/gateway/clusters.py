"""Servers that Envoy calls by name (envoy.config.cluster.v3): key sets' and outside back ends', a traces' collector."""

from __future__ import annotations

import ipaddress
from typing import Any

from mawasu.gateway.forms import Outside

Dict = dict[str, Any]

_TYPE = "type.googleapis.com/envoy."
HTTP2: Dict = {
    "max_concurrent_streams": 100,
    "initial_stream_window_size": 65536,
    "initial_connection_window_size": 1048576,
}
"""Towards callers and servers alike: what a stream, and a connection, may hold that nobody has read yet."""
BUFFER = 32768  # bytes that a connection holds before its peer has to wait
HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def by_tls(name: str, host: str, port: int, trust: str, protocols: tuple[str, ...] = ()) -> Dict:
    """A server whose certificate must be its host's, and verify against the CA certificates in the file `trust`."""
    kind, named = _named(host)
    validation = {
        "trusted_ca": {"filename": trust},
        "match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": host}}],
    }
    common: Dict = {"validation_context": validation} | ({"alpn_protocols": list(protocols)} if protocols else {})
    tls = {"@type": f"{_TYPE}extensions.transport_sockets.tls.v3.UpstreamTlsContext", "common_tls_context": common}
    socket = {"name": "tls", "typed_config": tls | ({"sni": host} if named else {})}
    return by_name(name, host, port) | {"transport_socket": socket}


def by_name(name: str, host: str, port: int) -> Dict:
    """A server that is spoken to in the open."""
    at = {"endpoint": {"address": {"socket_address": {"address": host, "port_value": port}}}}
    return {
        "@type": f"{_TYPE}config.cluster.v3.Cluster",
        "name": name,
        "type": "LOGICAL_DNS",
        "dns_lookup_family": "ALL",  # and whichever address answers first (RFC 8305)
        "connect_timeout": "5s",
        "per_connection_buffer_limit_bytes": BUFFER,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [at]}]},
    }


def _named(host: str) -> tuple[str, bool]:
    """How a certificate names a host, and whether it is a name at all (RFC 6066, 3: no SNI for addresses)."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "DNS", True
    return "IP_ADDRESS", False


def outside_name(backend: Outside) -> str:
    return f"outside:{backend.authority}{':h2' if backend.http2 else ''}"


def outside(backend: Outside, trust: str) -> Dict:
    """An outside back end, and how it is spoken to."""
    protocol = "h2" if backend.http2 else "http/1.1"
    options: Dict = {"http2_protocol_options": HTTP2} if backend.http2 else {"http_protocol_options": {}}
    cluster = by_tls(outside_name(backend), backend.host, backend.port, trust, (protocol,))
    http = {
        "@type": f"{_TYPE}extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": options,
        # Shorter than what load balancers keep: one that they close must not get a request.
        "common_http_protocol_options": {"idle_timeout": "30s"},
    }
    return cluster | {
        "metadata": {"filter_metadata": {"mawasu": {"revision": f"https://{backend.authority}"}}},  # for the access log
        "typed_extension_protocol_options": {HTTP: http},
    }
