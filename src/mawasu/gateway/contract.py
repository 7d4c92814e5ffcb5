"""What an OpenAPI document says of a request and its answer: the rules of the contract check. Nobody is asked here."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from mawasu.gateway import templates
from mawasu.gateway.dialects import Schemas, TooLargeError, is_json
from mawasu.gateway.openapi import Found, Reading
from mawasu.serving.schemas import Schema, SchemaError
from mawasu.words import Value

Dict = dict[str, Any]

NO_BODY = (204, 304)  # RFC 9110, 6.4.1


class Ask(Value, frozen=True):
    """One request to a candidate. `data` is its body as text, None for none; `kind` its media type.

    `wrong` says what the document has against it, in the part of the request that `where` names (body, path, query);
    both are "" when the document allows it. `within`: seconds the document gives its answer.
    """

    operation: str
    method: str
    path: str
    kind: str = ""
    data: str | None = None
    headers: Mapping[str, str] = {}
    wrong: str = ""
    where: str = ""
    within: float = 15.0


class Came(Value, frozen=True):
    """What came back. Status 0: no answer, and `text` says why. `cut`: the body went on beyond what is looked at."""

    status: int
    kind: str = ""
    text: str = ""
    cut: bool = False


class Contract:
    """A document that the gateway took: what it is at fault in was told there, and is passed over here."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._schemas: dict[int, tuple[Any, Schema]] = {}
        by_path = sorted(self._reading.operations, key=lambda one: templates.precedence(one.operation.path))
        self._patterns = [(re.compile(templates.regex(one.operation.path)), one) for one in by_path]

    @property
    def root(self) -> Mapping[str, Any]:
        return self._reading.root

    @property
    def base(self) -> str:
        return self._reading.base

    @property
    def served(self) -> list[Found]:
        """The operations that the feature's own api answers: none that another back end does."""
        return [one for one in self._reading.operations if one.operation.backend is None]

    def find(self, method: str, path: str) -> Found | None:
        """The operation that a request meets. `path` may have a query."""
        plain = path.partition("?")[0]
        matching = (one for pattern, one in self._patterns if pattern.fullmatch(plain))
        return next((one for one in matching if one.operation.method == method), None)

    # ------------------------------------------------------------------------------------------------ requests

    def takes(self, found: Found) -> Dict:
        """Media type → schema of what a request's body may be."""
        if self._reading.swagger:
            kinds = found.body.get("consumes", self.root.get("consumes")) or ["application/json"]
            bodies = [one for one in self.parameters(found) if one.get("in") == "body"]
            return {str(kind): bodies[0].get("schema") for kind in kinds} if bodies else {}
        return self._content(found.body.get("requestBody"))

    def against(self, found: Found, kind: str, body: Any) -> str:
        """What the document has against a JSON body; "" when it allows it or says nothing of it."""
        schema = self.takes(found).get(kind)
        return "" if schema is None else self._breaks(schema, body)

    def parameters(self, found: Found) -> list[Mapping[str, Any]]:
        """Of the path item, then of the operation, which has the last word."""
        named: dict[tuple[str, str], Mapping[str, Any]] = {}
        for holder in (found.item, found.body):
            listed = holder.get("parameters")
            for one in listed if isinstance(listed, list) else []:
                target = self.resolve(one)
                named[str(target.get("in")), str(target.get("name"))] = target
        return list(named.values())

    def against_text(self, parameter: Mapping[str, Any], text: str) -> str:
        """What is wrong with a parameter however its text is read: as it stands, or as the JSON that it may be."""
        schema = _of_parameter(parameter) if self._reading.swagger else parameter.get("schema")
        if not isinstance(schema, Mapping):
            return ""
        readings: list[Any] = [text]
        with contextlib.suppress(ValueError):
            readings.append(json.loads(text))
        faults = [self._breaks(schema, reading) for reading in readings]
        return faults[-1] if all(faults) else ""

    def promises(self, found: Found) -> bool:
        """Whether the document says that requests can be refused: then those that it does not allow must be."""
        return any(status.startswith("4") for status in _by_status(found))

    # ------------------------------------------------------------------------------------------------ answers

    def fault(self, found: Found, came: Came) -> str:
        """What is wrong with an answer by the document; "" when it fits."""
        responses = _by_status(found)
        status = str(came.status)
        response = responses.get(status, responses.get(f"{status[0]}XX", responses.get("default")))
        if response is None:
            return f"status {status} is not among its responses ({', '.join(responses) or 'it has none'})"
        kinds = self._gives(found, self.resolve(response))
        if not kinds or came.status in NO_BODY or found.operation.method == "HEAD":
            return ""
        given = came.kind.partition(";")[0].strip().lower()
        kind = _matching(given, kinds)
        if kind is None:
            return f"the content type is {given or 'missing'}, not {' or '.join(kinds)}"
        if kinds[kind] is None or came.cut or not is_json(given):
            return ""
        try:
            body = json.loads(came.text, parse_constant=_no_number)
        except (ValueError, RecursionError):
            return "the answer is not JSON"
        broken = self._breaks(kinds[kind], body)
        return f"the answer breaks its schema: {broken}" if broken else ""

    def _gives(self, found: Found, response: Mapping[str, Any]) -> Dict:
        if not self._reading.swagger:
            return self._content(response)
        kinds = found.body.get("produces", self.root.get("produces")) or ["application/json"]
        return {str(kind): response["schema"] for kind in kinds} if "schema" in response else {}

    # ------------------------------------------------------------------------------------------------ schemas

    def _content(self, holder: Any) -> Dict:
        content = self.resolve(holder).get("content")
        media = content if isinstance(content, Mapping) else {}
        return {str(kind): one.get("schema") if isinstance(one, Mapping) else None for kind, one in media.items()}

    def resolve(self, value: Any) -> Mapping[str, Any]:
        found, _ = self._reading.doc.resolve(value, ())
        return found if isinstance(found, Mapping) else {}

    def _breaks(self, schema: Any, value: Any) -> str:
        try:
            return self._ready(schema).fault(value)
        except (SchemaError, TooLargeError) as error:
            return f"its schema cannot be used: {error}"

    def _ready(self, schema: Any) -> Schema:
        known = self._schemas.get(id(schema))
        if known is None:
            made = Schema(Schemas(self._reading.doc, old=self._reading.old).whole(schema))
            known = self._schemas[id(schema)] = schema, made  # kept, so that nothing else gets its address
        return known[1]


def _of_parameter(parameter: Mapping[str, Any]) -> Dict:
    """Swagger 2.0 writes the schema of a parameter among what it says of the parameter."""
    return {key: value for key, value in parameter.items() if key not in ("name", "in", "required", "description")}


def _by_status(found: Found) -> Dict:
    """A status is a number to YAML unless it is quoted."""
    responses = found.body.get("responses")
    return {str(status): one for status, one in responses.items()} if isinstance(responses, Mapping) else {}


def _matching(given: str, kinds: Mapping[str, Any]) -> str | None:
    """The media range that a media type falls into, the nearest first (RFC 9110, 12.5.1)."""
    family = given.partition("/")[0]
    plain = {kind.partition(";")[0].strip().lower(): kind for kind in reversed(list(kinds))}
    return plain.get(given, plain.get(f"{family}/*", plain.get("*/*")))


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


# ---------------------------------------------------------------------------------------------------- verdicts


def judge(contract: Contract, found: Found, ask: Ask, came: Came) -> tuple[str, str]:
    """What kind of fault an answer is, and what the document says; ("", "") for none."""
    says = f"does not allow the request ({ask.wrong})" if ask.wrong else "allows the request"
    allowed = f"the document {says}"
    if came.status == 0:  # `cut`: the document gives it more time than there was
        return ("", "") if came.cut else ("silent", allowed)
    if came.status >= 500:
        return "failed", allowed + (", so a 4xx is due" if ask.wrong else "")
    if not ask.wrong:
        said = contract.fault(found, came)
        return ("unlike", said) if said else ("", "")
    if came.status < 400:
        return ("taken", allowed + " and promises a 4xx") if contract.promises(found) else ("", "")
    return "", ""


def simpler(value: Any) -> Iterator[Any]:
    """JSON values that are one step smaller, the boldest first."""
    if isinstance(value, dict):
        yield from ({name: item for name, item in value.items() if name != left} for left in value)
        for name, item in value.items():
            yield from (value | {name: less} for less in simpler(item))
    elif isinstance(value, list):
        yield from (value[:at] + value[at + 1 :] for at in range(len(value)))
        for at, item in enumerate(value):
            yield from ([*value[:at], less, *value[at + 1 :]] for less in simpler(item))
    elif isinstance(value, str):
        yield from (shorter for shorter in ("", value[:1], value[: len(value) // 2]) if len(shorter) < len(value))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        sign = -1 if value < 0 else 1
        round_ones = (0, *(sign * 10**power for power in range(16)), int(value) if abs(value) < 2**53 else 0)
        yield from (less for less in round_ones if abs(less) <= abs(value) and size(less) < size(value))


def size(value: Any) -> tuple[int, str]:
    """What is smaller of two JSON values: the shorter text, then the first by the alphabet."""
    text = json.dumps(value, ensure_ascii=False)
    return len(text), text
