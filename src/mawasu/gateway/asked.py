"""A request as the gateway looks at it: its path as it is matched, and the credentials that it carries."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from mawasu.gateway.forms import Place
from mawasu.words import Value

_REFUSED = re.compile(r"%(?:2f|5c)|\x00", re.IGNORECASE)
_UNRESERVED = re.compile(r"%(2[de]|3\d|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9ae])", re.IGNORECASE)
_PARAMETERS = re.compile(r"(?<=[/\\])(\.\.?);[^/\\]*")
"""`..;x` is `..` to servers that know parameters of segments, and to Envoy, unless the dots are escaped."""
_AS_IT_IS = "/-._~!$&'()*+,;=:@%[]"
_NOT_IN_A_TOKEN = re.compile(r"^[^A-Za-z0-9_.-]+(?=[A-Za-z0-9_.-])")


class Request(Value, frozen=True):
    """`target` is the path with its query, as it is sent; `headers` are names and values in any case and order."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]

    @property
    def is_pre_flight(self) -> bool:
        """What a browser asks before it lets another origin's page call (Fetch Standard, "CORS-preflight request")."""
        return self.method == "OPTIONS" and all(map(self.values, ("origin", "access-control-request-method")))


def sent_at(request: Request, place: Place, credential: str) -> Request:
    """The request with a credential more, in one place."""
    if place.kind == "query":
        glue = "&" if "?" in request.target else "?"
        target = f"{request.target}{glue}{quote(place.name)}={quote(credential)}"
        return Request(request.method, target, request.headers)
    pair = ("cookie", f"{place.name}={credential}")
    if place.kind == "header":
        pair = (place.name, f"{place.prefix}{credential}")
    return Request(request.method, request.target, (*request.headers, pair))


def path_of(target: str) -> str | None:
    """The path that is matched, as Envoy normalises it (`normalize_path`, `merge_slashes`); None: it is refused."""
    path = target.partition("?")[0]
    if "#" in target or not path.startswith("/") or _REFUSED.search(path):
        return None
    path = _PARAMETERS.sub(r"\1", path)
    if "%00" in path:
        return None
    plain = _UNRESERVED.sub(lambda match: chr(int(match[1], 16)), path).replace("\\", "/")
    return re.sub("/+", "/", _without_dots(quote(plain, safe=_AS_IT_IS)))


def _without_dots(path: str) -> str:
    """RFC 3986, 5.2.4."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for number, segment in enumerate(segments):
        if segment == "..":
            kept = kept[:-1]
        elif segment != ".":
            kept.append(segment)
        if segment in (".", "..") and number == len(segments) - 1:
            kept.append("")
    return "/" + "/".join(kept)


def carried(request: Request, place: Place) -> list[str]:
    """The credentials in one place. Two in one header come as one, with a comma inside (RFC 9110, 5.3)."""
    if place.kind == "query":
        return _query(request.target, place.name)
    if place.kind == "cookie":
        return _cookies(request, place.name)[:1]
    values = request.values(place.name)
    _, found, rest = ",".join(values).partition(place.prefix) if place.prefix else ("", values, ",".join(values))
    return [_NOT_IN_A_TOKEN.sub("", rest) if place.prefix else rest] if found else []


def _query(target: str, name: str) -> list[str]:
    pairs = (pair.partition("=") for pair in target.partition("#")[0].partition("?")[2].split("&"))
    return [unquote(value) for key, _, value in pairs if unquote(key) == name]


def _cookies(request: Request, name: str) -> list[str]:
    pairs = (pair.strip().partition("=") for line in request.values("cookie") for pair in line.split(";"))
    return [value.strip('"') for key, _, value in pairs if key == name]
