"""Plain collections from their discovery documents: create, get, list, patch and delete in one line.

    secrets = collection(double, "secretmanager.googleapis.com", "secretmanager.projects.secrets")

What the documents say is taken from there: the parameter that names a new thing, the name of the list, whether a call
gives an operation, which output-only fields there are (uid, createTime, updateTime, etag). `fill` adds the rest.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.google.double.documents import HOSTS, Method, methods
from tests.google.double.faults import refuse

if TYPE_CHECKING:
    from tests.google.double.core import Double, Request

Thing = dict[str, Any]
PAGE = 100
_OTHER = frozenset({"requestId", "projectId"})  # parameters that name something else than the new thing


@dataclass
class Collection:
    """Things by full name, and what happens to them. A service may change `items` itself, with the double's lock held.

    `fill(name, thing, before)` returns the thing as it is shown, after a create (`before` is None) or a change; it may
    raise a refusal. `gone(name, thing)` is told of a deletion.
    """

    double: Double
    host: str
    prefix: str
    polls: int
    whole: bool  # a patch without a mask replaces the thing; else it changes what it names
    fill: Callable[[str, Thing, Thing | None], Thing]
    gone: Callable[[str, Thing], None]
    items: dict[str, Thing] = field(default_factory=dict)
    methods: Mapping[str, Method] = field(default_factory=dict)

    def put(self, name: str, thing: Thing) -> Thing:
        """Store as a create or a change would: filled and stamped."""
        before, now = self.items.get(name), self.double.now()
        known = self._properties()
        made = {**copy.deepcopy(thing), "name": name}
        stamps = {"createTime": before["createTime"] if before and "createTime" in before else now, "updateTime": now}
        stamps["uid"] = before["uid"] if before and "uid" in before else f"uid-{self.double.number_of()}"
        made |= {key: value for key, value in stamps.items() if key in known and known[key].get("readOnly")}
        made = self.fill(name, made, before)
        if "etag" in known:
            made["etag"] = etag_of(made)
        self.items[name] = made
        return made

    # ------------------------------------------------------------------------------------------------ methods

    def create(self, request: Request) -> Thing:
        parent = request.params.get("parent", "")
        id = next((value for key, value in request.query.items() if key.endswith("Id") and key not in _OTHER), "")
        own = str(request.body.get("name", "")).rpartition("/")[2]
        number = id or own or str(self.double.number_of() + 10**9)
        kind = self.prefix.rpartition(".")[2]
        name = f"{parent}/{kind}/{number}" if parent else f"{kind}/{number}"
        if name in self.items:
            raise refuse(409, f"Resource '{name}' already exists.")
        return self._done(request, self.put(name, request.body))

    def get(self, request: Request) -> Thing:
        return copy.deepcopy(self._found(request.params["name"]))

    def list(self, request: Request) -> Thing:
        start = f"{request.params['parent']}/"
        names = sorted(
            name for name in self.items if name.startswith(start) and name.count("/") == start.count("/") + 1
        )
        if start.endswith("/locations/-/"):
            place = re.escape(start).replace("/\\-/", "/[^/]+/")
            names = sorted(name for name in self.items if re.fullmatch(place + "[^/]+/[^/]+", name))
        size = min(int(request.query.get("pageSize") or PAGE), 1000) or PAGE
        token = request.query.get("pageToken", "")
        if token and not token.isdigit():
            raise refuse(400, "Invalid page token.")
        at = int(token or 0)
        found = [copy.deepcopy(self.items[name]) for name in names[at : at + size]]
        more = {"nextPageToken": str(at + size)} if at + size < len(names) else {}
        return {**({self._list_field(): found} if found else {}), **more}

    def patch(self, request: Request) -> Thing:
        name = request.params.get("name") or next(iter(request.params.values()))
        if name not in self.items and request.query.get("allowMissing") == "true":
            return self._done(request, self.put(name, request.body))
        found = self._found(name)
        self._check_etag(found, request.body.get("etag", ""))
        changed = {key: value for key, value in request.body.items() if key not in ("etag", "name")}
        return self._done(request, self.put(name, self._patched(found, changed, request.query.get("updateMask", ""))))

    update = patch

    def delete(self, request: Request) -> Thing:
        name = request.params["name"]
        found = self._found(name)
        self._check_etag(found, request.query.get("etag", ""))
        del self.items[name]
        self.gone(name, found)
        if self._is_operation(request.method):
            shown = found if "deleteTime" in self._properties() else {}
            return self._done(request, shown)
        return {}

    # ------------------------------------------------------------------------------------------------ below

    def _found(self, name: str) -> Thing:
        if name not in self.items:
            raise refuse(404, f"Resource '{name}' was not found.")
        return self.items[name]

    def _check_etag(self, found: Thing, etag: str) -> None:
        if etag and etag != found.get("etag"):
            raise refuse(409, f"The etag {etag!r} does not match the current one.", code="ABORTED")

    def _patched(self, found: Thing, changed: Thing, mask: str) -> Thing:
        known = self._properties()
        if not mask and not self.whole:
            mask = ",".join(changed)
        if not mask or mask == "*":
            kept = {key: value for key, value in found.items() if known.get(key, {}).get("readOnly")}
            return {**kept, **changed}
        result = copy.deepcopy(found)
        for path in mask.split(","):
            parts = [re.sub(r"_([a-z0-9])", lambda one: one[1].upper(), part) for part in path.split(".")]
            _copy_field(result, changed, parts)
        return result

    def _done(self, request: Request, thing: Thing) -> Thing:
        if not self._is_operation(request.method):
            return copy.deepcopy(thing)
        version = request.path.split("/")[1]
        place = re.match(r"projects/[^/]+/locations/[^/]+", thing.get("name") or request.params.get("name", ""))
        name, last = thing.get("name", ""), copy.deepcopy(thing)
        return self.double.operation(
            self.host, version, place[0] if place else "", lambda: self.items.get(name, last), self.polls
        )

    def _is_operation(self, method: Method) -> bool:
        return method.response.endswith("Operation")

    def _schema(self) -> Mapping[str, Any]:
        one = self.methods["get"]
        found: Mapping[str, Any] = one.document["schemas"][one.response]
        return found

    def _properties(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._schema().get("properties", {})
        return found

    def _list_field(self) -> str:
        one = self.methods["list"]
        fields = one.document["schemas"][one.response]["properties"]
        return next(
            str(name)
            for name, value in fields.items()
            if value.get("items", {}).get("$ref") == self.methods["get"].response
        )


def collection(
    double: Double,
    host: str,
    prefix: str,
    *,
    polls: int = 2,
    whole: bool = False,
    fill: Callable[[str, Thing, Thing | None], Thing] = lambda name, thing, before: thing,
    gone: Callable[[str, Thing], None] = lambda name, thing: None,
) -> Collection:
    """Handles every plain method below a discovery prefix; others (verbs) are left to `double.route`."""
    api = prefix.partition(".")[0]
    assert api in HOSTS, prefix
    known = {one.id.rpartition(".")[2]: one for one in methods(api) if one.id.rpartition(".")[0] == prefix}
    if "get" not in known:
        raise ValueError(f"{prefix} is no collection")
    made = Collection(double, host, prefix, polls, whole, fill, gone, methods=known)
    for verb in ("create", "get", "list", "patch", "update", "delete"):
        if verb in known:
            double.route(host, known[verb].id)(getattr(made, verb))
    return made


def etag_of(thing: Mapping[str, Any]) -> str:
    """Changes whenever anything else does."""
    text = json.dumps({key: value for key, value in thing.items() if key != "etag"}, sort_keys=True)
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:16]}"'


def _copy_field(target: Thing, source: Thing, parts: list[str]) -> None:
    """What a mask names takes the source's value; what the source does not have is cleared."""
    first, rest = parts[0], parts[1:]
    if rest and isinstance(target.get(first), dict):
        below = source.get(first)
        _copy_field(target[first], below if isinstance(below, dict) else {}, rest)
    elif rest and isinstance(source.get(first), dict):
        target[first] = {}
        _copy_field(target[first], source[first], rest)
    elif first in source:
        target[first] = copy.deepcopy(source[first])
    else:
        target.pop(first, None)
