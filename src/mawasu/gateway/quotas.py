"""How often, and from where: `x-google-management`, `x-google-quota`, `x-google-endpoints`, `x-google-allow`.

Shapes: cloud.google.com/endpoints/docs/openapi/openapi-extensions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mawasu.gateway.document import Document, Path, kind_of, nearest
from mawasu.gateway.forms import Limit

MANAGEMENT, QUOTA, ENDPOINTS, ALLOW = (
    "x-google-management",
    "x-google-quota",
    "x-google-endpoints",
    "x-google-allow",
)
UNIT = "1/min/{project}"
"""The only unit that Endpoints has: so many in a minute, for each consumer."""

_METRIC = re.compile(r"[A-Za-z][A-Za-z0-9_./-]{0,63}")


def parse_management(doc: Document, root: Mapping[str, Any]) -> tuple[dict[str, str], tuple[Limit, ...]]:
    """Metrics (title by name) and their limits, of the whole document."""
    at: Path = (MANAGEMENT,)
    if MANAGEMENT not in root:
        return {}, ()
    body = _known(doc, root[MANAGEMENT], at, ("metrics", "quota"))
    metrics = _metrics(doc, body.get("metrics", []), (*at, "metrics"))
    quota = _known(doc, body.get("quota", {}), (*at, "quota"), ("limits",))
    return metrics, _limits(doc, quota.get("limits", []), metrics, (*at, "quota", "limits"))


def _metrics(doc: Document, value: Any, at: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for index, item in enumerate(_list(doc, value, at)):
        here = (*at, index)
        body = _known(doc, item, here, ("name", "displayName", "valueType", "metricKind"))
        name = doc.text(body.get("name"), (*here, "name"))
        if name and not _METRIC.fullmatch(name):
            doc.fault((*here, "name"), f"{name!r} is no name of a metric: a letter, then letters, digits, - _ . /")
        if name in found:
            doc.fault((*here, "name"), f"the metric {name!r} stands here twice")
        for key, expected in (("valueType", "INT64"), ("metricKind", "DELTA")):
            if body.get(key, expected) != expected:
                doc.fault((*here, key), f"expected {expected}, found {kind_of(body[key])}")
        found[name] = str(body.get("displayName", ""))
    return found


def _limits(doc: Document, value: Any, metrics: Mapping[str, str], at: Path) -> tuple[Limit, ...]:
    found: dict[str, Limit] = {}
    for index, item in enumerate(_list(doc, value, at)):
        here = (*at, index)
        body = _known(doc, item, here, ("name", "metric", "unit", "values", "displayName"))
        name = doc.text(body.get("name"), (*here, "name"))
        if name in found:
            doc.fault((*here, "name"), f"the limit {name!r} stands here twice")
        metric = doc.text(body.get("metric"), (*here, "metric"))
        if metric and metric not in metrics:
            doc.fault((*here, "metric"), f"no such metric in {MANAGEMENT}.metrics{nearest(metric, metrics)}")
        if body.get("unit") != UNIT:
            doc.fault((*here, "unit"), f"expected {UNIT}, found {kind_of(body.get('unit'))}")
        values = _known(doc, body.get("values"), (*here, "values"), ("STANDARD",))
        count = _count(doc, values.get("STANDARD"), (*here, "values", "STANDARD"))
        found[name] = Limit(name, metric, count, str(body.get("displayName", "")))
    return tuple(found.values())


def parse_costs(doc: Document, operation: Mapping[str, Any], metrics: Mapping[str, str], at: Path) -> dict[str, int]:
    """How much one call of an operation takes of each metric."""
    if QUOTA not in operation:
        return {}
    here = (*at, QUOTA)
    costs = _known(doc, operation[QUOTA], here, ("metricCosts",)).get("metricCosts", {})
    found: dict[str, int] = {}
    for name, value in doc.mapping(costs, (*here, "metricCosts")).items():
        if name not in metrics:
            fault = f"no such metric in {MANAGEMENT}.metrics{nearest(name, metrics)}"
            doc.fault((*here, "metricCosts", name), fault)
        found[name] = _count(doc, value, (*here, "metricCosts", name))
    return found


def parse_cors(doc: Document, root: Mapping[str, Any]) -> bool:
    """`x-google-endpoints: [{allowCors}]`. Its `name` is the host it was served at elsewhere; here mawasu gives one."""
    found = False
    for index, item in enumerate(_list(doc, root.get(ENDPOINTS, []), (ENDPOINTS,))):
        here: Path = (ENDPOINTS, index)
        body = _known(doc, item, here, ("name", "allowCors"))
        value = body.get("allowCors", False)
        if not isinstance(value, bool):
            doc.fault((*here, "allowCors"), f"expected true or false, found {kind_of(value)}")
        found = found or value is True
    return found


def check_allow(doc: Document, root: Mapping[str, Any]) -> None:
    """What the document does not name is never let through."""
    value = root.get(ALLOW, "configured")
    if value == "all":
        doc.fault((ALLOW,), "'all' lets through what the document does not name, which no gateway here does: remove it")
    elif value != "configured":
        doc.fault((ALLOW,), f"expected configured, found {kind_of(value)}")


def _known(doc: Document, value: Any, at: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """A mapping of these keys; `value_type` is read as `valueType`, as Google's own parser does."""
    found: dict[str, Any] = {}
    for key, item in doc.mapping(value, at).items():
        name = re.sub(r"_([a-z])", lambda match: match[1].upper(), key)
        if name not in keys:
            doc.fault((*at, key), f"unknown key{nearest(key, keys)}")
        found[name] = item
    return found


def _list(doc: Document, value: Any, at: Path) -> list[Any]:
    if isinstance(value, list):
        return value
    doc.fault(at, f"expected a list, found {kind_of(value)}")
    return []


def _count(doc: Document, value: Any, at: Path) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**63:
        doc.fault(at, f"expected a whole number above 0, found {kind_of(value)}")
        return 1
    return value
