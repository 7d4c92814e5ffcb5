"""Behind Cloud Endpoints: a request as the gateway of one machine would have handed it over.

ESPv2 leaves the path as its caller sent it, with `/<feature>/<environment>` before it, and drops no header that a
caller made up: it writes `X-Endpoint-API-UserInfo` only where it verified a token. Where none was asked for, it calls a
path below `OPEN` (`gateway/swagger.py` says so), and what stands in these headers there is nobody's word.
"""

from __future__ import annotations

import base64
import json

from mawasu.serving.message import Headers

OPEN = "/-open"
USER_INFO = b"x-endpoint-api-userinfo"
CONSUMER = b"x-mawasu-consumer"
ISSUER = "mawasu"  # of API keys


def arrived(prefix: str, path: bytes, headers: Headers) -> tuple[bytes, Headers]:
    """The path that the document names, and the headers that can be believed. `path` as it was sent, no query.

    What is called without the prefix (an example, before there is traffic) stays as it is.
    """
    opened = path.startswith(f"{OPEN}{prefix}".encode())
    rest = path.removeprefix(OPEN.encode()) if opened else path
    if not (rest + b"/").startswith(f"{prefix}/".encode()):
        return path, headers
    forged = (USER_INFO, CONSUMER) if opened else (CONSUMER,)
    believed = [(name, value) for name, value in headers if name.lower() not in forged]
    consumer = _consumer(believed)
    return rest.removeprefix(prefix.encode()) or b"/", believed + ([(CONSUMER, consumer)] if consumer else [])


def _consumer(headers: Headers) -> bytes:
    """Whom an API key was made for, by the claims that were verified; b"" when it was another token."""
    told = [value for name, value in headers if name.lower() == USER_INFO]
    if len(told) != 1:
        return b""
    try:
        claims = json.loads(base64.urlsafe_b64decode(told[0] + b"=" * (-len(told[0]) % 4)))
    except ValueError:
        return b""
    if not isinstance(claims, dict) or claims.get("iss") != ISSUER:
        return b""
    consumer = str(claims.get("sub", ""))
    return consumer.encode() if consumer.isascii() and consumer.isprintable() else b""
