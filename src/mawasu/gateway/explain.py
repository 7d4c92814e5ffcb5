"""What the gateway answers to a request, and why: asked of the form that is compiled, not of a gateway.

The same ways, patterns and words as the compiler's; the verifier's part is told after Envoy's (`jwt.py`). A test asks a
real Envoy whatever is asked here. Nothing of a credential but its claims stands in an answer.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from mawasu.gateway import credentials, jwt, listener, reference, routes, splits
from mawasu.gateway.asked import Request, carried, path_of, sent_at
from mawasu.gateway.authn import provider
from mawasu.gateway.forms import KeyScheme, Operation, Scheme, Served, TokenScheme
from mawasu.gateway.outside import is_allowed
from mawasu.gateway.schemes import KEY_PLACES, TOKEN_PLACES
from mawasu.gateway.verify import Checked, Known, check
from mawasu.gateway.ways import Way, ways_of
from mawasu.words import Value

ARRIVES = 200
"""The status of what is let through; the back end may answer otherwise."""
Status = tuple[int, str]
LET_IN: Status = (ARRIVES, "")


class Charge(Value, frozen=True):
    """What a call takes of a quota."""

    limit: str
    cost: int
    per_minute: int


class Target(Value, frozen=True):
    """A revision (or the address of an outside back end), and how much of the traffic is its, in percent."""

    revision: str
    share: float


class Route(Value, frozen=True):
    """One operation at its address, and its policy.

    `targets` answer it; with several, each `unit` (`consumer`, `claim sub` …) stays with one. `security` is as in
    `forms.Operation`; `deadline` in seconds, `largest_body` in bytes; `cors`: pre-flights pass.
    """

    feature: str
    environment: str
    method: str
    path: str
    id: str
    targets: tuple[Target, ...]
    unit: str
    security: tuple[tuple[str, ...], ...]
    deadline: float
    largest_body: int
    charges: tuple[Charge, ...]
    cors: bool

    @property
    def address(self) -> str:
        """The template that callers' paths fit."""
        return f"/{self.feature}/{self.environment}{self.path}"


class Alternative(Value, frozen=True):
    """One of the ways to be let in: all of its schemes are to be met."""

    met: bool
    schemes: tuple[Checked, ...]


class Explanation(Value, frozen=True):
    """What a request meets. `path` is normalised and has no query; `route` is None where no operation is its.

    `status` is ARRIVES (200) or that of the refusal, whose body says `message`; `why` is for people. `unsure`: what
    could not be looked up, so that the answer may be otherwise. `payer`: who is charged for the call.
    """

    method: str
    path: str
    status: int
    message: str
    why: str
    route: Route | None = None
    alternatives: tuple[Alternative, ...] = ()
    payer: str = ""
    unsure: str = ""


class _Met(NamedTuple):
    """A site and one of its ways."""

    served: Served
    way: Way


def routes_of(sites: Sequence[Served]) -> list[Route]:
    """Every route of these sites, in the order in which each site's are tried."""
    return [_route(served, way.operation) for served in sites for way in ways_of(served)]


def explain(request: Request, sites: Sequence[Served], known: Known) -> Explanation:
    """What the gateway that serves these sites answers, as far as one request alone tells (quotas may be spent)."""
    path = path_of(request.target)
    if path is None:
        why = "a path begins with '/' and has no escaped slash or backslash, no NUL and no '#'"
        return Explanation(request.method, request.target.partition("?")[0], 400, listener.BAD_PATH, why)
    wrong = _fault_of_headers(request)
    if wrong:
        return Explanation(request.method, path, 400, "Bad Request", wrong)
    page = _page(request, path, sites)
    if page is not None:
        return page
    fitting = _fitting(path, sites)
    found = _first(request, fitting)
    if found is None:
        return _no_operation(request, path, fitting, sites)
    return _operation(request, path, found, known)


def _page(request: Request, path: str, sites: Sequence[Served]) -> Explanation | None:
    """The gateway's own pages; no operation can have their paths."""
    if path in routes.HEALTH.paths and request.method in reference.METHODS:
        return Explanation(request.method, path, ARRIVES, "", "the gateway says that it is there, to everybody")
    site = next((served for served in sites if path in reference.paths_of(served, ways_of(served))), None)
    if site is None:
        return None
    if request.method in reference.METHODS:
        why = "the API reference: the gateway answers it itself, to everybody (auth.docs in mawasu.yaml)"
        return Explanation(request.method, path, ARRIVES, "", why)
    message = routes.NOT_ALLOWED.format(path.removeprefix(site.prefix))
    return Explanation(request.method, path, 405, message, f"the API reference has {', '.join(reference.METHODS)}")


def carrying(request: Request, sites: Sequence[Served], token: str = "", key: str = "") -> Request:
    """The request with credentials where the operation that it meets looks for them first; "" is none."""
    met = _first(request, _fitting(path_of(request.target) or "", sites))
    named = [name for names in met.way.operation.security for name in names] if met else []
    schemes = [met.served.api.schemes[name] for name in named] if met else []
    if token:
        read = jwt.parse(token)
        issuer = "" if isinstance(read, str) else read.claims.get("iss", "")
        takers = [one for one in schemes if isinstance(one, TokenScheme)]
        takers.sort(key=lambda one: one.issuer != issuer)
        request = sent_at(request, takers[0].places[0] if takers else TOKEN_PLACES[0], token)
    if key:
        locks = [one for one in schemes if isinstance(one, KeyScheme)]
        request = sent_at(request, locks[0].places[0] if locks else KEY_PLACES[0], key)
    return request


def _fitting(path: str, sites: Sequence[Served]) -> list[_Met]:
    return [_Met(served, way) for served in sites for way in ways_of(served) if way.fits(path)]


def _first(request: Request, fitting: Sequence[_Met]) -> _Met | None:
    return next((one for one in fitting if one.way.operation.method == request.method), None)


def _fault_of_headers(request: Request) -> str:
    for name, value in request.headers:
        if "_" in name:
            return f"the header {name} has an underscore, which servers behind could take for '-'"
        if any(char in value for char in "\0\r\n"):
            return f"the header {name} holds a character that no header may"
    return ""


# ------------------------------------------------------------------------------------------------------ no operation


def _no_operation(request: Request, path: str, fitting: Sequence[_Met], sites: Sequence[Served]) -> Explanation:
    if not fitting:
        return Explanation(request.method, path, 404, routes.NOT_FOUND, _why_not_found(path, sites))
    if request.is_pre_flight:
        why = "a browser asks for another origin's page; pre-flights pass where the document has allowCors"
        return Explanation(request.method, path, 400, routes.FOREIGN, why)
    template = fitting[0].way.operation.path
    allowed = sorted({one.way.operation.method for one in fitting if one.way.operation.path == template})
    why = f"{template} has {', '.join(allowed)}"
    return Explanation(request.method, path, 405, routes.NOT_ALLOWED.format(template), why)


def _why_not_found(path: str, sites: Sequence[Served]) -> str:
    here = [served for served in sites if f"{path}/".startswith(f"{served.prefix}/")]
    if not here:
        known = ", ".join(served.prefix for served in sites) or "nothing"
        return f"a path begins with /feature/environment; served here: {known}"
    templates = sorted({way.operation.path for way in ways_of(here[0])})
    near = difflib.get_close_matches(path.removeprefix(here[0].prefix) or "/", templates, 1, 0.4)
    return f"{here[0].prefix} has no such path" + (f"; the nearest is {near[0]}" if near else "")


# ------------------------------------------------------------------------------------------------------ an operation


def _operation(request: Request, path: str, met: _Met, known: Known) -> Explanation:
    served, operation = met.served, met.way.operation
    named = dict.fromkeys(name for names in operation.security for name in names)
    checked = {name: check(request, served, served.api.schemes[name], known) for name in named}
    status, message = _answer(request, served, operation, checked)
    refused = operation.backend is not None and not is_allowed(operation.backend, known.back_ends)
    if status == ARRIVES and refused:
        status, message = 503, routes.NOT_HERE
    alternatives = [
        Alternative(all(checked[name].met for name in names), tuple(checked[name] for name in names))
        for names in operation.security
    ]
    let_in = [checked[name] for name in _verified(served, operation, checked).schemes] if status == ARRIVES else []
    return Explanation(
        request.method,
        path,
        status,
        message,
        _why(operation, status, message, alternatives),
        _route(served, operation),
        tuple(alternatives),
        _payer(operation, let_in),
        "; ".join(dict.fromkeys(one.unsure for one in let_in if one.unsure)),
    )


def _route(served: Served, operation: Operation) -> Route:
    return Route(
        served.feature,
        served.environment,
        operation.method,
        operation.path,
        operation.id,
        tuple(_targets(served, operation)),
        f"{served.split.unit.kind} {served.split.unit.name}".rstrip() if served.split and not operation.backend else "",
        operation.security,
        operation.deadline,
        listener.LARGEST_BODY,
        tuple(
            Charge(limit.name, operation.costs[limit.metric], limit.per_minute)
            for limit in served.api.limits
            if limit.metric in operation.costs
        ),
        served.api.cors,
    )


def _targets(served: Served, operation: Operation) -> Iterator[Target]:
    if operation.backend:
        yield Target(f"https://{operation.backend.authority}", 100)
        return
    shares = served.split.shares if served.split else ()
    weights = [splits.WHOLE - sum(share.weight for share in shares), *(share.weight for share in shares)]
    for endpoint, weight in zip(served.endpoints, weights, strict=True):
        yield Target(endpoint.revision, 100 * weight / splits.WHOLE)


def _answer(request: Request, served: Served, operation: Operation, checked: Mapping[str, Checked]) -> Status:
    """In the order of the listener's filters: what credentials look like, whether they hold, what they open."""
    found = _unclear(request, [served.api.schemes[name] for name in checked])
    if found != LET_IN or not operation.security:
        return found
    verified = _verified(served, operation, checked)
    if verified.failure:
        return _refused(served, operation, verified)
    if any(checked[name].critical for name in verified.schemes):
        return 401, listener.CRITICAL
    if any(checked[name].other for name in verified.schemes):
        return 403, listener.OTHER_KEY
    return LET_IN


def _unclear(request: Request, schemes: Sequence[Scheme]) -> Status:
    """`credentials.rules`: keys that are none by their look, and two credentials of one scheme."""
    for scheme in schemes:
        for place in scheme.places if isinstance(scheme, KeyScheme) else ():
            keys = carried(request, place)
            if keys and not any(map(credentials.is_shaped, keys)):
                return 400, listener.BAD_KEY
    for scheme in schemes:
        found = [(place.kind, one) for place in scheme.places for one in carried(request, place)]
        if len(found) > 1 or any(kind == "header" and "," in one for kind, one in found):
            return 401, listener.TWO_CREDENTIALS
    return LET_IN


class _Verified(NamedTuple):
    """What the verifier says: its failure ("" when it lets in), the schemes that hold, and what the last key lacked."""

    failure: str
    schemes: tuple[str, ...]
    key_failure: str


def _verified(served: Served, operation: Operation, checked: Mapping[str, Checked]) -> _Verified:
    """Alternatives are tried in order, each until its first failure, all until the first that holds.

    Of several failures the last one counts that is more than a missing token or a foreign issuer (Envoy,
    jwt_authn/verifier.cc).
    """
    failure, holding, key_failure = jwt.MISSING, dict[str, None](), ""
    for names in filter(None, operation.security):
        for name in _in_order(served, names):
            if not checked[name].failure:
                holding[name] = None
                continue
            if isinstance(served.api.schemes[name], KeyScheme):
                key_failure = checked[name].failure
            if checked[name].failure not in (jwt.MISSING, jwt.UNKNOWN_ISSUER) or failure == jwt.MISSING:
                failure = checked[name].failure
            break
        else:
            return _Verified("", tuple(holding), key_failure)
    optional = () in operation.security and failure == jwt.MISSING
    return _Verified("" if optional else failure, tuple(holding), key_failure)


def _in_order(served: Served, names: Sequence[str]) -> list[str]:
    """As `authn.requirement` orders an AND: by the names of the verifiers."""
    return sorted(names, key=lambda name: provider(served, served.api.schemes[name], "")[0])


def _refused(served: Served, operation: Operation, verified: _Verified) -> Status:
    """`listener`'s words for what the verifier refused."""
    keyed = any(isinstance(served.api.schemes[name], KeyScheme) for name in verified.schemes)
    if verified.failure == jwt.MISSING and routes.needs_key(served, operation) and not keyed:
        return 401, listener.NO_KEY
    if verified.key_failure == jwt.EXPIRED:
        return 400, listener.OLD_KEY
    if verified.key_failure not in ("", jwt.MISSING):
        return 400, listener.BAD_KEY
    return (403 if verified.failure == jwt.BAD_AUDIENCE else 401), verified.failure


# ------------------------------------------------------------------------------------------------------ for people


def _why(operation: Operation, status: int, message: str, alternatives: Sequence[Alternative]) -> str:
    if message == routes.NOT_HERE and operation.backend:
        return f"{operation.backend.authority} is none of the back ends of `mawasu up --back-ends`"
    if not operation.security:
        return "open to everybody: the document says `security: []`"
    if message == listener.TWO_CREDENTIALS:
        return "which of the two is meant is not the gateway's to choose"
    if status == ARRIVES:
        met = next((one for one in alternatives if one.met), None)
        said = " and ".join(f"{one.scheme}: {one.why}" for one in met.schemes) if met else ""
        return said or "no credentials are sent, and none are needed"
    return "; ".join(dict.fromkeys(_lacks(alternatives)))


def _lacks(alternatives: Sequence[Alternative]) -> Iterator[str]:
    for one in alternatives:
        for scheme in one.schemes:
            if not scheme.met:
                yield f"{scheme.scheme}: {scheme.why}"


def _payer(operation: Operation, let_in: Sequence[Checked]) -> str:
    """Whose quotas a call is charged to, as `limiter` tells consumers apart."""
    if not operation.costs:
        return ""
    return " and ".join(one.who for one in let_in if one.who) or "the caller's address"
