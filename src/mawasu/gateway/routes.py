"""Operations → routes of Envoy (envoy.config.route.v3): which request is whose, and ESPv2's answers to the rest."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mawasu.gateway import claims, credentials, limiter, matching, splits
from mawasu.gateway.authn import FILTER, TYPE
from mawasu.gateway.forms import KeyScheme, Operation, Served
from mawasu.gateway.ways import Way, ways_of

Dict = dict[str, Any]

NAME = "routes"
METADATA = limiter.ROUTE
NOT_FOUND = "The current request is not defined by this API."
NOT_ALLOWED = 'The current request is matched to the defined url template "{}" but its http method is not allowed'
FOREIGN = (
    "The CORS preflight request is missing one (or more) of the following required headers "
    "[Origin, Access-Control-Request-Method] or has an unmatched Origin header."
)
SAFE = ("GET", "HEAD")  # RFC 9110, 9.2.1: asking twice changes nothing


def routes_of(
    served: Served, clusters: Mapping[str, str], requirements: dict[tuple[str, str], str], secure: bool
) -> list[Dict]:
    """All routes of one site. `requirements`: requirement name by (method, path) of the operations that have one.

    `clusters`: names by revision; `secure`: whether callers come by TLS. Refusals come after every operation, so
    `GET /x/{id}` is found although `/x/me` has only POST.
    """
    ways, own = ways_of(served), clusters[served.endpoint.revision]
    calls = [
        route
        for way in ways
        for match in _matches(way)
        for requirement in [requirements.get((way.operation.method, way.operation.path))]
        for route in splits.shared(_call(served, way.operation, match, own, requirement), served, clusters, secure)
    ]
    refusals = [
        refusal
        for path, group in itertools.groupby(ways, key=lambda way: way.operation.path)
        for same in [list(group)]
        for match in _matches(same[0])
        for refusal in (_refuse_pre_flight(match), _refuse_method(match, path, [one.operation.method for one in same]))
    ]
    return calls + refusals


def configuration(routes: Sequence[Dict]) -> Dict:
    """One route table for the whole server; what no site describes is not found."""
    rest = _answer({"prefix": "/"}, 404, NOT_FOUND)
    return {
        "@type": f"{TYPE}config.route.v3.RouteConfiguration",
        "name": NAME,
        "virtual_hosts": [{"name": "all", "domains": ["*"], "matcher": matching.matcher(routes, rest)}],
        "validate_clusters": False,
    }


def _matches(way: Way) -> list[Dict]:
    return [{"path": path} for path in way.paths] or [{"safe_regex": {"regex": way.regex}}]


def _call(served: Served, operation: Operation, match: Dict, cluster: str, requirement: str | None) -> Dict:
    authn: Dict = {"@type": f"{TYPE}extensions.filters.http.jwt_authn.v3.PerRouteConfig"}
    authn |= {"requirement_name": requirement} if requirement else {"disabled": True}
    per_filter: Dict = {FILTER: authn}
    schemes = [served.api.schemes[name] for name in sorted({name for names in operation.security for name in names})]
    before, after = credentials.rules(schemes), claims.rules_for(served.feature, served.environment, schemes)
    per_filter |= {credentials.FILTER: before} if before else {}
    per_filter |= {claims.FILTER: after} if after else {}
    return {
        "name": f"{operation.method} {served.prefix}{operation.path}",
        "match": match | {"headers": [{"name": ":method", "string_match": {"exact": operation.method}}]},
        "route": {
            "cluster": cluster,
            "timeout": f"{operation.deadline:g}s",
            # The stream is idle while the back end thinks: the deadline, not this, must be what ends it.
            "idle_timeout": f"{operation.deadline + 60:g}s",
            "retry_policy": _retry(operation.method),
            **_rewrite(served.prefix, match),
        },
        "typed_per_filter_config": per_filter,
        "metadata": {
            "filter_metadata": {METADATA: {"key": needs_key(served, operation), **limiter.charges(served, operation)}}
        },
    }


def needs_key(served: Served, operation: Operation) -> bool:
    """Whether nobody comes in without an API key: then its absence is what a refused caller must be told."""
    return bool(operation.security) and all(
        any(isinstance(served.api.schemes[name], KeyScheme) for name in names) for names in operation.security
    )


def _rewrite(prefix: str, match: Dict) -> Dict:
    """The back end sees the path that its document names."""
    if "path" in match:
        return {"prefix_rewrite": match["path"].removeprefix(prefix) or "/"}
    return {"regex_rewrite": {"pattern": {"regex": f"^{re.escape(prefix)}"}, "substitution": ""}}


def _retry(method: str) -> Dict:
    """Another replica is asked when the first cannot have seen the request, or when asking twice is safe."""
    on = "connect-failure,refused-stream,reset-before-request"
    return {
        "retry_on": f"{on},reset" if method in SAFE else on,
        "num_retries": 2,
        "retry_host_predicate": [
            {
                "name": "previous_hosts",
                "typed_config": {"@type": f"{TYPE}extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
            }
        ],
        "host_selection_retry_max_attempts": 3,
        "retry_back_off": {"base_interval": "0.005s", "max_interval": "0.05s"},
    }


def _refuse_pre_flight(match: Dict) -> Dict:
    """What a browser asks before it lets another origin's page call (Fetch Standard, "CORS-preflight request")."""
    method: Dict = {"name": ":method", "string_match": {"exact": "OPTIONS"}}
    said = [{"name": name, "present_match": True} for name in ("origin", "access-control-request-method")]
    return _answer(match | {"headers": [method, *said]}, 400, FOREIGN)


def _refuse_method(match: Dict, path: str, methods: list[str]) -> Dict:
    allow = {"header": {"key": "allow", "value": ", ".join(sorted(methods))}}  # RFC 9110, 15.5.6
    return _answer(match, 405, NOT_ALLOWED.format(path)) | {"response_headers_to_add": [allow]}


def _answer(match: Dict, status: int, message: str) -> Dict:
    return {"match": match, "direct_response": {"status": status, "body": {"inline_string": message}}}
