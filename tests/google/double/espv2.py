"""A stand-in for ESPv2 on Cloud Run: routes, credentials, and calls of back ends, read from the rolled-out document.

It reads what mawasu submitted as ESPv2 would (cloud.google.com/endpoints/docs/openapi/openapi-extensions) as far as the
story goes: path templates, `x-google-backend` with APPEND_PATH_TO_ADDRESS, identity tokens made out to `jwt_audience`,
and tokens checked with the key sets that were published. It proves that the document leads somewhere, not what ESPv2
answers: that only Google can show.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from tests.google.double.faults import Answer
from tests.google.double.server import Incoming
from tests.google.double.servicemanagement import managed

if TYPE_CHECKING:
    from tests.google.double.core import Double

IMAGE = "endpoints-runtime-serverless"
HOP = frozenset({"connection", "transfer-encoding", "keep-alive", "content-length", "host", "authorization"})


class Espv2:
    """One revision of a gateway. As `machine.Instance`, but nothing has to be started."""

    state = "SUCCEEDED"
    message = ""

    def __init__(self, double: Double, revision: Mapping[str, Any]) -> None:
        self._double = double
        (container,) = revision["containers"]
        self._account = revision["serviceAccount"]
        self._environ = {one["name"]: one["value"] for one in container["env"]}

    def end(self) -> None:
        """Nothing runs."""

    def close(self) -> None:
        """Nothing runs."""

    def ask(self, incoming: Incoming) -> Answer:
        service = managed(self._double).get(self._environ.get("ENDPOINTS_SERVICE_NAME", ""))
        document = service.documents.get(self._environ["ENDPOINTS_SERVICE_VERSION"]) if service else None
        if document is None:
            return _no(503, "no service configuration")
        operation, known = _operation(document, incoming)
        if operation is None:
            return _no(405, "method not allowed") if known else _no(404, "not defined by this API")
        if operation["security"] and not self._let_in(document, operation["security"], incoming):
            return _no(401, "Jwt is missing or is not good")
        return self._carry(operation["x-google-backend"], incoming)

    def _let_in(self, document: Mapping[str, Any], security: list[dict[str, Any]], incoming: Incoming) -> bool:
        schemes = [document["securityDefinitions"][name] for one in security for name in one]
        return any(self._good(scheme, incoming) for scheme in schemes)

    def _good(self, scheme: Mapping[str, Any], incoming: Incoming) -> bool:
        """Whether the request has a token of the scheme's issuer for one of its audiences."""
        place = urlsplit(scheme["x-google-jwks_uri"])
        bucket, _, name = place.path.removeprefix("/").partition("/")
        published = self._published(bucket, name)
        for token in _tokens(scheme, incoming):
            with contextlib.suppress(JoseError, ValueError):
                claims = jwt.decode(token, KeySet.import_key_set(json.loads(published or b""))).claims
                audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
                known = set(scheme["x-google-audiences"].split(","))
                if claims["iss"] == scheme["x-google-issuer"] and known & set(audiences):
                    return True
        return False

    def _published(self, bucket: str, name: str) -> bytes:
        """An object of a public bucket."""
        address = self._double.url.removeprefix("http://")
        target = f"/storage.googleapis.com/storage/v1/b/{bucket}/o/{quote(name, safe='')}?alt=media"
        headers = {"authorization": f"Bearer {self._double.identity.token(self._account)}"}
        with contextlib.closing(http.client.HTTPConnection(address, timeout=60)) as connection:
            connection.request("GET", target, headers=headers)
            answer = connection.getresponse()
            return answer.read() if answer.status == 200 else b""

    def _carry(self, backend: Mapping[str, Any], incoming: Incoming) -> Answer:
        assert backend["path_translation"] == "APPEND_PATH_TO_ADDRESS"
        address = urlsplit(backend["address"])
        token = self._double.identity.id_token(backend["jwt_audience"], self._account)
        headers = {name: value for name, value in incoming.headers.items() if name.lower() not in HOP}
        headers["authorization"] = f"Bearer {token}"
        with contextlib.closing(http.client.HTTPConnection(address.netloc, timeout=60)) as connection:
            target = address.path.rstrip("/") + incoming.target
            connection.request(incoming.method, target, incoming.read() or None, headers)
            answer = connection.getresponse()
            kept = {name: value for name, value in answer.getheaders() if name.lower() not in HOP | {"date", "server"}}
            return Answer(answer.status, answer.read(), kept)


def _operation(document: Mapping[str, Any], incoming: Incoming) -> tuple[dict[str, Any] | None, bool]:
    """The operation that a request meets, and whether its path is known at all."""
    path = incoming.target.partition("?")[0]
    for template, item in document["paths"].items():
        if re.fullmatch(re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(template)), path):
            return item.get(incoming.method.lower()), True
    return None, False


def _tokens(scheme: Mapping[str, Any], incoming: Incoming) -> list[str]:
    query = parse_qs(incoming.target.partition("?")[2])
    found = []
    for place in scheme["x-google-jwt-locations"]:
        if "header" in place:
            found.append(incoming.headers.get(place["header"], "").removeprefix(place.get("value_prefix", "")))
        else:
            found += query.get(place["query"], [])
    return [token for token in found if token]


def _no(status: int, message: str) -> Answer:
    return Answer(status, {"code": status, "message": message})
