"""The strict check of a request, or an answer, against its method's discovery document. Pure: values in, faults out.

Stricter than Google on purpose: what Google would silently ignore (an unknown field, an output-only field in a request,
an int64 as a number) is a fault, because nobody would notice before a real project does.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from mawasu.google.call import Call
from tests.google.double.documents import OLD, Match, Method, UnknownHostError, find, nearest
from tests.google.double.masks import mask_faults, selection_faults

NOTHING: Any = object()
"""A request without a body."""

LABELLED = frozenset(
    {"aiplatform", "apikeys", "artifactregistry", "compute", "redis", "run", "secretmanager", "storage"}
)
"""APIs whose `labels` keep the grammar of labels (cloud.google.com/resource-manager/docs/labels-overview)."""

_EXTRA = frozenset({"$alt", "$prettyPrint", "$fields", "$callback", "$key"})
_RANGES = {"int32": (-(2**31), 2**31 - 1), "uint32": (0, 2**32 - 1)}
_WIDE = {"int64": (-(2**63), 2**63 - 1), "uint64": (0, 2**64 - 1)}


def faults_of_call(call: Call) -> list[str]:
    """All that is wrong with a call: for tests of pure builders."""
    body = NOTHING if call.body is None else json.loads(json.dumps(call.body))
    return faults_of_request(call.method, call.host, call.path, list(call.query.items()), body)


def faults_of_request(http: str, host: str, path: str, query: list[tuple[str, str]], body: Any = NOTHING) -> list[str]:
    """All that is wrong with a request, each with its place; none if Google would take it and ignore nothing."""
    try:
        match = find(host, http, path)
    except UnknownHostError:
        return [f"no API of Google's that we know is at {host}"]
    if match is None:
        return [f"no method of {host} is {http} {path}"]
    return faults_of_match(match, query, body)


def faults_of_match(match: Match, query: list[tuple[str, str]], body: Any = NOTHING) -> list[str]:
    return [*_query_faults(match, query), *_body_faults(match, body)]


def faults_of_answer(method: Method, body: Any) -> list[str]:
    """All that is wrong with what a double answers: a misspelt field there would prove a misspelt reader right."""
    if not method.response:
        return []
    check = _Check(method, answer=True)
    check.value({"$ref": method.response}, body, "")
    return check.faults


def faults_of_value(method: Method, schema: str, value: Any) -> list[str]:
    """All that is wrong with a value that an answer holds (an operation's response)."""
    check = _Check(method, answer=True)
    check.value({"$ref": schema}, value, "")
    return check.faults


# ---------------------------------------------------------------------------------------------------- query


def _query_faults(match: Match, query: list[tuple[str, str]]) -> list[str]:
    method = match.method
    own = {name: one for name, one in method.parameters.items() if one["location"] == "query"}
    known = {**method.document.get("parameters", {}), **own}
    faults, seen = [], set()
    for name, text in query:
        if name in _EXTRA:
            continue
        if name not in known:
            faults.append(f"?{name}: {method.id} has no such parameter{nearest(name, known)}")
            continue
        if name in seen and not known[name].get("repeated"):
            faults.append(f"?{name} is given twice")
        seen.add(name)
        faults += [f"?{name}: {fault}" for fault in _parameter_faults(known[name], text)]
        if known[name].get("format") == "google-fieldmask" and method.request:
            faults += [f"?{name}: {fault}" for fault in mask_faults(method.document, method.request, text)]
        if name in ("fields", "$fields") and method.response:
            faults += [f"?{name}: {fault}" for fault in selection_faults(method.document, method.response, text)]
    faults += [
        f"?{name} is required"
        for name, one in own.items()
        if name not in seen and (one.get("required") or (name not in _NAMED and _says_required(one)))
    ]
    if match.upload in ("simple", "resumable") and dict(query).get("uploadType") not in _UPLOADS:
        faults.append(f"?uploadType is one of {', '.join(_UPLOADS)}")
    return faults


def _says_required(schema: Mapping[str, Any]) -> bool:
    """google.api.field_behavior is told in words only."""
    return re.match(r"(Required|REQUIRED)[.:]", schema.get("description", "")) is not None


_NAMED = frozenset({"projectId", "id", "triggerId"})
"""What the resource's path says again: Cloud Build's regional methods call them required, and nobody sends them."""

_UPLOADS = ("media", "multipart", "resumable")


def _parameter_faults(parameter: Mapping[str, Any], text: str) -> Iterable[str]:
    kind, value = parameter.get("type"), None
    if kind == "boolean":
        if text not in ("true", "false"):
            yield f"{text!r} is not true or false"
        return
    if kind in ("integer", "number"):
        try:
            value = int(text) if kind == "integer" else float(text)
        except ValueError:
            yield f"{text!r} is no {kind}"
            return
        low, high = parameter.get("minimum"), parameter.get("maximum")
        if (low is not None and value < float(low)) or (high is not None and value > float(high)):
            yield f"{text} is not within {low or ''}…{high or ''}"
        yield from _number_faults(parameter, value)
        return
    yield from _string_faults(parameter, text)


# ---------------------------------------------------------------------------------------------------- bodies


def _body_faults(match: Match, body: Any) -> list[str]:
    method = match.method
    if not method.request:
        return [] if body is NOTHING else [f"{method.id} takes no body"]
    if match.upload and body is NOTHING:
        return []  # bytes alone, named by ?name=
    check = _Check(method, bound=frozenset(match.params))
    check.value({"$ref": method.request}, {} if body is NOTHING else body, "")
    return check.faults


@dataclass
class _Check:
    method: Method
    answer: bool = False
    bound: frozenset[str] = frozenset()  # fields of the body that the path gives

    def __post_init__(self) -> None:
        self.faults: list[str] = []

    def fault(self, path: str, text: str) -> None:
        self.faults.append(f"{path or 'the body'}: {text}")

    def value(self, schema: Mapping[str, Any], value: Any, path: str) -> None:
        while "$ref" in schema:
            schema = self.method.document["schemas"][schema["$ref"]]
        kind = str(schema.get("type"))
        if kind == "any":
            return
        if value is None:
            if self.answer or self.method.http != "PATCH" or self.method.api not in OLD or not path:
                self.fault(path, "null is no value: leave the field out")
            return
        if kind not in _KINDS:
            raise AssertionError(f"{self.method.id} {path}: a schema of type {kind!r}")
        if not isinstance(value, _KINDS[kind]) or (isinstance(value, bool) and kind != "boolean"):
            more = f" (a JSON string: {schema['format']})" if kind == "string" and "format" in schema else ""
            self.fault(path, f"is not of type {kind}{more}: {_shown(value)}")
        elif kind == "object":
            self.object(schema, value, path)
        elif kind == "array":
            for number, item in enumerate(value):
                self.value(schema["items"], item, f"{path}[{number}]")
        elif kind == "string":
            self.all(path, _string_faults(schema, value))
        elif kind in ("integer", "number"):
            self.all(path, _number_faults(schema, value))

    def all(self, path: str, faults: Iterable[str]) -> None:
        for fault in faults:
            self.fault(path, fault)

    def object(self, schema: Mapping[str, Any], value: Mapping[str, Any], path: str) -> None:
        known = schema.get("properties", {})
        other = schema.get("additionalProperties")
        for name, item in value.items():
            where = f"{path}.{name}" if path else name
            if name in known:
                if known[name].get("readOnly") and not self.answer:
                    self.fault(where, "is output only")
                else:
                    self.value(known[name], item, where)
                    self.labels(known[name], name, item, where)
            elif other is not None:
                self.value(other, item, f"{path}[{name!r}]")
            elif name != "@type" or not self.answer:
                self.fault(where, f"{schema.get('id') or 'it'} has no such field{nearest(name, known)}")
        if not self.answer and self.method.http in ("POST", "PUT"):
            for name, one in known.items():
                if name not in value and self.required(name, one, path):
                    self.fault(f"{path}.{name}" if path else name, "is required")

    def required(self, name: str, schema: Mapping[str, Any], path: str) -> bool:
        """The older documents say it in an annotation."""
        if self.method.id in schema.get("annotations", {}).get("required", ()):
            return True
        if not path and (
            name == "name" or name in _NAMED or name in self.bound or self.method.id.endswith(("update", "replaceOne"))
        ):
            return False  # the path or `?…Id=` names it
        return _says_required(schema)

    def labels(self, schema: Mapping[str, Any], name: str, value: Any, path: str) -> None:
        if name != "labels" or self.answer or self.method.api not in LABELLED or not isinstance(value, dict):
            return
        for key, text in value.items():
            if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key):
                self.fault(path, f"{key!r} is no label's key")
            if isinstance(text, str) and not re.fullmatch(r"[a-z0-9_-]{0,63}", text):
                self.fault(path, f"{key}: {text!r} is no label's value")


_KINDS: Mapping[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}


# ---------------------------------------------------------------------------------------------------- single values


def _number_faults(schema: Mapping[str, Any], value: float) -> Iterable[str]:
    low, high = _RANGES.get(schema.get("format", ""), (-math.inf, math.inf))
    if not (math.isfinite(value) and low <= value <= high):
        yield f"{value} is no {schema.get('format', 'number')}"


def _string_faults(schema: Mapping[str, Any], text: str) -> Iterable[str]:
    if "enum" in schema and text not in schema["enum"]:
        yield f"{text!r} is none of its values{nearest(text, list(schema['enum']))}"
    form = schema.get("format", "")
    if form and not _FORMS[form](text):
        yield f"{text!r} is no {form}"
    if (pattern := schema.get("pattern")) and not re.fullmatch(pattern.removeprefix("^").removesuffix("$"), text):
        yield f"{text!r} does not match {pattern}"


def _is_datetime(text: str) -> bool:
    """RFC 3339, as Google takes it: an offset or Z, at most nine digits of a second."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", text):
        return False
    return _parses(datetime.fromisoformat, re.sub(r"\.\d+", "", text).upper())


def _is_wide(form: str) -> Callable[[str], bool]:
    low, high = _WIDE[form]
    return lambda text: re.fullmatch(r"-?(0|[1-9]\d{0,19})", text) is not None and low <= int(text) <= high


def _is_bytes(text: str) -> bool:
    return _parses(lambda one: base64.b64decode(one.replace("-", "+").replace("_", "/"), validate=True), text)


def _is_duration(text: str) -> bool:
    """google.protobuf.Duration in JSON: `3.5s`, at most some 10,000 years."""
    found = re.fullmatch(r"-?(\d{1,12})(\.\d{1,9})?s", text)
    return found is not None and int(found[1]) <= 315_576_000_000


def _parses(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except (ValueError, binascii.Error):
        return False
    return True


_FORMS: dict[str, Callable[[str], bool]] = {
    "int64": _is_wide("int64"),
    "uint64": _is_wide("uint64"),
    "byte": _is_bytes,
    "date": lambda text: _parses(datetime.fromisoformat, text) and len(text) == 10,
    "date-time": _is_datetime,
    "google-datetime": _is_datetime,
    "google-duration": _is_duration,
    "google-fieldmask": lambda text: re.fullmatch(r"[\w.*`-]+(,[\w.*`-]+)*", text) is not None,
    "uri": lambda text: bool(urlsplit(text).scheme),
}


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "…"
