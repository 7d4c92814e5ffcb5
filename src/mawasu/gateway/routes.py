"""Operations → routes of Envoy (envoy.config.route.v3): which request is whose, and ESPv2's answers to the rest."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mawasu.gateway import claims, credentials, limiter, matching, reference, rewriting, splits
from mawasu.gateway.authn import FILTER, TYPE, digest
from mawasu.gateway.clusters import outside_name
from mawasu.gateway.forms import KeyScheme, Operation, Served, TokenScheme
from mawasu.gateway.ways import Way, ways_of

Dict = dict[str, Any]

NAME = "routes"
METADATA = limiter.ROUTE
BODY = "mawasu.body"
"""The filter that holds a request until it is whole. Where there is no route (CONNECT) it would wait for ever."""
PRESENT: Dict = {"@type": f"{TYPE}config.route.v3.FilterConfig", "config": {}}
"""In a route: a filter that is not there elsewhere, as the listener has it."""
NOT_FOUND = "The current request is not defined by this API."
NOT_ALLOWED = 'The current request is matched to the defined url template "{}" but its http method is not allowed'
FOREIGN = (
    "The CORS preflight request is missing one (or more) of the following required headers "
    "[Origin, Access-Control-Request-Method] or has an unmatched Origin header."
)
NOT_HERE = "The back end of this operation may not be called from here."
SAFE = ("GET", "HEAD")  # RFC 9110, 9.2.1: asking twice changes nothing
ABSENT: Dict = {"@type": f"{TYPE}config.route.v3.FilterConfig", "disabled": True}
SHARED = (FILTER, credentials.FILTER, claims.FILTER)
"""Filters of which most routes of a site say the same."""
HEALTH = reference.Answer(("/healthz",), reference.JSON, {"inline_string": '{"healthy":true}'})
"""For whoever stands before the gateway and must know whether it is there. It says nothing of any model."""
QUERY = r"(?:\?.*)?"


def routes_of(
    served: Served,
    clusters: Mapping[str, str],
    requirements: dict[tuple[str, str], str],
    secure: bool,
    viewer: reference.Viewer,
) -> list[Dict]:
    """All routes of one site. `requirements`: requirement name by (method, path) of the operations that have one.

    `clusters`: names by revision, and of the outside back ends that may be called; `secure`: whether callers come by
    TLS. Refusals come after every operation, so `GET /x/{id}` is found although `/x/me` has only POST.
    """
    ways = ways_of(served)
    calls = [
        route
        for way in ways
        for match in _matches(served.prefix, way)
        for call in [_call(served, way.operation, match, requirements.get((way.operation.method, way.operation.path)))]
        for route in _led(call, served, way.operation, clusters, secure)
    ]
    refusals = [
        refusal
        for path, group in itertools.groupby(ways, key=lambda way: way.operation.path)
        for same in [list(group)]
        for match in _matches(served.prefix, same[0])
        for refusal in (_refuse_pre_flight(match), _refuse_method(match, path, [one.operation.method for one in same]))
    ]
    paths = reference.paths_of(served, ways)
    pages = reference.routes(reference.answers_of(served, paths, viewer), METADATA, forever=False)
    others = list(reference.METHODS)
    refusals += [_refuse_method({"path": path}, path.removeprefix(served.prefix), others) for path in paths]
    return calls + pages + refusals


def configuration(routes: Sequence[Dict]) -> Dict:
    """One route table for the whole server; what no site describes is not found."""
    rest = _answer({"prefix": "/"}, 404, NOT_FOUND)
    routes = [*routes, *reference.routes([HEALTH], METADATA, forever=False)]
    filters = [route.get("typed_per_filter_config", {}) for route in routes]
    shared = {name: found for name in SHARED if (found := _most_common(one.get(name) for one in filters))}
    retry = _most_common(route.get("route", {}).get("retry_policy") for route in routes)
    tree = matching.matcher([_inheriting(route, shared, retry) for route in routes], _inheriting(rest, shared, retry))
    server = {"name": "all", "domains": ["*"], "matcher": tree, **({"retry_policy": retry} if retry else {})}
    return {
        "@type": f"{TYPE}config.route.v3.RouteConfiguration",
        "name": NAME,
        "virtual_hosts": [server | {"typed_per_filter_config": {BODY: PRESENT, **shared}}],
        "validate_clusters": False,
        "max_direct_response_body_size_bytes": reference.LARGEST,
    }


def _most_common(said: Iterable[Dict | None]) -> Dict:
    """What most routes say of one thing, empty when none does.

    It stands once in the server: what each route has of its own pushes the others' out of the processor's cache.
    """
    found: dict[str, list[Dict]] = {}
    for config in said:
        if config:
            found.setdefault(digest(config), []).append(config)
    return max(found.values(), key=len)[0] if found else {}


def _inheriting(route: Dict, shared: Mapping[str, Dict], retry: Dict) -> Dict:
    """The route without what the server says for it; where it says nothing of such a filter, that is not there."""
    own = dict.fromkeys(shared, ABSENT) | route.get("typed_per_filter_config", {})
    own = {name: config for name, config in own.items() if config != shared.get(name)}
    found = route | {"typed_per_filter_config": own}
    if "route" in route and route["route"]["retry_policy"] == retry:
        found["route"] = {key: value for key, value in route["route"].items() if key != "retry_policy"}
    return found


def _matches(prefix: str, way: Way) -> list[Dict]:
    """A template is matched by its beginning, which is then taken off, and by one expression for the whole path: a
    match by expression alone would need another one to take anything off. `^` is not needed to match; it lets RE2
    compare the text before the first variable as it is, instead of stepping through it."""
    whole = {"name": ":path", "string_match": {"safe_regex": {"regex": f"^{way.regex}{QUERY}"}}}
    return [{"path": path} for path in way.paths] or [{"prefix": f"{prefix}/", "headers": [whole]}]


def _asked(match: Dict, *headers: Dict) -> Dict:
    """The match of requests that have these headers too, which are cheaper to look at than its own."""
    return match | {"headers": [*headers, *match.get("headers", [])]}


def _led(call: Dict, served: Served, operation: Operation, clusters: Mapping[str, str], secure: bool) -> list[Dict]:
    """The route, led to who answers."""
    match, backend = call["match"], operation.backend
    if backend is None:
        to = {"cluster": clusters[served.endpoint.revision], **rewriting.own(served.prefix, match)}
        return splits.shared(call | {"route": call["route"] | to}, served, clusters, secure)
    name = outside_name(backend)
    if name not in clusters:
        refused = _answer(match, 503, NOT_HERE)
        return [{key: value for key, value in call.items() if key != "route"} | refused]
    to = {"cluster": name, "host_rewrite_literal": backend.authority}
    to |= rewriting.outside(backend, served.prefix, match)
    more = rewriting.variables(backend, served.prefix, operation.path)
    per_filter = call["typed_per_filter_config"] | more
    return [call | {"route": call["route"] | to, "typed_per_filter_config": per_filter}]


def _call(served: Served, operation: Operation, match: Dict, requirement: str | None) -> Dict:
    """All of a route but where it leads."""
    authn: Dict = {"@type": f"{TYPE}extensions.filters.http.jwt_authn.v3.PerRouteConfig"}
    authn |= {"requirement_name": requirement} if requirement else {"disabled": True}
    per_filter: Dict = {FILTER: authn}
    schemes = [served.api.schemes[name] for name in sorted({name for names in operation.security for name in names})]
    before, after = credentials.rules(schemes), claims.rules_for(served.feature, served.environment, schemes)
    per_filter |= {credentials.FILTER: before} if before else {}
    per_filter |= {claims.FILTER: after} if after else {}
    charges = limiter.charges(served, operation)
    per_filter |= {limiter.FILTER: PRESENT} if charges else {}
    unverified = _headers_of_keys(served, operation)
    return {
        "name": f"{operation.method} {served.prefix}{operation.path}",
        "match": _asked(match, {"name": ":method", "string_match": {"exact": operation.method}}),
        "route": {
            "timeout": f"{operation.deadline:g}s",
            # The stream is idle while the back end thinks: the deadline, not this, must be what ends it.
            "idle_timeout": f"{operation.deadline + 60:g}s",
            "retry_policy": _retry(operation.method),
        },
        "typed_per_filter_config": per_filter,
        "metadata": {"filter_metadata": {METADATA: {"key": needs_key(served, operation), **charges}}},
        **({"request_headers_to_remove": unverified} if unverified else {}),
    }


def _headers_of_keys(served: Served, operation: Operation) -> list[str]:
    """Where a key may stand that nobody verifies here, beside a token for instance: the verifier takes its own off.

    A header that may carry a token as well is left alone.
    """
    schemes = served.api.schemes.values()
    tokens = {place.name for scheme in schemes if isinstance(scheme, TokenScheme) for place in scheme.places}
    always = {name for name in served.api.schemes if all(name in names for names in operation.security or [()])}
    open_ = [scheme for scheme in schemes if isinstance(scheme, KeyScheme) and scheme.name not in always]
    found = {place.name for scheme in open_ for place in scheme.places if place.kind == "header"}
    return sorted(found - tokens)


def needs_key(served: Served, operation: Operation) -> bool:
    """Whether nobody comes in without an API key: then its absence is what a refused caller must be told."""
    return bool(operation.security) and all(
        any(isinstance(served.api.schemes[name], KeyScheme) for name in names) for names in operation.security
    )


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
    return _answer(_asked(match, method, *said), 400, FOREIGN)


def _refuse_method(match: Dict, path: str, methods: list[str]) -> Dict:
    allow = {"header": {"key": "allow", "value": ", ".join(sorted(methods))}}  # RFC 9110, 15.5.6
    return _answer(match, 405, NOT_ALLOWED.format(path)) | {"response_headers_to_add": [allow]}


def _answer(match: Dict, status: int, message: str) -> Dict:
    return {"match": match, "direct_response": {"status": status, "body": {"inline_string": message}}}
