"""The process that makes the requests of the contract check from an OpenAPI document, with schemathesis.

They are a function of the document alone: its own bytes are the seed. One JSON value a line: `Document` in, then a
`Made` for every operation out. schemathesis is an extra of the package and slow to import, so only this file knows it.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from mawasu.executor.confined import in_process
from mawasu.gateway import templates
from mawasu.gateway.contract import Ask, Contract
from mawasu.gateway.openapi import METHODS, Found, Reading
from mawasu.words import Value, digest_of

if TYPE_CHECKING:
    from schemathesis.generation.case import Case as AnyCase
    from schemathesis.schemas import APIOperation

    Operation = APIOperation[Any, Any, Any, Any]
    Case = AnyCase[Operation]

ENGINE = "schemathesis"
MOST = 96
"""Requests for one document; each operation has its share, and at least `LEAST`."""
LEAST = 8
DRAWN = 12
"""Requests of an operation that are drawn at random, besides those at the edges of its schemas."""


class Document(Value, frozen=True):
    text: str
    file: str


class Made(Value, frozen=True):
    """The requests of one operation; `none` says why there are none."""

    operation: str
    asks: tuple[Ask, ...] = ()
    none: str = ""


class Requests(Value, frozen=True):
    """What is kept in the store: requests by operation, in the order of the document."""

    made: tuple[Made, ...] = ()


def make(text: str, file: str) -> Iterator[Made]:
    """Requests of every operation that the feature's own api answers, one operation after the other."""
    from schemathesis.config import SchemathesisConfig
    from schemathesis.core.result import Ok
    from schemathesis.openapi import from_dict

    contract = Contract(Reading(text, file))
    schema = from_dict(_closed(contract), config=SchemathesisConfig())
    readable = [one.ok() for one in schema.get_all_operations() if isinstance(one, Ok)]
    known = {(one.method.upper(), templates.canonical(contract.base + one.path)): one for one in readable}
    served = contract.served
    share = max(LEAST, MOST // max(1, len(served)))
    for found in served:
        name = f"{found.operation.method} {found.operation.path}"
        operation = known.get((found.operation.method, found.operation.path))
        if operation is None:
            yield Made(name, none="it cannot be read")
            continue
        try:
            yield Made(name, _spread(_asks(contract, found, operation, _seed(text)), share))
        except Exception as error:  # noqa: BLE001 - schemas have no end of ways to be impossible, each with its own error
            yield Made(name, none=" ".join(f"{type(error).__name__}: {error}".split())[:200])


def _seed(text: str) -> int:
    return int(digest_of(text.encode()).removeprefix("sha256:")[:15], 16)


def _closed(contract: Contract) -> dict[str, Any]:
    """The document without who may call (the gateway's business), and without references that lead out of it."""
    root = json.loads(json.dumps(contract.root, default=str))
    root.pop("security", None)
    root.pop("securityDefinitions", None)
    if isinstance(root.get("components"), dict):
        root["components"].pop("securitySchemes", None)
    for item in root.get("paths", {}).values():
        for method in METHODS:
            if isinstance(item, dict) and isinstance(item.get(method), dict):
                item[method].pop("security", None)
    return dict(_inside(root))


def _inside(value: Any) -> Any:
    if isinstance(value, list):
        return [_inside(item) for item in value]
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("$ref"), str) and not value["$ref"].startswith("#"):
        return {}
    return {key: _inside(item) for key, item in value.items() if key not in ("$id", "$schema")}


def _asks(contract: Contract, found: Found, operation: Operation, seed: int) -> Iterator[Ask]:
    """Every case of the engine that the document, read by ourselves, allows or does not allow as the engine says."""
    for case in _cases(operation, seed):
        made = _ask(case, contract.base, found)
        if made is None or contract.find(made.method, made.path) is not found:
            continue
        sent = _judged(contract, found, case, made)
        if sent is not None:
            yield sent


def _cases(operation: Operation, seed: int) -> Iterator[Case]:
    from schemathesis.generation import GenerationMode

    schema: Any = operation.schema
    config = schema.config.generation_for(operation=operation, phase="coverage")
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        yield from schema.iter_coverage_cases(operation, generation_modes=[mode], generation_config=config)
    yield from _drawn(operation.as_strategy(generation_mode=GenerationMode.POSITIVE), seed)


def _drawn(strategy: Any, seed: int) -> list[Case]:
    import hypothesis

    found: list[Case] = []
    bounds = hypothesis.settings(
        database=None,
        max_examples=DRAWN,
        deadline=None,
        verbosity=hypothesis.Verbosity.quiet,
        phases=(hypothesis.Phase.generate,),
        suppress_health_check=list(hypothesis.HealthCheck),
    )

    @hypothesis.seed(seed)
    @bounds
    @hypothesis.given(strategy)
    def draw(case: Case) -> None:
        found.append(case)

    draw()
    return found


def _ask(case: Case, base: str, found: Found) -> Ask | None:
    """A case as the request that goes over the wire; None for what cannot be written down as text."""
    import requests

    if case.method.upper() != found.operation.method:
        return None
    prepared = requests.Request(**case.as_transport_kwargs(base_url=f"http://candidate{base}")).prepare()
    data = prepared.body
    if isinstance(data, bytes):
        try:
            data = data.decode()
        except UnicodeDecodeError:
            return None
    if not isinstance(data, str | None):
        return None
    ours = ("content-length", "content-type", "user-agent", "accept", "accept-encoding", "connection")
    headers = {name: str(value) for name, value in prepared.headers.items() if name.lower() not in ours}
    kind = prepared.headers.get("content-type", "")
    kind = kind.decode() if isinstance(kind, bytes) else kind
    operation = found.operation
    name = f"{operation.method} {operation.path}"
    if any(not value.isascii() or not value.isprintable() for value in headers.values()):
        return None
    headers = {name: value for name, value in headers.items() if not name.lower().startswith("x-schemathesis")}
    return Ask(name, operation.method, prepared.path_url, kind, data, headers, within=operation.deadline)


def _judged(contract: Contract, found: Found, case: Case, ask: Ask) -> Ask | None:
    """The request with what the document has against it; None where the engine and we are of two minds."""
    from msgspec.structs import replace
    from schemathesis.core.parameters import ParameterLocation

    meta = case.meta
    assert meta is not None, "the engine made it"
    wanted = {place.value for place in ParameterLocation if meta.is_negative_at(place)}
    negative = meta.generation.mode.is_negative
    body = _against_body(contract, found, ask)
    if body is None or bool(body) != ("body" in wanted and negative):
        return None
    if not negative:
        return ask
    if body:
        return replace(ask, wrong=body, where="body")
    for place in ("path", "query"):
        said = _against_parameters(contract, found, case, place) if wanted == {place} else ""
        if said:
            return replace(ask, wrong=said, where=place)
    return None


def _against_body(contract: Contract, found: Found, ask: Ask) -> str | None:
    """What the document has against the body; None where that cannot be told."""
    takes = contract.takes(found)
    if ask.data is None:
        return "it needs a body" if takes and _needs_body(contract, found) else ""
    if ask.kind not in takes or not ask.kind.endswith("json"):
        return None
    return contract.against(found, ask.kind, json.loads(ask.data))


def _needs_body(contract: Contract, found: Found) -> bool:
    asked = found.body.get("requestBody")
    bodies = [one for one in contract.parameters(found) if one.get("in") == "body"]
    holder = contract.resolve(asked) if asked is not None else bodies[0] if bodies else {}
    return holder.get("required") is True


def _against_parameters(contract: Contract, found: Found, case: Case, place: str) -> str:
    given: Mapping[str, Any] = (case.path_parameters if place == "path" else case.query) or {}
    for one in contract.parameters(found):
        name = str(one.get("name"))
        if one.get("in") != place:
            continue
        if name not in given:
            return f"{name} is missing" if one.get("required") is True else ""
        if isinstance(given[name], str | int | float | bool):
            said = contract.against_text(one, unquote(str(given[name])))
            if said:
                return f"{name}{said.removeprefix('$')}"
    return ""


def _spread(asks: Iterable[Ask], most: int) -> tuple[Ask, ...]:
    """At most so many, half of them allowed: the smallest, the largest and evenly between."""
    different = {(one.method, one.path, one.kind, one.data): one for one in asks}
    found: list[Ask] = []
    for wrong in (False, True):
        some = sorted((one for one in different.values() if bool(one.wrong) is wrong), key=_order)
        wanted = min(len(some), most // 2)
        found += [some[at * (len(some) - 1) // max(1, wanted - 1)] for at in range(wanted)]
    return tuple(found)


def _order(ask: Ask) -> tuple[int, str, str]:
    return len(ask.data or "") + len(ask.path), ask.data or "", ask.path


def main() -> None:
    warnings.simplefilter("ignore")  # the engine's, about its own settings
    with in_process() as parent:
        given = parent.hear(Document)
        for made in make(given.text, given.file):
            parent.tell(made)
        parent.tell(Made(""))


if __name__ == "__main__":
    main()
