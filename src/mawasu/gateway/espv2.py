"""How ESPv2 is started on Cloud Run: its image, its arguments, and the template of its revisions.

Arguments: GoogleCloudPlatform/esp-v2, docker/generic/start_proxy.py; the environment: docker/serverless/
env_start_proxy.py. The template: run.v2, RevisionTemplate.

**A pinned version, not a baked image.** ESPv2 gets the service configuration in one of three ways: it follows
rollouts, it fetches one version when it starts, or it finds a file in its image. The first lets a running revision
change under its traffic: no candidate could be looked at before it serves. The file is what Google's tutorial for Cloud
Run does: another image for every document, built (a minute or two of each switch), kept and cleaned up, so that a start
needs no call. The second, chosen here, makes a revision as immutable with no build at all: the name and version are in
its environment. Its price: a starting instance calls Service Management once, and one that starts while that is down
fails; running ones do not notice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mawasu.words import digest_of_value

Dict = dict[str, Any]

IMAGE = "gcr.io/endpoints-release/endpoints-runtime-serverless:2.55.7"
PORT = 8080
FORGET = 60
"""Seconds until ESPv2 has heard of a created or revoked API key: how long it keeps a key set."""

_METHODS = "GET, POST, PUT, PATCH, DELETE, OPTIONS"
_HEADERS = "Authorization, Content-Type, X-API-Key"


def arguments(cors: Sequence[str] = ()) -> list[str]:
    """The arguments of start_proxy.py. `cors`: origins that browsers may call from, ("*",) for any."""
    found = [
        f"--jwks_cache_duration_in_s={FORGET}",
        # A verified token is remembered beside the key set, not with it: a revoked key would open doors until its
        # token fell out of that cache, and it may never expire.
        "--jwt_cache_size=0",
        # As the local gateway: what may have been seen by a replica is not sent to another one.
        "--backend_retry_ons=connect-failure,refused-stream",
        "--disallow_escaped_slashes_in_path",
        "--disable_tracing",  # it would need another role, for one request in a thousand
    ]
    if not cors:
        return found
    if len(cors) == 1:
        found += ["--cors_preset=basic", f"--cors_allow_origin={cors[0]}"]
    else:
        either = "|".join(re.escape(origin) for origin in cors)
        found += ["--cors_preset=cors_with_regex", f"--cors_allow_origin_regex=^({either})$"]
    return [*found, f"--cors_allow_methods={_METHODS}", f"--cors_allow_headers={_HEADERS}"]


def escaped(arguments: Sequence[str]) -> str:
    """The value of ESPv2_ARGS: joined by commas, or by what stands between two `^` at its beginning.

    Nothing reads quotation marks or backslashes there: an argument is passed on as it is. Raises ValueError for one
    that could not be.
    """
    if not all(arguments) or any("\0" in one for one in arguments):
        raise ValueError("an argument is empty or has a NUL inside")
    plain = ",".join(arguments)
    if not plain.startswith("^") and plain.split(",") == list(arguments):
        return plain
    for delimiter in ("++", *(sign * count for count in range(1, 64) for sign in "|~;:!#%@")):
        joined = delimiter.join(arguments)
        if joined.split(delimiter) == list(arguments):  # "a+" and "b" joined by "++" would part elsewhere
            return f"^{delimiter}^{joined}"
    raise ValueError("no delimiter is left for these arguments")


def unescaped(text: str) -> list[str]:
    """What env_start_proxy.py makes of ESPv2_ARGS."""
    delimiter = ","
    if text.startswith("^") and "^" in text[1:]:
        delimiter, text = text[1:].split("^", 1)
    return text.split(delimiter)


def template(
    service: str, account: str, labels: Dict, host: str = "", config: str = "", cors: Sequence[str] = ()
) -> Dict:
    """A revision of the gateway for one version of a service configuration.

    Without one it answers 503, which is enough to have the host's name. The revision's name says what is in it, so
    that a switch that was cut off finds what it made.
    """
    environ = {"ESPv2_ARGS": escaped(arguments(cors))}
    if config:
        environ |= {"ENDPOINTS_SERVICE_NAME": host, "ENDPOINTS_SERVICE_VERSION": config}
    body: Dict = {
        "labels": labels,
        "serviceAccount": account,
        "scaling": {"minInstanceCount": 0, "maxInstanceCount": 20},
        "maxInstanceRequestConcurrency": 250,
        "timeout": "3600s",  # the document's deadlines decide
        "containers": [
            {
                "name": "espv2",
                "image": IMAGE,
                "ports": [{"containerPort": PORT}],
                "env": [{"name": name, "value": value} for name, value in sorted(environ.items())],
                "resources": {"limits": {"cpu": "1", "memory": "512Mi"}, "cpuIdle": True, "startupCpuBoost": True},
            }
        ],
    }
    return {"revision": f"{service}-{digest_of_value(body).removeprefix('sha256:')[:10]}", **body}
