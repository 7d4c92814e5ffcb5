"""`mawasu gateway`: its routes, and what a request would meet at it and why; nothing is sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mawasu.cli.arguments import Verb, Verbs

if TYPE_CHECKING:
    from mawasu.gateway.asked import Request
    from mawasu.gateway.explain import Explanation, Route
    from mawasu.gateway.forms import Served
    from mawasu.words import Site

TOKEN, KEY = "MAWASU_TOKEN", "MAWASU_KEY"
WIDTH = 10  # of the words before what they say


def register(verbs: Verbs) -> None:
    gateway = verbs.group("gateway", "Explain the gateway: its routes, and what a request meets.")
    verb = gateway.add("routes", routes, "List every route, who may call it, its deadline and quotas.")
    _common(verb)
    help = "Explain what a request would be answered, and why; nothing is sent, and no credential is shown."
    verb = gateway.add("test", test, help)
    verb.add_argument("method", help="GET, POST …")
    help = "The whole path, /FEATURE/ENVIRONMENT/…; with --feature or --environment the path in the OpenAPI file."
    verb.add_argument("path", help=help)
    help = "Send this token; `-` asks for it, or reads standard input (default: ${}, if set)."
    verb.add_argument("--token", help=help.format(TOKEN))
    verb.add_argument("--key", help=help.replace("token", "API key").format(KEY))
    help = "Send this header, `name: value`; may be said again."
    verb.add_argument("--header", "-H", dest="headers", action="append", default=[], metavar="HEADER", help=help)
    _common(verb)


def _common(verb: Verb) -> None:
    verb.add_argument("--feature", "-f", help="This feature only.")
    verb.add_argument("--environment", "-e", help="This environment only.")
    help = "Explain the OpenAPI files of this working tree (default where nothing is served yet)."
    verb.flag("--tree", dest="tree", help=help)
    verb.json()


def routes(feature: str | None, environment: str | None, tree: bool, as_json: bool) -> None:
    from mawasu.cli.output import emit, say, table
    from mawasu.gateway.explain import routes_of

    place = _place(tree, feature, environment)
    found = routes_of(place.sites)
    if as_json:
        emit(_plain(found))
        return
    say(place.said)
    headers = ["method", "path", "callers", "deadline", "quotas", "operation"]
    table(headers, [[*_row(route), route.id or "—"] for route in found], "no routes")


def test(
    method: str,
    path: str,
    token: str | None,
    key: str | None,
    headers: Sequence[str],
    feature: str | None,
    environment: str | None,
    tree: bool,
    as_json: bool,
) -> None:
    import time

    from mawasu.cli.context import home
    from mawasu.cli.output import emit, say
    from mawasu.gateway.asked import Request
    from mawasu.gateway.explain import carrying, explain
    from mawasu.gateway.verify import Known
    from mawasu.platforms.local.keys import KeyRing

    place = _place(tree, feature, environment)
    target = _target(path, place.sites, below=bool(feature or environment))
    request: Request = Request(method.upper(), target, tuple(map(_header, headers)))
    request = carrying(request, place.sites, *_credentials(token, key))
    found = explain(request, place.sites, Known(KeyRing(home()).list(), time.time()))
    if as_json:
        emit(_plain(found))
        return
    say(place.said)
    _show(found)


# ------------------------------------------------------------------------------------------------------ which sites


class _Place(NamedTuple):
    """What is explained: in words, and as the gateway's compiler gets it."""

    said: str
    sites: Sequence[Served]


def _place(tree: bool, feature: str | None, environment: str | None) -> _Place:
    """What this home's gateway serves, or was serving; else what stands in the working tree."""
    from mawasu.cli.context import home
    from mawasu.errors import UsageError
    from mawasu.gateway.openapi import parse_site
    from mawasu.platforms.local.gateway import Table

    served = [] if tree else Table(home()).load()
    sites = served or _of_tree(environment)
    chosen = [site for site in sites if feature in (None, site.feature) and environment in (None, site.environment)]
    if not chosen:
        there = ", ".join(site.prefix[1:] for site in sites) or "none"
        raise UsageError("no such feature or environment here", f"there are: {there}")
    said = "what the gateway serves, by the records of this machine" if served else "what this working tree describes"
    return _Place(said, [parse_site(site) for site in chosen])


def _of_tree(environment: str | None) -> list[Site]:
    """Every feature of the checkout, in an environment that is asked for, or that the branch goes to."""
    import posixpath

    import msgspec

    from mawasu.cli.tree import working_features, working_tree
    from mawasu.errors import MawasuError
    from mawasu.executor.deploy import site_of
    from mawasu.executor.known import PRODUCTION
    from mawasu.spec.environments import environment_of
    from mawasu.words import Endpoint

    tree = working_tree()
    sites = []
    for _, at in working_features(tree):
        if isinstance(at, MawasuError):
            raise at
        if at.feature.auth is None:
            continue
        chosen = environment_of(at.feature, tree.branch or "main")
        site = site_of(at, environment or (chosen.name if chosen else PRODUCTION), Endpoint("this working tree"))
        sites.append(msgspec.structs.replace(site, path=posixpath.join(at.feature.root, site.path)))
    return sites


# ------------------------------------------------------------------------------------------------------ the request


def _target(path: str, sites: Sequence[Served], below: bool) -> str:
    """The path as a client sends it, what no URL has escaped. `below`: it is that of the document."""
    from urllib.parse import quote

    from mawasu.errors import UsageError

    target = quote(path, safe="".join(map(chr, range(0x21, 0x7F))))
    if not below or any(target.startswith(f"{served.prefix}/") for served in sites):
        return target
    if len(sites) > 1:
        there = ", ".join(served.prefix[1:] for served in sites)
        raise UsageError("the path is that of several sites", f"say both --feature and --environment, of: {there}")
    return sites[0].prefix + target


def _header(text: str) -> tuple[str, str]:
    from mawasu.errors import UsageError

    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise UsageError("a header is written `name: value`", "such as --header 'origin: https://example.org'")
    return name.strip(), value.strip()


def _credentials(token: str | None, key: str | None) -> tuple[str, str]:
    """Either from the command line, the environment, the terminal or standard input; "" for none."""
    import os

    from mawasu.errors import UsageError

    if token == key == "-":
        raise UsageError("standard input holds one credential", f"give the other in ${KEY} or ${TOKEN}")
    given = (token or os.environ.get(TOKEN, ""), key or os.environ.get(KEY, ""))
    return (_asked("token") if given[0] == "-" else given[0]), (_asked("API key") if given[1] == "-" else given[1])


def _asked(what: str) -> str:
    import getpass
    import sys

    return (getpass.getpass(f"{what}: ") if sys.stdin.isatty() else sys.stdin.read()).strip()


# ------------------------------------------------------------------------------------------------------ printing


def _show(found: Explanation) -> None:
    from mawasu.cli.output import colour, safe, say, size
    from mawasu.gateway.explain import ARRIVES

    arrives = found.status == ARRIVES
    answer = "reaches the API" if arrives else f"{found.status} {found.message}"
    say(f"{safe(f'{found.method} {found.path}')} → {colour(answer, 'green' if arrives else 'red')}")
    _tell("why", found.why)
    if found.route is None:
        return
    route = found.route
    named = f" ({route.id})" if route.id else ""
    _tell("route", f"{route.method} {route.address}{named} → {_targets(route)}")
    for number, one in enumerate(found.alternatives):
        said = " and ".join(f"{'✓' if each.met else '✗'} {each.scheme}: {each.why}" for each in one.schemes)
        _tell("or" if number else "asks for", said or f"{'✓' if arrives else '✗'} nothing at all")
    _tell("deadline", f"{route.deadline:g} s")
    _tell("body", f"at most {size(route.largest_body)}")
    if route.charges:
        _tell("quotas", f"{_quotas(route)}" + (f", of {found.payer}" if found.payer else ""))
    _tell("CORS", f"pre-flights {'reach the API, which answers them' if route.cors else 'are refused (no allowCors)'}")
    if found.unsure:
        _tell("unsure", found.unsure)


def _tell(word: str, said: str) -> None:
    from mawasu.cli.output import colour, safe, say

    say(f"  {colour(word.ljust(WIDTH), 'dim')}{safe(said)}")


def _row(route: Route) -> list[str]:
    return [route.method, route.address, _callers(route), f"{route.deadline:g} s", _quotas(route) or "—"]


def _callers(route: Route) -> str:
    return " or ".join(" and ".join(names) or "anybody" for names in route.security) or "everybody"


def _targets(route: Route) -> str:
    if not route.unit:
        return route.targets[0].revision
    return ", ".join(f"{one.revision} ({one.share:g} %)" for one in route.targets) + f", by {route.unit}"


def _quotas(route: Route) -> str:
    return ", ".join(f"{one.cost} of {one.per_minute} a minute ({one.limit})" for one in route.charges)


def _plain(value: Any) -> Any:
    """For JSON: all fields, also those that are as they mostly are."""
    import msgspec

    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
