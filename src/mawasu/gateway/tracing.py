"""Traces: a span of every request, which Envoy sends to an OpenTelemetry collector (OTLP/HTTP, protobuf).

A request that says `traceparent` (W3C Trace Context) is in its caller's trace, or in none, as its caller decided; any
other begins a trace of its own. Source: envoy.config.trace.v3.OpenTelemetryConfig; opentelemetry.io/docs/specs/otlp.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from mawasu.errors import UsageError
from mawasu.gateway.authn import TYPE
from mawasu.gateway.clusters import by_name, by_tls
from mawasu.words import Value

Dict = dict[str, Any]

CLUSTER = "traces"
SERVICE = "mawasu-gateway"
TOGETHER = 128  # spans of one thread that are sent at once
UNDER_WAY = 4  # such requests: what comes while a collector hangs is dropped

FORGED = ("x-client-trace-id", "x-envoy-decorator-operation")
"""Headers that would write into a span, or name it."""

_IF_GRPC = "%CEL(request.headers['content-type'].startsWith('application/grpc') ? '-' : '')%"
"""In place of what Envoy writes for whoever says that he speaks gRPC; a tag without a value is none."""

_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")


class Collector(Value, frozen=True):
    """Where spans go: `path` is the collector's base, without `/v1/traces`."""

    host: str
    port: int
    tls: bool = False
    path: str = ""

    @property
    def url(self) -> str:
        """To which spans are posted."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.tls else ''}://{host}:{self.port}{self.path}/v1/traces"


def collector(url: str) -> Collector:
    """Of an OTLP/HTTP endpoint: `http://127.0.0.1:4318`. Raises UsageError."""
    try:
        parts = urlsplit(url)
        host, port, path = parts.hostname or "", parts.port, parts.path.rstrip("/")
    except ValueError:
        host, port, path = "", None, ""
        parts = urlsplit("")
    plain = parts.scheme in ("http", "https") and not (parts.query or parts.fragment or "@" in parts.netloc)
    if not plain or not _HOST.fullmatch(host) or port == 0 or not _PATH.fullmatch(path):
        hint = "the OTLP/HTTP endpoint of a collector, for example http://127.0.0.1:4318; no user, password or query"
        raise UsageError("--traces: expected http://HOST:PORT or https://HOST:PORT", hint)
    tls = parts.scheme == "https"
    return Collector(host, port or (443 if tls else 80), tls, path)


def manager(to: Collector) -> Dict:
    """Of the HTTP connection manager. The span has the route's name, which no caller writes, in place of what was
    called: an address can hold keys and tokens, and Envoy writes it down whole."""
    config = {
        "@type": f"{TYPE}config.trace.v3.OpenTelemetryConfig",
        "http_service": {"http_uri": {"uri": to.url, "cluster": CLUSTER, "timeout": "5s"}},
        "service_name": SERVICE,
    }
    tags = [
        {"tag": "http.url", "literal": {"value": "-"}},
        *({"tag": name, "value": _IF_GRPC} for name in ("grpc.path", "grpc.authority")),
        {"tag": "user_agent", "value": "%REQ(USER-AGENT):128%"},
        {"tag": "mawasu.revision", "value": "%CLUSTER_METADATA(mawasu:revision)%"},
    ]
    return {
        "provider": {"name": "opentelemetry", "typed_config": config},
        "operation": "%ROUTE_NAME%",
        "max_path_tag_length": 0,  # of `http.url`, should it ever not be replaced
        "custom_tags": tags,
    }


def cluster(to: Collector, trust: str) -> Dict:
    """The collector. `trust`: the file of CA certificates, for one that is reached by TLS."""
    made = by_tls(CLUSTER, to.host, to.port, trust) if to.tls else by_name(CLUSTER, to.host, to.port)
    most = {"max_connections": UNDER_WAY, "max_pending_requests": UNDER_WAY, "max_requests": UNDER_WAY}
    del made["@type"]  # it stands in the bootstrap, where its kind is known
    return made | {"circuit_breakers": {"thresholds": [most]}}


def runtime() -> Dict:
    return {"tracing.opentelemetry.flush_interval_ms": 1000, "tracing.opentelemetry.min_flush_spans": TOGETHER}
