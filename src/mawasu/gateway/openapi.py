"""OpenAPI 3.0 and 3.1 → the intermediate form. Reports every fault at once; never guesses about who may come in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mawasu.gateway import schemes, templates
from mawasu.gateway.document import Document, Path, kind_of, nearest
from mawasu.gateway.forms import DEADLINE, Api, Operation, Scheme, Served
from mawasu.words import Site

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
BACKEND = "x-google-backend"
IN_SCHEMES = frozenset({schemes.ISSUER, schemes.JWKS_URI, schemes.AUDIENCES, schemes.LOCATIONS})
NOT_HELD = frozenset({"x-google-allow", "x-google-management", "x-google-quota", "x-google-endpoints"})
"""Google's keys that change who may call or how often, which this gateway does not hold: said, never ignored."""
KNOWN = IN_SCHEMES | NOT_HELD | {BACKEND, "x-google-api-name"}
LONGEST = 3600.0


def parse_site(site: Site) -> Served:
    """A site with its document parsed. Raises SpecError with all faults of the document."""
    return Served(site.feature, site.environment, parse(site.openapi, site.path), site.endpoint)


def parse(text: str, file: str) -> Api:
    """Parse a document (YAML or JSON). Raises SpecError holding every `Fault`; `file` is only for messages."""
    doc = Document(text, file)
    root = doc.mapping(doc.root, ())
    version = root.get("openapi")
    if not isinstance(version, str) or not re.fullmatch(r"3\.[01]\.\d+", version):
        doc.fault(("openapi",), f"expected 3.0.x or 3.1.x as text, found {kind_of(version)}")
    _check_references_and_extensions(doc)
    found = _schemes(doc, root)
    declared = _declared(root)
    operations = _operations(doc, root, declared)
    doc.finish()
    return Api(tuple(operations), found)


def _declared(root: Mapping[str, Any]) -> Mapping[str, Any]:
    components = root.get("components")
    declared = components.get("securitySchemes") if isinstance(components, Mapping) else None
    return declared if isinstance(declared, Mapping) else {}


def _schemes(doc: Document, root: Mapping[str, Any]) -> dict[str, Scheme]:
    components = doc.mapping(root.get("components", {}), ("components",))
    at: Path = ("components", "securitySchemes")
    found: dict[str, Scheme] = {}
    for name, value in doc.mapping(components.get("securitySchemes", {}), at).items():
        scheme = schemes.parse_scheme(doc, name, value, (*at, name))
        if scheme is not None:
            found[name] = scheme
    return found


def _operations(doc: Document, root: Mapping[str, Any], declared: Mapping[str, Any]) -> list[Operation]:
    paths = doc.mapping(root.get("paths"), ("paths",))
    if isinstance(root.get("paths"), Mapping) and not any(not path.startswith("x-") for path in paths):
        doc.fault(("paths",), "describes no path: nothing could be called")
    operations: list[Operation] = []
    taken: dict[tuple[str, str], str] = {}
    for template, value in paths.items():
        if template.startswith("x-"):
            continue
        wrong = templates.fault_of(template)
        if wrong is not None:
            doc.fault(("paths", template), wrong)
            continue
        item, at = doc.resolve(value, ("paths", template))
        for method in METHODS:
            if method not in doc.mapping(item, at):
                continue
            first = taken.setdefault((method, templates.shape(template)), template)
            if first != template:
                doc.fault((*at, method), f"matches the same requests as {method} {first}")
            security, deadline = _policy(doc, root, declared, item[method], (*at, method))
            operations.append(Operation(method.upper(), templates.canonical(template), security, deadline))
    return operations


def _policy(
    doc: Document, root: Mapping[str, Any], declared: Mapping[str, Any], value: Any, at: Path
) -> tuple[tuple[tuple[str, ...], ...], float]:
    """Who may call an operation, and its deadline."""
    body = doc.mapping(value, at)
    if "security" in body:
        security = _security(doc, body["security"], declared, (*at, "security"))
    else:
        security = _security(doc, root.get("security", []), declared, ("security",))
        if not security:
            doc.fault(at, "has no security: name a scheme, or say `security: []` here to open it to everybody")
    deadline = _deadline(doc, root, ()) if BACKEND not in body else _deadline(doc, body, at)
    return security, deadline


def _security(doc: Document, value: Any, declared: Mapping[str, Any], at: Path) -> tuple[tuple[str, ...], ...]:
    """Security Requirement Objects: a list (OR) of mappings (AND) from scheme name to scopes."""
    if not isinstance(value, list):
        doc.fault(at, f"expected a list of requirements, found {kind_of(value)}")
        return ()
    alternatives: list[tuple[str, ...]] = []
    for index, item in enumerate(value):
        requirement = doc.mapping(item, (*at, index))
        for name, scopes in requirement.items():
            here = (*at, index, name)
            if name not in declared:
                doc.fault(here, f"no such scheme in components.securitySchemes{nearest(name, map(str, declared))}")
            if scopes != []:
                doc.fault(here, f"expected [] (the gateway does not check scopes), found {kind_of(scopes)}")
        alternatives.append(tuple(sorted(requirement)))
    return tuple(dict.fromkeys(alternatives))


def _deadline(doc: Document, body: Mapping[str, Any], at: Path) -> float:
    """Seconds, from `x-google-backend.deadline` of the operation or of the whole document."""
    if BACKEND not in body:
        return DEADLINE
    here = (*at, BACKEND)
    backend = doc.mapping(body[BACKEND], here)
    for key in backend.keys() - {"deadline"}:
        doc.fault((*here, key), "is not held by this gateway, only deadline is: the back end is the feature's own API")
    value = backend.get("deadline", DEADLINE)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LONGEST:
        doc.fault((*here, "deadline"), f"expected seconds, above 0 and at most {LONGEST:.0f}, found {kind_of(value)}")
        return DEADLINE
    return float(value)


def _check_references_and_extensions(doc: Document) -> None:
    """Dangling `$ref`s anywhere, and Google's keys that are unknown, not held, or where they mean nothing."""
    for body, at in doc.mappings():
        pointer = body.get("$ref")
        if isinstance(pointer, str) and at[-1:] != ("properties",) and doc.lookup(pointer) is None:
            doc.fault((*at, "$ref"), doc.unresolved(pointer))
        for key in body:
            if isinstance(key, str) and key.startswith("x-google-"):
                wrong = _extension_fault(key, at)
                if wrong:
                    doc.fault((*at, key), wrong)


def _extension_fault(key: str, at: Path) -> str:
    if key not in KNOWN:
        return f"unknown key{nearest(key, KNOWN)}"
    if key in NOT_HELD:
        return "is not held by this gateway; remove it"
    if key in IN_SCHEMES and not (len(at) == 3 and at[:2] == ("components", "securitySchemes")):
        return "belongs into an entry of components.securitySchemes"
    if key == BACKEND and at and not (len(at) > 2 and at[-1] in METHODS):
        return "belongs to the whole document or into one operation"
    return ""
