"""Requests as the cache tells them apart. Pure.

A handler sees the body alone, so its key is operation and body, in one canonical spelling. A server of the user's own
sees everything: its requests are told apart by their very bytes, and by every header that says who asks. So an answer
made for one caller is never given to another, whoever forgot what it depends on.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec

from mawasu.serving.message import Request

IDENTITY = (
    b"authorization",
    b"cookie",
    b"x-api-key",
    b"x-apigateway-api-userinfo",
    b"x-endpoint-api-userinfo",
    b"x-forwarded-authorization",
    b"x-goog-iap-jwt-assertion",
    b"x-mawasu-consumer",
    b"x-serverless-authorization",
)
READING = (b"content-encoding", b"content-type", b"host", b"x-http-method-override")
"""Headers besides, without which a request to a server is another one."""
ABSENT = b"\0"  # no value of a header (RFC 9110 §5.5)

Spelling = tuple[bytes | str, ...]
"""Method, path, query, body, and the values of the headers that count, all as they were sent."""

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder(order="sorted").encode


def keyed_headers(vary: tuple[str, ...], *, command: bool) -> tuple[bytes, ...]:
    """The headers that are part of every key, in lower case."""
    own = (*IDENTITY, *READING) if command else ()
    return tuple(dict.fromkeys((*own, *(name.lower().encode() for name in vary))))


def spelling(request: Request, body: bytes, keyed: tuple[bytes, ...]) -> Spelling:
    if not keyed:
        return request.method, request.path, request.query, body
    values: dict[bytes, bytes] = {}
    for name, value in request.headers:
        if name in keyed:
            values[name] = values[name] + b", " + value if name in values else value
    return request.method, request.path, request.query, body, *(values.get(name, ABSENT) for name in keyed)


def anonymous(spelled: Spelling, keyed: tuple[bytes, ...]) -> bool:
    """Whether nothing in it says who asked."""
    return all(value == ABSENT for name, value in zip(keyed, spelled[4:], strict=True) if name in IDENTITY)


def digest(scope: bytes, spelled: Spelling, *, as_json: bool) -> bytes:
    """The key: 40 hex digits of all that the answer may depend on. `as_json` takes equal JSON for equal."""
    method, path, query, body, *values = [part if isinstance(part, bytes) else part.encode() for part in spelled]
    if as_json:
        query, body = sorted_query(query), canonical(body)
    parts = (scope, method, path, query, body, *values)
    return blake2b(b"".join([b"%d:%b," % (len(part), part) for part in parts]), digest_size=20).hexdigest().encode()


def canonical(body: bytes) -> bytes:
    """One spelling of equal JSON values: keys sorted, no spaces, numbers as Python reads them (`1` is not `1.0`).

    What is not JSON, or cannot be read without loss, stays as it is.
    """
    try:
        return _encode(_decode(body))
    except (ValueError, RecursionError):
        return body


def sorted_query(query: bytes) -> bytes:
    """Parameters by name; several of one name keep their order."""
    if b"&" not in query:
        return query
    pairs = query.split(b"&")
    pairs.sort(key=_name)
    return b"&".join(pairs)


def _name(pair: bytes) -> bytes:
    return pair.partition(b"=")[0]
