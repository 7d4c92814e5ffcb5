"""The sites of one feature → one Swagger 2.0 document for Cloud Endpoints, which ESPv2 serves.

The path of a request stays as it is on its way to the back end (`APPEND_PATH_TO_ADDRESS`), prefix and all; the server
in front of the model takes the prefix off (`serving/behind.py`). See decisions/0012-the-prefix-on-cloud-run.md for why
ESPv2 cannot do it itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from mawasu.errors import SpecError
from mawasu.gateway import endpoints, official, templates
from mawasu.gateway.described import Template, describe
from mawasu.gateway.endpoints import KeySets, mark
from mawasu.gateway.forms import Limit, Operation, Outside
from mawasu.gateway.openapi import Found, Reading
from mawasu.gateway.outside import APPEND, BACKEND, CONSTANT
from mawasu.gateway.quotas import ENDPOINTS, MANAGEMENT, QUOTA
from mawasu.gateway.schemas import Dict, Names, Schemas
from mawasu.gateway.schemes import ISSUER, OURS
from mawasu.words import Endpoint, Site, Value, digest_of_value

FILE = "openapi.json"
OPEN = "/-open"
"""Before the path of a request for which no token was asked: what its headers say of identity is forged, or chance, for
ESPv2 overwrites them only where it verified one (`serving/behind.py` reads this)."""
CODES = {"default": {"description": ""}}


class Backed(NamedTuple):
    """A site and the URL of the Cloud Run service that answers for it (its own, not that of one revision)."""

    site: Site
    url: str


class Compiled(Value, frozen=True):
    """A document for Endpoints. `summary`, its own description, has its digest: equal for equal documents only.

    `key_sets`: by name, those that must be published before the document takes effect.
    """

    text: str
    summary: str
    key_sets: Mapping[str, str] = {}


def check(text: str, file: str, keys: str = "mawasu") -> None:
    """Raises SpecError with everything of one document that Endpoints cannot hold. `keys`: gcp.gateway.keys."""
    _described(Site("x", "x", text, file, Endpoint("x")), "https://x", _Shared(keys, KeySets("https://x")))


def compile(sites: Sequence[Backed], host: str, keys: str, key_sets: str) -> Compiled:
    """One document for all the environments of a feature at `host`.

    `key_sets` is the URL below which key sets are published (`endpoints.key_set_name`). Raises SpecError with the
    faults of all documents together.
    """
    shared = _Shared(keys, KeySets(key_sets))
    faults: list[object] = []
    for site, url in sorted(sites, key=lambda one: one.site.prefix):
        try:
            _described(site, url, shared)
        except SpecError as error:
            faults.extend(error.faults)
    if faults:
        raise SpecError(tuple(faults))
    features = ", ".join(sorted({one.site.feature for one in sites}))
    document = {
        "swagger": "2.0",
        "info": {"title": features, "version": "1.0.0"},
        "host": host,
        "basePath": "/",
        "schemes": ["https"],
        "consumes": ["application/json"],
        "produces": ["application/json"],
        # Which site's pre-flights reach its back end is said by operations: here it would be said for all of them.
        ENDPOINTS: [{"name": host, "allowCors": False}],
        **shared.sections(),
    }
    summary = f"Made by mawasu. {digest_of_value(document)}"
    document["info"] = {"title": features, "version": "1.0.0", "description": summary}
    return Compiled(json.dumps(document, indent=1) + "\n", summary, shared.sets.inline)


class _Shared:
    """What the sites of one document have in common: its sections, and the names that must be unique in it."""

    def __init__(self, keys: str, sets: KeySets) -> None:
        self.keys, self.sets = keys, sets
        self.security, self.types, self.ids = Names(), Names(), Names()
        self.paths: dict[str, Dict] = {}
        self.schemes: dict[str, Dict] = {}
        self.definitions: dict[str, Dict] = {}
        self.metrics: dict[str, str] = {}
        self.limits: list[Limit] = []

    def sections(self) -> Dict:
        said = {"securityDefinitions": self.schemes, "definitions": self.definitions, "paths": self.paths}
        if self.metrics:
            said[MANAGEMENT] = endpoints.management(self.metrics, self.limits)
        return {key: value for key, value in said.items() if value or key == "paths"}


def _described(site: Site, url: str, shared: _Shared) -> None:
    """Add one site to the document."""
    reading = Reading(site.openapi, site.path)
    endpoints.refuse(reading, shared.keys)
    schemas = Schemas(reading.doc, lambda pointer: _type_name(site, reading, pointer, shared.types))
    seen: dict[str, Template] = {}
    described: list[tuple[Found, Template, Dict]] = []
    for found in reading.operations:
        shape = templates.shape(found.operation.path)
        template = Template(found.operation.path, seen.get(shape))
        seen.setdefault(shape, template)
        described.append((found, template, describe(reading, found, schemas, template)))
    official.check(reading)
    reading.doc.finish()
    names = _secure(site, reading, shared)
    for found, template, said in described:
        said |= {"operationId": _operation_id(site, found, shared.ids), "security": _security(found, names)}
        costs = {_metric(site, name): cost for name, cost in found.operation.costs.items()}
        if costs:
            said[QUOTA] = {"metricCosts": costs}
        _put(shared, site, template, found.operation, said, url)
    if reading.api.cors:
        _open_pre_flights(shared, site, url, reading.operations, seen.values())
    shared.definitions |= schemas.definitions
    shared.metrics |= {_metric(site, name): title for name, title in reading.api.metrics.items()}
    shared.limits += [
        Limit(_metric(site, one.name), _metric(site, one.metric), one.per_minute) for one in reading.api.limits
    ]


def _put(shared: _Shared, site: Site, template: Template, operation: Operation, said: Dict, url: str) -> None:
    tokens = [name for one in said["security"] for name in one if ISSUER in shared.schemes[name]]
    if operation.backend:
        backend = _outside(operation, operation.backend)
    else:
        backend = {
            "address": url if tokens else url + OPEN,
            "path_translation": APPEND,
            "jwt_audience": url,
            "protocol": "h2",  # Cloud Run's front speaks it with every service: one connection for all requests
        }
    path = site.prefix if template.path == "/" else site.prefix + template.path
    backend["deadline"] = operation.deadline
    shared.paths.setdefault(path, {})[operation.method.lower()] = said | {BACKEND: backend}


def _outside(operation: Operation, backend: Outside) -> Dict:
    """An outside back end. ESPv2 cannot take the site's prefix off, so a path that it is to append is made constant."""
    appended = "" if backend.constant or operation.path == "/" else templates.literal(operation.path)
    credential = {"jwt_audience": backend.audience} if backend.audience else {"disable_auth": True}
    return {
        "address": f"https://{backend.authority}{backend.path}{appended}",
        "path_translation": CONSTANT,
        "protocol": "h2" if backend.http2 else "http/1.1",
        **credential,
    }


def _secure(site: Site, reading: Reading, shared: _Shared) -> dict[str, str]:
    """The names of a site's schemes in the document; equal schemes of several sites are one."""
    used = {name for found in reading.operations for one in found.operation.security for name in one}
    names: dict[str, str] = {}
    for name in sorted(used):
        scheme = reading.api.schemes[name]
        body = endpoints.definition(scheme, site.feature, site.environment, shared.keys, shared.sets)
        wish = f"{site.environment} {name}" if body.get(ISSUER) == OURS else name
        names[name] = shared.security.give(wish, mark(body))
        shared.schemes[names[name]] = body
    return names


def _security(found: Found, names: Mapping[str, str]) -> list[Dict]:
    return [{names[name]: [] for name in alternative} for alternative in found.operation.security]


def _operation_id(site: Site, found: Found, ids: Names) -> str:
    operation = found.operation
    wish = operation.id or f"{operation.method.lower()} {operation.path}"
    return ids.give(f"{site.environment} {wish}", mark([site.prefix, operation.method, operation.path]))


def _type_name(site: Site, reading: Reading, pointer: str, types: Names) -> str:
    """Types are of one site: another branch may describe the same name otherwise."""
    return types.give(f"{site.environment} {pointer.rpartition('/')[2]}", mark([site.prefix, pointer]))


def _metric(site: Site, name: str) -> str:
    """Each environment has quotas of its own: a preview's calls must not use up production's."""
    return f"{site.environment}-{name}"


def _open_pre_flights(
    shared: _Shared, site: Site, url: str, operations: Iterable[Found], seen: Iterable[Template]
) -> None:
    """`allowCors`: OPTIONS of every path, where the document has none, go to the back end without credentials."""
    taken = {templates.shape(one.operation.path) for one in operations if one.operation.method == "OPTIONS"}
    deadlines: dict[str, float] = {}
    backends: dict[str, Outside | None] = {}
    for one in operations:
        shape = templates.shape(one.operation.path)
        deadlines[shape] = max(deadlines.get(shape, 0.0), one.operation.deadline)
        backends.setdefault(shape, one.operation.backend)
    for template in seen:
        shape = templates.shape(template.path)
        if shape in taken:
            continue
        name = shared.ids.give(f"{site.environment} options {template.path}", mark([site.prefix, "cors", shape]))
        parameters = {"parameters": template.parameters} if template.parameters else {}
        said = {"operationId": name, "security": [], "responses": CODES} | parameters
        asked = Operation("OPTIONS", template.path, (), deadlines[shape], backend=backends[shape])
        _put(shared, site, template, asked, said, url)
