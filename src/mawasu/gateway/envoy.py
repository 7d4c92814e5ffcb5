"""Sites → what Envoy must be told: clusters, routes, authentication, quotas. Pure, and ordered."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from mawasu.gateway import authn, limiter, reference, routes, splits
from mawasu.gateway.clusters import BUFFER, HTTP, outside_name
from mawasu.gateway.clusters import outside as outside_cluster
from mawasu.gateway.forms import Served, TokenScheme
from mawasu.gateway.listener import AUTHN, CLUSTERS, QUOTAS, ROUTES
from mawasu.gateway.outside import is_allowed
from mawasu.gateway.schemes import OURS
from mawasu.words import Endpoint, Value

Dict = dict[str, Any]
TYPE = authn.TYPE


class Config(Value, frozen=True):
    """Everything that changes while the gateway runs, as plain JSON values.

    `limits`: tokens a minute by name; one operation is charged at most `slots` of them.
    """

    clusters: Mapping[str, Dict]
    providers: Mapping[str, Dict]
    requirements: Mapping[str, Dict]
    routes: tuple[Dict, ...]
    limits: Mapping[str, int] = {}
    slots: int = 0

    def beside(self, old: Config) -> Config:
        """This one with whatever else the old one has: routes of either can be served with it.

        Names are content addresses, so the two agree on what both have; key sets are taken from this one.
        """
        return Config(
            clusters={**old.clusters, **self.clusters},
            providers={**old.providers, **self.providers},
            requirements={**old.requirements, **self.requirements},
            routes=self.routes,
            limits={**old.limits, **self.limits},
            slots=max(old.slots, self.slots),
        )

    def with_keys(self, keys: str) -> Config:
        """The same with another file of API keys: what is created or revoked while everything else stays."""
        providers = {
            name: {**body, "local_jwks": {"filename": keys}} if body["issuer"] == OURS else body
            for name, body in self.providers.items()
        }
        return msgspec.structs.replace(self, providers=providers)

    @property
    def key_sets(self) -> frozenset[str]:
        """Where the key sets are published that Envoy fetches, or has copies of."""
        return frozenset(filter(None, map(authn.published_at, self.providers.values())))

    @property
    def copies(self) -> dict[str, str]:
        """Those of them that Envoy has copies of, by URI."""
        given = [body for body in self.providers.values() if "local_jwks" in body and authn.published_at(body)]
        return {authn.published_at(body): body["local_jwks"]["inline_string"] for body in given}

    def with_copies(self, copies: Mapping[str, str]) -> Config:
        """The same with copies of key sets, by URI, in place of what Envoy would fetch; it fetches all others."""
        providers = {name: authn.with_copy(body, copies) for name, body in self.providers.items()}
        return msgspec.structs.replace(self, providers=providers)

    def files(self) -> dict[str, list[Dict]]:
        """The resources of every file that Envoy follows."""
        return {
            CLUSTERS: list(self.clusters.values()),
            ROUTES: [routes.configuration(self.routes)],
            AUTHN: [_extension(authn.FILTER, self._authentication())],
            QUOTAS: [_extension(limiter.FILTER, limiter.configuration(self.limits, self.slots))],
        }

    def _authentication(self) -> Dict:
        return {
            "@type": f"{TYPE}extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": self.providers,
            "requirement_map": self.requirements,
        }


def _extension(name: str, filter_: Dict) -> Dict:
    """A filter as Envoy discovers it."""
    return {"@type": f"{TYPE}config.core.v3.TypedExtensionConfig", "name": name, "typed_config": filter_}


EMPTY = Config({}, {}, {}, ())


def read(files: Mapping[str, Sequence[Dict]]) -> Config:
    """The configuration whose `files` these are, but for its routes: only new ones are ever told."""
    authentication = files[AUTHN][0]["typed_config"]
    limits, slots = limiter.read(files[QUOTAS][0]["typed_config"])
    return Config(
        clusters={cluster["name"]: cluster for cluster in files[CLUSTERS]},
        providers=authentication["providers"],
        requirements=authentication["requirement_map"],
        routes=(),
        limits=limits,
        slots=slots,
    )


def compile(
    sites: Sequence[Served],
    keys: str,
    trust: str = "",
    *,
    secure: bool = False,
    back_ends: Collection[str] = (),
    viewer: reference.Viewer = reference.NONE,
) -> Config:
    """The configuration that serves exactly these sites. Raises UsageError for a split that cannot be held.

    `keys` is the file of the key set of API keys (`authn.key_set`); Envoy reads it when it is named, and never again.
    `trust` is the file of CA certificates for servers that are called by name; `secure` says that callers come by TLS.
    `back_ends` are the outside ones that may be called (`outside.authority_of`); operations of others answer 503.
    `viewer` is what API references are shown with.
    """
    clusters: dict[str, Dict] = {}
    providers: dict[str, Dict] = {}
    requirements: dict[str, Dict] = {}
    table: list[Dict] = []
    limits: dict[str, int] = {}
    slots = 0
    for served in sites:
        if served.split:
            splits.check(served.split)
        backends = {endpoint.revision: _backend(endpoint) for endpoint in served.endpoints}
        backends |= _outside(served, trust, back_ends)
        clusters |= {backend["name"]: backend for backend in backends.values()}
        names: dict[str, str] = {}
        for scheme in served.api.schemes.values():
            names[scheme.name], body = authn.provider(served, scheme, keys)
            providers[names[scheme.name]] = body
            if isinstance(scheme, TokenScheme) and scheme.jwks_uri:
                clusters[authn.jwks_cluster_name(scheme.jwks_uri)] = authn.jwks_cluster(scheme.jwks_uri, trust)
        limits |= limiter.buckets(served)
        required: dict[tuple[str, str], str] = {}
        for operation in served.api.operations:
            slots = max(slots, len(limiter.charges(served, operation)))
            found = authn.requirement(operation, names)
            if found is not None:
                required[operation.method, operation.path] = found[0]
                requirements[found[0]] = found[1]
        targets = {name: backend["name"] for name, backend in backends.items()}
        table += routes.routes_of(served, targets, required, secure, viewer)
    if any(served.reference for served in sites):
        table += reference.routes(reference.files_of(viewer), routes.METADATA, forever=True)
    return Config(clusters, providers, requirements, tuple(table), limits, slots)


def _outside(served: Served, trust: str, back_ends: Collection[str]) -> dict[str, Dict]:
    called = [operation.backend for operation in served.api.operations if operation.backend]
    return {outside_name(one): outside_cluster(one, trust) for one in called if is_allowed(one, back_ends)}


def _backend(endpoint: Endpoint) -> Dict:
    """A revision's replicas. The name holds their addresses: other addresses are another cluster."""
    name = f"{endpoint.revision}:{authn.digest([endpoint.sockets, endpoint.url])}"
    hosts = [{"endpoint": {"address": {"pipe": {"path": path}}}} for path in endpoint.sockets]
    return {
        "@type": f"{TYPE}config.cluster.v3.Cluster",
        "name": name,
        "metadata": {"filter_metadata": {routes.METADATA: {"revision": endpoint.revision}}},  # for the access log
        "type": "STATIC",
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        "per_connection_buffer_limit_bytes": BUFFER,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]},
        "typed_extension_protocol_options": {
            HTTP: {
                "@type": f"{TYPE}extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http_protocol_options": {}},
                # Shorter than the keep-alive of any common server, which must not close what a request is put on.
                "common_http_protocol_options": {"idle_timeout": "1s"},
            }
        },
        # A replica that cannot be reached is left out for a moment; a model's own 5xx is no reason.
        "outlier_detection": {
            "split_external_local_origin_errors": True,
            "consecutive_local_origin_failure": 2,
            "enforcing_consecutive_5xx": 0,
            "enforcing_consecutive_gateway_failure": 0,
            "enforcing_success_rate": 0,
            "enforcing_local_origin_success_rate": 0,
            "interval": "1s",
            "base_ejection_time": "1s",
            "max_ejection_percent": 50,
        },
    }
