"""Pools of connections: what they trust, and through which proxy they go."""

from __future__ import annotations

import os
import ssl
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import certifi
import httpcore

from mawasu.client.deadline import Backend

IDLE = 30.0  # seconds; less than the gateways we know wait before they close an idle connection


def pool(base: str, connections: int, *, proxied: bool = True) -> httpcore.ConnectionPool:
    """For threads."""
    proxy = _proxy(base) if proxied else {}
    told = {**_common(connections, base, proxy), "network_backend": Backend()}
    return httpcore.HTTPProxy(**proxy, **told) if proxy else httpcore.ConnectionPool(**told)


def async_pool(base: str, connections: int) -> httpcore.AsyncConnectionPool:
    """For one event loop."""
    proxy = _proxy(base)
    told = _common(connections, base, proxy)
    return httpcore.AsyncHTTPProxy(**proxy, **told) if proxy else httpcore.AsyncConnectionPool(**told)


def _common(connections: int, base: str, proxy: Mapping[str, Any]) -> dict[str, Any]:
    tls = base.startswith("https:") or str(proxy.get("proxy_url")).startswith("https:")
    return {
        "ssl_context": _trust() if tls else None,
        "max_connections": connections,
        "max_keepalive_connections": connections,
        "keepalive_expiry": IDLE,
    }


def _trust() -> ssl.SSLContext:
    """As httpx does: certifi's list, unless SSL_CERT_FILE or SSL_CERT_DIR say others. Takes some 20 ms to read."""
    directory = os.environ.get("SSL_CERT_DIR") or None
    file = os.environ.get("SSL_CERT_FILE") or (None if directory else certifi.where())
    return ssl.create_default_context(cafile=file, capath=directory)


def _proxy(base: str) -> dict[str, Any]:
    """What HTTPS_PROXY, HTTP_PROXY and NO_PROXY say for this address; {} for none."""
    parts = urlsplit(base)
    told = urllib.request.getproxies().get(parts.scheme, "")
    if not told or urllib.request.proxy_bypass(parts.netloc):
        return {}
    proxy = urlsplit(told if "://" in told else f"http://{told}")
    found: dict[str, Any] = {"proxy_url": f"{proxy.scheme}://{proxy.netloc.rpartition('@')[2]}"}
    if proxy.username is not None:
        found["proxy_auth"] = (unquote(proxy.username), unquote(proxy.password or ""))
    return found
