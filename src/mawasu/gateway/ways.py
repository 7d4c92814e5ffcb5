"""The ways into a site, in the order in which they are tried: which request is whose.

Said once: the compiler writes them as routes (`routes.py`), an explanation asks them one by one (`explain.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from mawasu.gateway import templates
from mawasu.gateway.forms import Operation, Outside, Served


class Way(NamedTuple):
    """An operation, and the paths of requests that are its: these ones, or all that an RE2 expression fits whole.

    `start` is what all that it fits begin with: most expressions need not be tried, or even compiled.
    """

    operation: Operation
    paths: tuple[str, ...] = ()
    regex: str = ""
    start: str = ""

    def fits(self, path: str) -> bool:
        """Whether a path, normalised and without its query, is one of them, whatever the method."""
        if self.paths:
            return path in self.paths
        return path.startswith(self.start) and re.fullmatch(self.regex, path) is not None


def ways_of(served: Served) -> list[Way]:
    """All ways into one site; the first one that fits is the request's."""
    operations = served.api.operations + (_pre_flights(served.api.operations) if served.api.cors else ())
    ordered = sorted(operations, key=lambda one: (templates.precedence(one.path), one.path, one.method))
    return [_way(served.prefix, operation) for operation in ordered]


def _way(prefix: str, operation: Operation) -> Way:
    """Its path is taken as it is and with one trailing slash."""
    path = operation.path
    if not templates.is_literal(path):
        start = prefix + templates.literal(path.partition("{")[0])
        return Way(operation, (), re.escape(prefix) + templates.regex(path), start.removesuffix("/"))
    literal = templates.literal(path)
    if literal == "/":
        return Way(operation, (f"{prefix}/", prefix))
    return Way(operation, (f"{prefix}{literal}", f"{prefix}{literal}/"))


def _pre_flights(operations: Iterable[Operation]) -> tuple[Operation, ...]:
    """`allowCors`: OPTIONS of every path, where the document has none, go to the back end without credentials."""
    taken = {templates.shape(one.path) for one in operations if one.method == "OPTIONS"}
    deadlines: dict[str, float] = {}
    backends: dict[str, Outside | None] = {}
    for one in operations:
        if templates.shape(one.path) not in taken:
            deadlines[one.path] = max(deadlines.get(one.path, 0.0), one.deadline)
            backends.setdefault(one.path, one.backend)
    same = {templates.shape(path): path for path in deadlines}  # /x/{a} and /x/{b}: one pre-flight
    return tuple(Operation("OPTIONS", path, (), deadlines[path], backend=backends[path]) for path in same.values())
