"""Routes → a tree by the beginnings of paths, so that a thousand routes cost a request no more than a few.

Envoy tries a list of routes one after the other. A virtual host may have a tree instead (envoy.config.route.v3,
VirtualHost.matcher): the longest beginning of the path that the tree knows leads to a short list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

Dict = dict[str, Any]

LARGEST = 8
"""How many times as many routes the lists may hold, together, as there are: a route that begins with a variable stands
in the list of every beginning that it could go on from."""

_TYPE = "type.googleapis.com/envoy."


def matcher(routes: Sequence[Dict], rest: Dict) -> Dict:
    """The tree that finds what a search through `routes` and then `rest`, in order, would find."""
    begun: dict[str, list[int]] = {}
    for number, route in enumerate(routes):
        begun.setdefault(beginning(route["match"]), []).append(number)
    lists = {key: [routes[number] for number in _on_the_way(key, begun)] for key in sorted(begun)}
    if sum(map(len, lists.values())) > LARGEST * len(routes):
        lists = {"/": list(routes)}
    branches = {key: _leaf([*found, rest]) for key, found in lists.items()}
    path = {"@type": f"{_TYPE}type.matcher.v3.HttpRequestHeaderMatchInput", "header_name": ":path"}
    tree = {"input": {"name": "path", "typed_config": path}, "prefix_match_map": {"map": branches}}
    return {"matcher_tree": tree, "on_no_match": _leaf([rest])} if branches else {"on_no_match": _leaf([rest])}


def _on_the_way(key: str, begun: Mapping[str, Sequence[int]]) -> Sequence[int]:
    """The numbers of the routes that begin with `key` or with a beginning of it."""
    return sorted(number for end in range(len(key) + 1) for number in begun.get(key[:end], ()))


def beginning(match: Dict) -> str:
    """What every path begins with that this match of a route may fit."""
    if "path" in match:
        return str(match["path"])
    whole = [header for header in match.get("headers", ()) if header["name"] == ":path"]
    if not whole:
        return str(match["prefix"])
    # Expressions are made by `templates.regex`: escaped text, then the first variable, or the slash that may follow.
    regex = whole[0]["string_match"]["safe_regex"]["regex"].removeprefix("^")
    literal = re.match(r"(?:\\.|[^\\\[\](){}?*+.^$|])*", regex)
    text = literal[0] if literal else ""
    return re.sub(r"\\(.)", r"\1", text.removesuffix("/") if regex[len(text) :].startswith("?") else text)


def _leaf(routes: Sequence[Dict]) -> Dict:
    body = {"@type": f"{_TYPE}config.route.v3.RouteList", "routes": list(routes)}
    return {"action": {"name": "routes", "typed_config": body}}
