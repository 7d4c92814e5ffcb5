"""Who may call, and how often, as Cloud Endpoints says it: security definitions, requirements, quotas, refusals.

Endpoints holds alternatives (OR) of tokens, or one API key of Google's together with one token, and nothing else
(cloud.google.com/endpoints/docs/openapi/openapi-limitations). mawasu's own keys are tokens to it, so a key *or* a token
works, as on the local gateway; a key *and* a token does not, unless the keys are Google's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from mawasu.gateway import quotas, templates
from mawasu.gateway.authn import grants_for
from mawasu.gateway.described import Template
from mawasu.gateway.document import Path
from mawasu.gateway.forms import KeyScheme, Limit, Place, Scheme, TokenScheme
from mawasu.gateway.openapi import Found, Reading
from mawasu.gateway.outside import BACKEND, CONSTANT
from mawasu.gateway.schemas import Dict
from mawasu.gateway.schemes import AUDIENCES, ISSUER, JWKS_URI, LOCATIONS, OURS
from mawasu.words import digest_of

GOOGLE_PLACES = (Place("header", "x-api-key"), Place("query", "key"), Place("query", "api_key"))
"""Where ESPv2 reads Google's API keys, and nowhere else."""

GOOGLE = "google"


class KeySets:
    """Where key sets are published, by URL, and those of them that stand in the documents themselves."""

    def __init__(self, base: str) -> None:
        self._base = base.rstrip("/")
        self.inline: dict[str, str] = {}

    def of_feature(self, feature: str) -> str:
        return f"{self._base}/{key_set_name(feature)}"

    def of_scheme(self, scheme: TokenScheme) -> str:
        """A document may hold its key set itself; Endpoints wants a URL, so that one is published too."""
        if not scheme.jwks:
            return scheme.jwks_uri
        name = f"tokens/{digest_of(scheme.jwks.encode()).removeprefix('sha256:')[:32]}.json"
        self.inline[name] = scheme.jwks
        return f"{self._base}/{name}"


def key_set_name(feature: str) -> str:
    """The object that holds the public halves of all API keys which open something of a feature."""
    return f"keys/{feature}.json"


# ------------------------------------------------------------------------------------------------------ refusing


def refuse(reading: Reading, keys: str) -> None:
    """Faults for everything of a document that Cloud Endpoints cannot hold. `keys`: mawasu's or google's."""
    used = {name for found in reading.operations for names in found.operation.security for name in names}
    for name, scheme in reading.api.schemes.items():
        if name in used:
            for at, message in _scheme_faults(scheme, (*reading.schemes_at, name), keys):
                reading.fault(at, message)
    for found in reading.operations:
        for at, message in _operation_faults(reading, found, keys):
            reading.fault(at, message)


def _scheme_faults(scheme: Scheme, at: Path, keys: str) -> Iterator[tuple[Path, str]]:
    if isinstance(scheme, KeyScheme):
        if keys == GOOGLE and not set(scheme.places) & set(GOOGLE_PLACES):
            cause = "Cloud Endpoints reads Google's API keys from the header x-api-key, or the query as key or api_key"
            yield at, f"{cause}; or use mawasu's own (gcp.gateway.keys: mawasu)"
        return
    if any(place.kind == "cookie" for place in scheme.places):
        yield (*at, LOCATIONS), "Cloud Endpoints reads no tokens from cookies: name a header or a query parameter"
    if any("," in audience for audience in scheme.audiences):
        yield (*at, AUDIENCES), "Cloud Endpoints separates audiences by commas: none may have one inside"


def _operation_faults(reading: Reading, found: Found, keys: str) -> Iterator[tuple[Path, str]]:
    operation = found.operation
    if operation.method == "TRACE":
        yield found.at, "Cloud Endpoints takes Swagger 2.0, which has no trace"
    if wrong := Template.fault_of(operation.path):
        yield found.at[:-1], wrong
    yield from _outside_faults(found)
    security = (*found.at, "security") if "security" in found.body else ("security",)
    schemes = reading.api.schemes
    with_key = [any(_is_key(schemes, name) for name in names) for names in operation.security]
    for names in operation.security:
        if not names:
            cause = "Cloud Endpoints cannot let callers in with or without credentials"
            yield security, f"{cause}: give the open form a path of its own with `security: []`"
        elif len(names) > 1 and not (
            keys == GOOGLE and len(names) == 2 and sum(_is_key(schemes, name) for name in names) == 1
        ):
            cause = f"Cloud Endpoints cannot ask for {' and '.join(names)} together, only for one of several"
            yield security, f"{cause}; an API key of Google's and one token it can (gcp.gateway.keys: google)"
    if keys == GOOGLE and any(with_key) and len(operation.security) > 1:
        cause = "Cloud Endpoints cannot take an API key of Google's or something else"
        yield security, f"{cause}; mawasu's own keys it can (gcp.gateway.keys: mawasu)"
    if operation.costs and not (keys == GOOGLE and with_key and all(with_key)):
        cause = "Cloud Endpoints counts calls by Google's API keys, and this operation can be called without one"
        hint = "set gcp.gateway.keys: google and ask for a key here"
        yield (*found.at, quotas.QUOTA), f"{cause}: {hint}"


def _outside_faults(found: Found) -> Iterator[tuple[Path, str]]:
    """ESPv2 puts variables into a query, but can neither take a path apart nor name a variable as it wants."""
    backend, path = found.operation.backend, found.operation.path
    if backend is None or templates.is_literal(path):
        return
    here = (*found.at, BACKEND) if BACKEND in found.body else (BACKEND,)
    if not backend.constant:
        cause = "Cloud Endpoints would append the feature and the environment as well as this path"
        yield here, f"{cause}: a path with variables can only be called with path_translation: {CONSTANT}"
    elif any(name != given for name, given in Template(path).names.items()):
        yield found.at[:-1], "Cloud Endpoints takes letters, digits and '_' in the name of a variable, which is sent"


def _is_key(schemes: Mapping[str, Scheme], name: str) -> bool:
    return isinstance(schemes.get(name), KeyScheme)


# ------------------------------------------------------------------------------------------------------ saying


def definition(scheme: Scheme, feature: str, environment: str, keys: str, sets: KeySets) -> Dict:
    """A scheme as an entry of `securityDefinitions`: a JWT provider to ESPv2, or Google's `apiKey`."""
    if isinstance(scheme, TokenScheme):
        return _provider(scheme.issuer, sets.of_scheme(scheme), scheme.audiences, scheme.places)
    if keys == GOOGLE:
        place = next(place for place in scheme.places if place in GOOGLE_PLACES)
        return {"type": "apiKey", "in": place.kind, "name": place.name}
    # Another audience for each environment, so that a key opens what it was granted and nothing beside it.
    return _provider(OURS, sets.of_feature(feature), grants_for(feature, environment), scheme.places)


def _provider(issuer: str, jwks_uri: str, audiences: Sequence[str], places: Sequence[Place]) -> Dict:
    return {
        "type": "oauth2",
        "flow": "implicit",
        "authorizationUrl": "",
        ISSUER: issuer,
        JWKS_URI: jwks_uri,
        AUDIENCES: ",".join(audiences),
        LOCATIONS: [_location(place) for place in places],
    }


def _location(place: Place) -> Dict:
    return {place.kind: place.name, **({"value_prefix": place.prefix} if place.prefix else {})}


def management(metrics: dict[str, str], limits: Sequence[Limit]) -> Dict:
    """`x-google-management` of the whole gateway."""
    return {
        "metrics": [
            {"name": name, "displayName": title or name, "valueType": "INT64", "metricKind": "DELTA"}
            for name, title in metrics.items()
        ],
        "quota": {
            "limits": [
                {"name": one.name, "metric": one.metric, "unit": quotas.UNIT, "values": {"STANDARD": one.per_minute}}
                for one in limits
            ]
        },
    }


def mark(value: object) -> str:
    """A digest of a JSON value, as `Names.give` wants it."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return digest_of(text.encode()).removeprefix("sha256:")
