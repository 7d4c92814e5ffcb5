"""The server: one HTTP/1.1 server whose first path segment is the host, `<url>/run.googleapis.com/v2/…`.

    double = Double().start()

    @double.route("run.googleapis.com", "run.projects.locations.services.get")
    def get(request: Request) -> dict: ...

Handlers run one at a time (they share state without locks) and must not wait for another request to the double. What
takes time is an operation, whose work is done when some later requests have come: `double.operation`.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.google.double import policies, schema
from tests.google.double.documents import Match, Method, UnknownHostError, find, method
from tests.google.double.faults import Answer, Faults, RefusedError, refuse
from tests.google.double.identity import Identity
from tests.google.double.kit import Collection, collection
from tests.google.double.masks import selected
from tests.google.double.server import Cut, Incoming, Server, Streamed

__all__ = ["Answer", "Double", "RefusedError", "Request", "Seen", "refuse"]

Handler = Callable[["Request"], "dict[str, Any] | Answer | Streamed"]


@dataclass(frozen=True)
class Seen:
    """A request that came. `body` is its JSON value, None for none; `id` the discovery method."""

    method: str
    host: str
    path: str
    query: Mapping[str, str]
    body: Any
    id: str = ""
    caller: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class Request:
    """A checked request, for a handler. `params` are the path's, unescaped; `queries` all that came."""

    double: Double
    method: Method
    params: Mapping[str, str]
    query: Mapping[str, str]
    queries: Mapping[str, list[str]]
    body: Any  # {} when the method takes one and none came
    caller: str  # e-mail address
    host: str
    path: str  # percent-escaped, from the host's root
    raw: Incoming = field(repr=False)

    def forward(self) -> Answer | Streamed:
        """What fake-gcs-server answers to this request (storage only)."""
        if self.double.storage is None:
            raise RuntimeError("no storage: use the `gcs` fixture")
        return self.double.storage(self)


@dataclass
class _Operation:
    host: str
    name: str
    left: int
    do: Callable[[], Any]
    value: dict[str, Any]


class Double:
    """See the module. `violations` must be empty when a test ends; `unchecked` are requests that no method matched."""

    def __init__(self, project: str = "acme", number: str = "123456789012", region: str = "europe-west1") -> None:
        self.project, self.number, self.region = project, number, region
        self.requests: list[Seen] = []
        self.violations: list[str] = []
        self.unchecked: list[Seen] = []
        self.faults = Faults(project, number)
        self.identity = Identity(project)
        self.policies: dict[str, dict[str, Any]] = {}
        self.storage: Callable[[Request], Answer | Streamed] | None = None
        self.lock = threading.RLock()
        self._routes: dict[str, Handler] = {}
        self._operations: dict[tuple[str, str], _Operation] = {}
        self._numbers = itertools.count(1)
        self._last_time = 0
        self._server = Server(self._answer)

    @property
    def url(self) -> str:
        return self._server.url

    def start(self) -> Double:
        self._server.start()
        self.identity.url = self.url
        return self

    def stop(self) -> None:
        self._server.stop()

    def __enter__(self) -> Double:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # ------------------------------------------------------------------------------------------------ for services

    def route(self, host: str, name: str) -> Callable[[Handler], Handler]:
        """Handle a discovery method. Raises ValueError if the documents have no such method."""
        known = method(host, name)

        def register(handler: Handler) -> Handler:
            self._routes[known.id] = handler
            return handler

        return register

    def operation(
        self,
        host: str,
        version: str,
        parent: str,
        do: Callable[[], Any],
        polls: int = 2,
        metadata: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """A long-running operation. `do` gives its response (a dict, or None), or raises a refusal.

        It is done when `polls` more requests have come to this host (so the work goes on when its poller is lost); with
        0 at once. `parent` may be "".
        """
        with self.lock:
            number = next(self._numbers)
            name = f"{parent}/operations/op-{number}" if parent else f"operations/op-{number}"
            made = _Operation(
                host, name, polls, do, {"name": name, **({"metadata": dict(metadata)} if metadata else {})}
            )
            self._operations[host, name] = made
            if polls == 0:
                self._finish(made)
            return dict(made.value)

    def kit(self, host: str, prefix: str, **more: Any) -> Collection:
        """A plain collection from its discovery document: see `kit.collection`."""
        return collection(self, host, prefix, **more)

    def violation(self, text: str) -> None:
        with self.lock:
            self.violations.append(text)

    def number_of(self, _what: str = "") -> int:
        """A new number: ids that Google would make up."""
        return next(self._numbers)

    def now(self) -> str:
        """The time as Google writes it; later than all before."""
        with self.lock:
            micros = max(self._last_time + 1, int(datetime.now(UTC).timestamp() * 1e6))
            self._last_time = micros
            return datetime.fromtimestamp(micros / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    # ------------------------------------------------------------------------------------------------ for tests

    def seen(self, name: str = "", http: str = "") -> list[Seen]:
        """The requests to a discovery method (or whose id ends with `.name`), or with an HTTP method."""
        with self.lock:
            return [
                one
                for one in self.requests
                if (not name or one.id == name or one.id.endswith(f".{name}")) and (not http or one.method == http)
            ]

    def settle(self, host: str = "") -> None:
        """Finish every operation now."""
        with self.lock:
            for one in list(self._operations.values()):
                if not one.value.get("done") and host in ("", one.host):
                    self._finish(one)

    # ------------------------------------------------------------------------------------------------ answering

    def _answer(self, incoming: Incoming) -> Answer | Streamed | Cut:
        """One request: who, which method, is it right, is there trouble, then the handler."""
        split = urlsplit(incoming.target)
        queries: dict[str, list[str]] = {}
        for key, value in parse_qsl(split.query, keep_blank_values=True):
            queries.setdefault(key, []).append(value)
        host, _, rest = split.path.lstrip("/").partition("/")
        if (own := self.identity.endpoint(host, "/" + rest, incoming, queries, self.faults)) is not None:
            return own
        body, fault = _json(incoming)
        match = _match(host, incoming.method, "/" + rest)
        caller = self.identity.caller(incoming.headers.get("authorization", ""))
        seen = Seen(
            incoming.method,
            host,
            "/" + rest,
            {key: ",".join(values) for key, values in queries.items()},
            None if body is schema.NOTHING else body,
            match.method.id if match else "",
            caller,
            dict(incoming.headers),
        )
        with self.lock:
            self.requests.append(seen)
        try:
            return self._checked(seen, match, queries, body, fault, incoming)
        except RefusedError as refused:
            return refused.answer(host)

    def _checked(
        self,
        seen: Seen,
        match: Match | None,
        queries: Mapping[str, list[str]],
        body: Any,
        fault: str,
        incoming: Incoming,
    ) -> Answer | Streamed | Cut:
        session = self._session(seen, match)
        pairs = [(key, value) for key, values in queries.items() for value in values]
        if match is None:
            self._unchecked(seen)
            raise refuse(404, f"The requested URL {seen.path} was not found on this server.")
        faults = [] if session else [fault] if fault else schema.faults_of_match(match, pairs, body)
        if faults:
            with self.lock:
                self.violations += [f"{seen.method} {seen.host}{seen.path}: {one}" for one in faults]
            raise refuse(400, f"Invalid JSON payload received. {'; '.join(faults)}")
        if not seen.caller and not session:
            raise refuse(401, UNAUTHENTICATED)
        kind, answer = self.faults.take(seen.host, seen.method, seen.id, seen.path)
        if kind == "before":
            return Cut()
        if answer is not None:
            return answer
        value = {} if body is schema.NOTHING else body
        request = Request(
            self, match.method, match.params, seen.query, queries, value, seen.caller, seen.host, seen.path, incoming
        )
        done = _partial(request, self._handled(request))
        if kind == "after":
            if isinstance(done, Streamed):
                done.close()
            return Cut()
        return Cut(done) if kind == "half" else done

    def _session(self, seen: Seen, match: Match | None) -> bool:
        """Is it a resumable upload's session, whose address is opaque and speaks for itself?"""
        return match is not None and match.upload == "resumable" and "upload_id" in seen.query

    def _unchecked(self, seen: Seen) -> None:
        faults = schema.faults_of_request(seen.method, seen.host, seen.path, [])
        with self.lock:
            self.unchecked.append(seen)
            self.violations += [f"{seen.method} {seen.host}{seen.path}: {one}" for one in faults]

    def _handled(self, request: Request) -> Answer | Streamed:
        name = request.method.id
        verb = name.rpartition(".")[2]
        if name not in self._routes and request.method.api == "storage" and verb not in policies.VERBS:
            return request.forward()
        with self.lock:
            self._tick(request.host)
            done = self._routed(request)()
            if isinstance(done, dict):
                done = Answer(body=done)
            if isinstance(done, Answer) and done.status < 300 and not isinstance(done.body, bytes):
                faults = schema.faults_of_answer(request.method, done.body)
                self.violations += [f"the double's own answer of {name}: {one}" for one in faults]
        return done

    def _routed(self, request: Request) -> Callable[[], dict[str, Any] | Answer | Streamed]:
        name = request.method.id
        if name in self._routes:
            return lambda: self._routes[name](request)
        if (verb := name.rpartition(".")[2]) in ("get", "wait", "cancel") and ".operations." in name:
            return lambda: self._operation(request, verb)
        if verb in policies.VERBS:
            return lambda: policies.answer(request, verb)
        self.violation(f"the double has no handler for {name}")
        raise refuse(501, f"The double has no handler for {name}")

    def _operation(self, request: Request, verb: str) -> dict[str, Any]:
        name = request.params["name"]
        found = self._operations.get((request.host, name))
        if found is None:
            raise refuse(404, f"Operation {name!r} not found.")
        if verb == "cancel" and not found.value.get("done"):
            found.value |= {"done": True, "error": refuse(499, "The operation was cancelled.").rpc()}
        return {} if verb == "cancel" else dict(found.value)

    def _tick(self, host: str) -> None:
        """Time goes by with requests."""
        for one in self._operations.values():
            if one.host == host and not one.value.get("done"):
                one.left -= 1
                if one.left <= 0:
                    self._finish(one)

    def _finish(self, one: _Operation) -> None:
        try:
            one.value |= {"done": True, "response": one.do() or {}}
        except RefusedError as refused:
            one.value |= {"done": True, "error": refused.rpc()}


UNAUTHENTICATED = (
    "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
    "authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project."
)


def _partial(request: Request, done: Answer | Streamed) -> Answer | Streamed:
    """Only the fields that were asked for: a reader of others finds nothing."""
    fields = request.query.get("fields") or request.query.get("$fields")
    if not fields or isinstance(done, Streamed) or done.status >= 300:
        return done
    value = json.loads(done.body) if isinstance(done.body, bytes) else done.body
    return replace(done, body=selected(value, fields))


def _match(host: str, http: str, path: str) -> Match | None:
    try:
        found = find(host, http, path)
        if found is None and host == "storage.googleapis.com" and path.startswith("/upload/") and http != "POST":
            found = find(host, "POST", path)  # a session: PUT sends, DELETE gives up
            return replace(found, upload="resumable") if found else None
        return found
    except UnknownHostError:
        return None


def _json(incoming: Incoming) -> tuple[Any, str]:
    """(the JSON value of the body or NOTHING, what is wrong with it)."""
    kind = incoming.headers.get("content-type", "").partition(";")[0].strip()
    if incoming.length == 0:
        missing = incoming.method in ("POST", "PUT", "PATCH") and not incoming.sized
        return schema.NOTHING, "POST requests require a Content-length header" if missing else ""
    uploads = "/upload/" in incoming.target
    if uploads and (kind != "multipart/related") and ("uploadType=resumable" not in incoming.target):
        return schema.NOTHING, ""
    if uploads and "upload_id=" in incoming.target:
        return schema.NOTHING, ""
    text = _first_part(incoming) if kind == "multipart/related" else incoming.read()
    if kind not in ("application/json", "multipart/related"):
        return schema.NOTHING, f"content-type {kind!r} is not application/json"
    try:
        return json.loads(text, object_pairs_hook=_no_twins), ""
    except ValueError as error:
        return schema.NOTHING, f"the body is not JSON: {error}"


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) != len(pairs):
        raise ValueError(f"a name comes twice in {[name for name, _ in pairs]}")
    return found


def _first_part(incoming: Incoming) -> bytes:
    """The JSON part of a multipart upload."""
    data = incoming.read(2**20)
    head, _, rest = data.partition(b"\r\n\r\n") if b"\r\n\r\n" in data else data.partition(b"\n\n")
    boundary = head.lstrip().partition(b"\n")[0].strip()
    return rest.partition(b"\r\n" + boundary)[0] if b"\r\n" + boundary in rest else rest.partition(b"\n" + boundary)[0]
