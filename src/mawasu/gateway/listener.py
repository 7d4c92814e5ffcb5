"""What Envoy is started with and keeps: the listener, its filters, the words of its refusals, limits, the access log.

Follows Envoy's "Configuring Envoy as an edge proxy"; messages and codes are ESPv2's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mawasu.gateway import claims, credentials, edge, limiter, reference, rewriting, routes, splits, tracing
from mawasu.gateway.authn import CONSUMER, FILTER, METADATA, TYPE, USER_INFO
from mawasu.gateway.clusters import BUFFER, HTTP2
from mawasu.gateway.edge import Edge

Dict = dict[str, Any]

LARGEST_BODY = 10 * 2**20  # bytes; the request is held until it is whole, so this is memory

OF_ESPV2 = ("x-endpoint-api-consumer-type", "x-endpoint-api-consumer-number")
"""Whose API key it was, as ESPv2 says it of Google's keys: a back end written for it may believe them."""
FORGED = (USER_INFO, CONSUMER, *OF_ESPV2, "x-envoy-original-path", "x-forwarded-authorization")
"""Headers in which the back end trusts the gateway: whatever a caller says in them is dropped first."""

FORWARDED = ("x-forwarded-for", "forwarded")
"""Whom a request came by: only proxies that are known to be there may say."""

NO_KEY = (
    "Method doesn't allow unregistered callers (callers without established identity). "
    "Please use API Key or other form of API consumer identity to call this API."
)
BAD_KEY = "INVALID_ARGUMENT: API key not valid. Please pass a valid API key."
OLD_KEY = "INVALID_ARGUMENT: API key expired. Please renew the API key."
OTHER_KEY = "PERMISSION_DENIED: The API key is not allowed to call this API."
SPENT = "RESOURCE_EXHAUSTED: The quota of this consumer is spent. A minute later there is more."
TWO_CREDENTIALS = "More than one Jwt or API key in one request"
BAD_PATH = "The path of the request is not allowed"
TUNNEL = "CONNECT is not served here"
CRITICAL = "Jwt has a critical header that is not understood"

CLUSTERS, ROUTES, AUTHN, QUOTAS = "clusters.json", "routes.json", "authn.json", "quotas.json"
FILES = (CLUSTERS, ROUTES, AUTHN, QUOTAS)


def bootstrap(at: Edge, directory: str, access_log: str, trust: str = "") -> Dict:
    """Envoy's bootstrap. `directory` has the admin socket and the dynamic files (CDS, RDS, ECDS, SDS).

    `trust` is the file of CA certificates for a collector of traces.
    """
    collector = {"clusters": [tracing.cluster(at.traces, trust)]} if at.traces else {}
    return {
        "node": {"id": "gateway", "cluster": "mawasu"},
        "admin": {"address": {"pipe": {"path": f"{directory}/admin.sock", "mode": 0o600}}},
        "dynamic_resources": {"cds_config": _source(directory, CLUSTERS)},
        "static_resources": {"listeners": [_listener(at, directory, access_log)], **collector},
        "overload_manager": edge.overload(at),
        "layered_runtime": {"layers": [{"name": "limits", "static_layer": edge.runtime(at)}]},
    }


def _source(directory: str, file: str) -> Dict:
    return {"path_config_source": {"path": f"{directory}/{file}"}, "resource_api_version": "V3"}


def _listener(at: Edge, directory: str, access_log: str) -> Dict:
    chain: Dict = {"filters": [_typed("http", _MANAGER, _manager(at, directory, access_log))]}
    if at.tls:
        # A handshake may take as long as the headers of a request.
        chain |= {
            "transport_socket": edge.transport(directory),
            "transport_socket_connect_timeout": f"{at.header_time:g}s",
        }
    return {
        "name": edge.LISTENER,
        "address": {"socket_address": {"address": at.host, "port_value": at.port}},
        # Shared ports would let a second gateway take half of the requests instead of failing to start.
        "enable_reuse_port": False,
        "per_connection_buffer_limit_bytes": BUFFER,
        "filter_chains": [chain],
    }


_MANAGER = "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def _typed(name: str, kind: str, body: Dict) -> Dict:
    return {"name": name, "typed_config": {"@type": f"{TYPE}{kind}", **body}}


def _manager(at: Edge, directory: str, access_log: str) -> Dict:
    forged = FORGED + (() if at.trusted_hops else FORWARDED) + (tracing.FORGED if at.traces else ())
    early = _typed(
        "forged", "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation", _removed(forged)
    )
    return {
        "stat_prefix": "ingress",
        "codec_type": "AUTO",
        "rds": {"route_config_name": routes.NAME, "config_source": _source(directory, ROUTES)},
        "use_remote_address": True,
        "xff_num_trusted_hops": at.trusted_hops,
        "early_header_mutation_extensions": [early],
        # The number in the access log, for callers to ask about; over whatever a back end says there.
        "always_set_request_id_in_response": True,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "common_http_protocol_options": {
            "headers_with_underscores_action": "REJECT_REQUEST",
            "idle_timeout": "600s",
            "max_headers_count": 100,
        },
        # An absolute URL names a host, and this gateway answers for none but itself.
        "http_protocol_options": {"allow_absolute_url": False},
        "http2_protocol_options": HTTP2,
        "max_request_headers_kb": 60,
        "request_headers_timeout": f"{at.header_time:g}s",
        "request_timeout": f"{at.request_time:g}s",
        "stream_idle_timeout": "300s",
        "http_filters": _filters(at, directory),
        "local_reply_config": _replies(),
        "access_log": _logs(access_log),
        **({"tracing": tracing.manager(at.traces)} if at.traces else {}),
    }


def _removed(headers: Iterable[str]) -> Dict:
    return {"mutations": [{"remove": name} for name in headers]}


def _filters(at: Edge, directory: str) -> list[Dict]:
    """A filter costs a request even where it does nothing, so most are there only for routes that speak of them.

    See decisions/0032-the-cost-of-a-request.md.
    """
    absent = {"disabled": True}
    body = {"max_request_bytes": LARGEST_BODY}
    return [
        *_secure(at.hsts),
        _typed(credentials.FILTER, "extensions.filters.http.rbac.v3.RBAC", {}) | absent,
        _discovered(directory, FILTER, AUTHN, "jwt_authn.v3.JwtAuthentication"),
        _typed(claims.FILTER, "extensions.filters.http.rbac.v3.RBAC", {}) | absent,
        splits.filter_(),
        _discovered(directory, limiter.FILTER, QUOTAS, "local_ratelimit.v3.LocalRateLimit") | absent,
        rewriting.filter_(),
        _typed(routes.BODY, "extensions.filters.http.buffer.v3.Buffer", body) | absent,
        _typed("router", "extensions.filters.http.router.v3.Router", {"suppress_envoy_headers": True}),
    ]


def _discovered(directory: str, name: str, file: str, kind: str) -> Dict:
    """A filter that Envoy finds in a file, and replaces when the file is another (ECDS)."""
    urls = [f"{TYPE}extensions.filters.http.{kind}"]
    return {"name": name, "config_discovery": {"config_source": _source(directory, file), "type_urls": urls}}


def _secure(seconds: int) -> list[Dict]:
    """Strict-Transport-Security (RFC 6797), on whatever the filters after this one answer too."""
    if not seconds:
        return []
    header = {"header": {"key": "strict-transport-security", "value": f"max-age={seconds}"}}
    mutation = {"append": header | {"append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}
    body = {"mutations": {"response_mutations": [mutation]}}
    return [_typed("mawasu.hsts", "extensions.filters.http.header_mutation.v3.HeaderMutation", body)]


def _replies() -> Dict:
    """Every answer of the gateway's own as `{"code": N, "message": …}`, in ESPv2's words.

    The verifier says of keys what it says of tokens; it leaves which of the two passed or failed in its metadata.
    Mappers are tried in order and the first that fits decides.
    """
    verified = f"metadata.filter_metadata['{METADATA}']"
    passed = f"('{METADATA}' in metadata.filter_metadata && 'key' in {verified})"
    needed = f"xds.route_metadata.filter_metadata['{routes.METADATA}']['key']"
    failed = f"{_details('jwt_authn_access_denied')} && {verified}['key failure']['message']"
    return {
        "mappers": [
            _reword(f"{_details('jwt_authn_access_denied{Jwt_is_missing}')} && {needed} && !{passed}", 401, NO_KEY),
            _reword(f"{failed} == 'Jwt is expired'", 400, OLD_KEY),
            _reword(f"{failed} != 'Jwt is missing'", 400, BAD_KEY),
            _reword(_details("local_rate_limited"), 429, SPENT),
            _reword(_refused(credentials.TWO), 401, TWO_CREDENTIALS, "invalid_request"),
            _reword(_refused(credentials.MALFORMED), 400, BAD_KEY),
            _reword(_refused(claims.OTHER), 403, OTHER_KEY, "insufficient_scope"),
            _reword(_refused(claims.CRITICAL), 401, CRITICAL, "invalid_token"),
            _reword(f"{_details('route_not_found')} && request.method == 'CONNECT'", 405, TUNNEL),
            _reword(_details("path_normalization_failed"), 400, BAD_PATH),
            *map(_page, reference.KINDS),
        ],
        "body_format": {"json_format": {"code": "%RESPONSE_CODE%", "message": "%LOCAL_REPLY_BODY%"}},
    }


def _reword(condition: str, status: int, message: str, error: str = "") -> Dict:
    """An answer in other words when a condition (CEL) holds; one that cannot be evaluated does not.

    `error`: what RFC 6750, 3.1 calls it, where the verifier has not said so already.
    """
    challenge = {"header": {"key": "www-authenticate", "value": f'Bearer realm="%REQ(:AUTHORITY)%", error="{error}"'}}
    reply = {"filter": _condition(condition), "status_code": status, "body": {"inline_string": message}}
    return reply | {"headers_to_add": [challenge]} if error else reply


def _condition(expression: str) -> Dict:
    kind = "extensions.access_loggers.filters.cel.v3.ExpressionFilter"
    return {"extension_filter": _typed("cel", kind, {"expression": expression})}


def _page(kind: str) -> Dict:
    """A page that is an answer, and no refusal: as it is."""
    condition = f"xds.route_metadata.filter_metadata['{routes.METADATA}']['page'] == '{kind}'"
    text = {"text_format_source": {"inline_string": "%LOCAL_REPLY_BODY%"}, "content_type": kind}
    return {"filter": _condition(condition), "body_format_override": text}


def _refused(policy: str) -> str:
    """CEL: an RBAC policy of this name refused the request."""
    return _details(f"rbac_access_denied_matched_policy[{policy.replace(' ', '_')}]")


def _details(start: str) -> str:
    """CEL: Envoy's own reason for the answer starts with this."""
    return f"response.code_details.startsWith('{start}')"


def _logs(path: str) -> list[Dict]:
    """JSON lines without query, credentials or bodies; Envoy escapes what callers wrote, and long paths are cut.

    `flags`: Envoy's response flags (docs: configuration/observability/access_log/usage). `from`: the caller's address,
    as far as `trusted_hops` tells it. `path` is the one that the back end was asked for, or the caller's in a refusal;
    `revision` the one that the route leads to.
    A path that is more than a path is refused, and not written: it can hold a user's password, or after `#` a token.
    """
    return [_when_path(True, _line(path, "%PATH(NQ:ORIG_OR_PATH):1024%")), _when_path(False, _line(path, "-"))]


def _when_path(is_one: bool, line: Dict) -> Dict:
    plain = {"safe_regex": {"regex": "(/[^#]*)?"}}  # empty: a request that could not even be read
    header = {"name": ":path", "string_match": plain, "treat_missing_header_as_empty": True}
    when = {"header_filter": {"header": header | {"invert_match": not is_one}}}
    return _typed("file", "extensions.access_loggers.file.v3.FileAccessLog", line) | {"filter": when}


def _line(path: str, asked: str) -> Dict:
    return {
        "path": path,
        "log_format": {
            "json_format": {
                "time": "%START_TIME%",
                "from": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
                "protocol": "%PROTOCOL%",
                "method": "%REQ(:METHOD):32%",
                "path": asked,
                "route": "%ROUTE_NAME%",
                "status": "%RESPONSE_CODE%",
                "flags": "%RESPONSE_FLAGS%",
                "details": "%RESPONSE_CODE_DETAILS%",
                "ms": "%DURATION%",
                "sent": "%BYTES_SENT%",
                "received": "%BYTES_RECEIVED%",
                "consumer": f"%DYNAMIC_METADATA({METADATA}:key:sub)%",
                "revision": f"%CLUSTER_METADATA({routes.METADATA}:revision)%",
                "request": "%REQ(X-REQUEST-ID)%",
            }
        },
    }
