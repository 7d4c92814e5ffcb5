"""The intermediate form: what an OpenAPI document asks of a gateway, said without any gateway's words.

`openapi.py` makes it; `envoy.py` and `swagger.py` compile it, each refusing what its gateway cannot hold. Everything is
complete: defaults filled in, references resolved.
"""

from __future__ import annotations

from collections.abc import Mapping

from mawasu.words import Endpoint, Split, Value

DEADLINE = 15.0
"""Seconds a back end may take unless the document says otherwise (ESPv2's default)."""


class Fault(Value, frozen=True):
    """One thing that is wrong in a document: where (file, line from 1, path of keys) and what."""

    file: str
    line: int
    at: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.at}: {self.message}" if self.at else f"{where}: {self.message}"


class Place(Value, frozen=True):
    """Where a request carries a credential: `kind` is header, query or cookie; `prefix` stands before the value."""

    kind: str
    name: str
    prefix: str = ""


class KeyScheme(Value, frozen=True, tag="key"):
    """API keys that mawasu issued, read from `places`."""

    name: str
    places: tuple[Place, ...]


class TokenScheme(Value, frozen=True, tag="token"):
    """JWTs of one issuer (RFC 7519), read from `places`. Keys come from `jwks_uri`, or stand in `jwks` as JSON text."""

    name: str
    issuer: str
    audiences: tuple[str, ...]
    places: tuple[Place, ...]
    jwks_uri: str = ""
    jwks: str = ""


Scheme = KeyScheme | TokenScheme


class Operation(Value, frozen=True):
    """One method on one path template.

    `security` is an OR of ANDs of scheme names: any inner tuple whose schemes are all satisfied opens the operation;
    an empty inner tuple lets callers without credentials in (bad ones are still refused); an empty outer tuple asks
    for nothing at all. `deadline` is in seconds. `id` is the document's operationId ("" when it gives none); `costs`
    says how much one call takes of each metric.
    """

    method: str
    path: str
    security: tuple[tuple[str, ...], ...]
    deadline: float = DEADLINE
    id: str = ""
    costs: Mapping[str, int] = {}


class Limit(Value, frozen=True):
    """How much of a metric one consumer may use up in a minute."""

    name: str
    metric: str
    per_minute: int
    title: str = ""


class Api(Value, frozen=True):
    """What one document says. `metrics`: titles by name. `cors`: pre-flights pass to the back end, which answers."""

    operations: tuple[Operation, ...]
    schemes: Mapping[str, Scheme]
    metrics: Mapping[str, str] = {}
    limits: tuple[Limit, ...] = ()
    cors: bool = False


class Served(Value, frozen=True):
    """An API at its address `/<feature>/<environment>` of the gateway, and who answers for it: some, with a split."""

    feature: str
    environment: str
    api: Api
    endpoint: Endpoint
    split: Split | None = None

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Everybody who answers."""
        shares = self.split.shares if self.split else ()
        return (self.endpoint, *(share.endpoint for share in shares))

    @property
    def prefix(self) -> str:
        return f"/{self.feature}/{self.environment}"
