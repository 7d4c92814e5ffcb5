"""OpenAPI 3.0, 3.1 and Swagger 2.0 → the intermediate form. Every fault at once; never guesses about who may come in.

`official.py` holds the whole document to the schema of its version. `read` takes what any gateway can hold. Each
compiler refuses the rest of what it reads, in its own words and at the place in the document: `check` does so for the
local gateway, `swagger.py` for Cloud Endpoints.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from mawasu.gateway import official, outside, quotas, schemes, spelled, templates
from mawasu.gateway.document import Document, Path, kind_of, nearest
from mawasu.gateway.forms import Api, Operation, Scheme, Served
from mawasu.gateway.outside import BACKEND
from mawasu.gateway.shown import shown
from mawasu.gateway.spelled import METHODS as METHODS
from mawasu.words import Site

IN_SCHEMES = frozenset({schemes.ISSUER, schemes.JWKS_URI, schemes.AUDIENCES, schemes.LOCATIONS})
AT_TOP = frozenset({quotas.MANAGEMENT, quotas.ENDPOINTS, quotas.ALLOW, "x-google-api-name"})
KNOWN = IN_SCHEMES | AT_TOP | {BACKEND, quotas.QUOTA}


class Found(NamedTuple):
    """An operation, and how it stands in its document: the path item around it, and the place of the operation."""

    operation: Operation
    item: Mapping[str, Any]
    body: Mapping[str, Any]
    at: Path


class Reading:
    """A document that has been read: its form, and its text for what more a compiler wants or refuses.

    Whether the rest of it is OpenAPI, of which nothing is read here, `official.check` says.
    """

    def __init__(self, text: str, file: str) -> None:
        self.doc = Document(text, file)
        self.root = self.doc.mapping(self.doc.root, ())
        self.swagger = "swagger" in self.root
        _check_version(self.doc, self.root)
        _check_references_and_extensions(self.doc, self.schemes_at)
        spelled.check(self)
        quotas.check_allow(self.doc, self.root)
        metrics, limits = quotas.parse_management(self.doc, self.root)
        found = _schemes(self.doc, self.root, self.schemes_at)
        self.operations = _operations(self, metrics)
        each = tuple(one.operation for one in self.operations)
        self.api = Api(each, found, metrics, limits, quotas.parse_cors(self.doc, self.root))

    @property
    def old(self) -> bool:
        """Whether its schemas are in the dialect before OpenAPI 3.1, which took JSON Schema's."""
        return self.swagger or str(self.root.get("openapi", "")).startswith("3.0")

    @property
    def schemes_at(self) -> Path:
        return ("securityDefinitions",) if self.swagger else ("components", "securitySchemes")

    @property
    def base(self) -> str:
        """What stands before every path: Swagger's `basePath`. OpenAPI's `servers` say where else the API is served."""
        value = self.root.get("basePath", "/") if self.swagger else "/"
        wrong = templates.fault_of(value) if isinstance(value, str) else f"expected a path, found {kind_of(value)}"
        if wrong is not None or not templates.is_literal(value):
            self.doc.fault(("basePath",), wrong or "has no template variables")
            return ""
        return str(value).rstrip("/")

    def fault(self, at: Path, message: str) -> None:
        self.doc.fault(at, message)


def read(text: str, file: str) -> Reading:
    """Read a document (YAML or JSON). Raises SpecError holding every `Fault`; `file` is only for messages."""
    reading = Reading(text, file)
    official.check(reading)
    reading.doc.finish()
    return reading


def parse(text: str, file: str) -> Api:
    """What a document says. Raises SpecError."""
    return read(text, file).api


def check(text: str, file: str, back_ends: Collection[str]) -> None:
    """Raises SpecError with everything that the local gateway cannot hold, or may not: see `outside.refuse`."""
    reading = Reading(text, file)
    outside.refuse(reading, back_ends)
    official.check(reading)
    reading.doc.finish()


def parse_site(site: Site) -> Served:
    """A site with its document parsed. Raises SpecError with all that no gateway can hold.

    It was checked when it was pushed. What is served must not end because the official schemas were renewed since.
    """
    reading = Reading(site.openapi, site.path)
    reading.doc.finish()
    reference = shown(reading, site.prefix) if site.docs else ""
    return Served(site.feature, site.environment, reading.api, site.endpoint, site.split, reference)


def _check_version(doc: Document, root: Mapping[str, Any]) -> None:
    if "swagger" in root:
        if str(root["swagger"]) != "2.0":
            doc.fault(("swagger",), f"expected '2.0', found {kind_of(root['swagger'])}")
        return
    version = root.get("openapi")
    if not isinstance(version, str) or not re.fullmatch(r"3\.[01]\.\d+", version):
        doc.fault(("openapi",), f"expected 3.0.x or 3.1.x as text, found {kind_of(version)}")


def _declared(root: Mapping[str, Any], at: Path) -> Mapping[str, Any]:
    found: Any = root
    for key in at:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _schemes(doc: Document, root: Mapping[str, Any], at: Path) -> dict[str, Scheme]:
    found: dict[str, Scheme] = {}
    declared: Any = root
    for depth, key in enumerate(at, start=1):
        declared = doc.mapping(doc.mapping(declared, at[: depth - 1]).get(str(key), {}), at[:depth])
    for name, value in declared.items():
        scheme = schemes.parse_scheme(doc, name, value, (*at, name))
        if scheme is not None:
            found[name] = scheme
    return found


def _operations(reading: Reading, metrics: Mapping[str, str]) -> list[Found]:
    doc, paths = reading.doc, reading.doc.mapping(reading.root.get("paths"), ("paths",))
    if isinstance(reading.root.get("paths"), Mapping) and not any(not path.startswith("x-") for path in paths):
        doc.fault(("paths",), "describes no path: nothing could be called")
    operations: list[Found] = []
    taken: dict[tuple[str, str], str] = {}
    base = reading.base
    for template, value in paths.items():
        if template.startswith("x-"):
            continue
        wrong = templates.fault_of(template)
        if wrong is not None:
            doc.fault(("paths", template), wrong)
            continue
        item, at = doc.resolve(value, ("paths", template))
        item = doc.mapping(item, at)
        for method in METHODS:
            if method not in item:
                continue
            first = taken.setdefault((method, templates.shape(template)), template)
            if first != template:
                doc.fault((*at, method), f"matches the same requests as {method} {first}")
            here = (*at, method)
            body = doc.mapping(item[method], here)
            operation = _operation(reading, method, templates.canonical(base + template), body, here, metrics)
            operations.append(Found(operation, item, body, here))
    return operations


def _operation(
    reading: Reading, method: str, path: str, body: Mapping[str, Any], at: Path, metrics: Mapping[str, str]
) -> Operation:
    doc, security = reading.doc, _who(reading, body, at)
    deadline, backend = outside.parse(doc, reading.root, body, at)
    name = doc.text(body["operationId"], (*at, "operationId")) if "operationId" in body else ""
    costs = quotas.parse_costs(doc, body, metrics, at)
    return Operation(method.upper(), path, security, deadline, name, costs, backend)


def _who(reading: Reading, body: Mapping[str, Any], at: Path) -> tuple[tuple[str, ...], ...]:
    """Who may call an operation."""
    if "security" in body:
        return _security(reading, body["security"], (*at, "security"))
    security = _security(reading, reading.root.get("security", []), ("security",))
    if not security:
        reading.fault(at, "has no security: name a scheme, or say `security: []` here to open it to everybody")
    return security


def _security(reading: Reading, value: Any, at: Path) -> tuple[tuple[str, ...], ...]:
    """Security Requirement Objects: a list (OR) of mappings (AND) from scheme name to scopes."""
    doc, declared = reading.doc, _declared(reading.root, reading.schemes_at)
    if not isinstance(value, list):
        doc.fault(at, f"expected a list of requirements, found {kind_of(value)}")
        return ()
    alternatives: list[tuple[str, ...]] = []
    for index, item in enumerate(value):
        requirement = doc.mapping(item, (*at, index))
        for name, scopes in requirement.items():
            here = (*at, index, name)
            if name not in declared:
                where = ".".join(map(str, reading.schemes_at))
                doc.fault(here, f"no such scheme in {where}{nearest(name, map(str, declared))}")
            if scopes != []:
                doc.fault(here, f"expected [] (the gateway does not check scopes), found {kind_of(scopes)}")
        alternatives.append(tuple(sorted(requirement)))
    return tuple(dict.fromkeys(alternatives))


def _check_references_and_extensions(doc: Document, schemes_at: Path) -> None:
    """`$ref`s anywhere that lead nowhere, and Google's keys that are unknown, or where they mean nothing."""
    for body, at in doc.mappings():
        if at[-1:] != ("properties",):
            doc.resolve(body, at)
        for key in body:
            if isinstance(key, str) and key.startswith("x-google-"):
                wrong = _extension_fault(key, at, schemes_at)
                if wrong:
                    doc.fault((*at, key), wrong)


def _extension_fault(key: str, at: Path, schemes_at: Path) -> str:
    if key not in KNOWN:
        return f"unknown key{nearest(key, KNOWN)}"
    if key in IN_SCHEMES and not (len(at) == len(schemes_at) + 1 and at[:-1] == schemes_at):
        return f"belongs into an entry of {'.'.join(map(str, schemes_at))}"
    if key in AT_TOP and at:
        return "belongs to the whole document"
    in_operation = len(at) > 2 and at[-1] in METHODS
    if key == BACKEND and at and not in_operation:
        return "belongs to the whole document or into one operation"
    if key == quotas.QUOTA and not in_operation:
        return "belongs into one operation"
    return ""
