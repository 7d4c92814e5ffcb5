"""The ways into a site, in the order in which they are tried: which request is whose.

Said once: the compiler writes them as routes (`routes.py`), an explanation asks them one by one (`explain.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from mawasu.gateway import templates
from mawasu.gateway.forms import Operation, Served


class Way(NamedTuple):
    """An operation, and the paths of requests that are its: these ones, or all that an RE2 expression fits whole."""

    operation: Operation
    paths: tuple[str, ...] = ()
    regex: str = ""

    def fits(self, path: str) -> bool:
        """Whether a path, normalised and without its query, is one of them, whatever the method."""
        return path in self.paths if self.paths else re.fullmatch(self.regex, path) is not None


def ways_of(served: Served) -> list[Way]:
    """All ways into one site; the first one that fits is the request's."""
    operations = served.api.operations + (_pre_flights(served.api.operations) if served.api.cors else ())
    ordered = sorted(operations, key=lambda one: (templates.precedence(one.path), one.path, one.method))
    return [_way(served.prefix, operation) for operation in ordered]


def _way(prefix: str, operation: Operation) -> Way:
    """Its path is taken as it is and with one trailing slash."""
    path = operation.path
    if not templates.is_literal(path):
        return Way(operation, regex=re.escape(prefix) + templates.regex(path))
    literal = templates.literal(path)
    if literal == "/":
        return Way(operation, (f"{prefix}/", prefix))
    return Way(operation, (f"{prefix}{literal}", f"{prefix}{literal}/"))


def _pre_flights(operations: Iterable[Operation]) -> tuple[Operation, ...]:
    """`allowCors`: OPTIONS of every path, where the document has none, go to the back end without credentials."""
    taken = {templates.shape(one.path) for one in operations if one.method == "OPTIONS"}
    deadlines: dict[str, float] = {}
    for one in operations:
        if templates.shape(one.path) not in taken:
            deadlines[one.path] = max(deadlines.get(one.path, 0.0), one.deadline)
    same = {templates.shape(path): path for path in deadlines}  # /x/{a} and /x/{b}: one pre-flight
    return tuple(Operation("OPTIONS", path, (), deadlines[path]) for path in same.values())
