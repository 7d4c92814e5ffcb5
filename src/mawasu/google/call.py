"""A request to one of Google's JSON APIs as a value: builders make it, `client.py` sends it, tests check it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from mawasu.words import Value


class Call(Value, frozen=True):
    """One request, before it is sent.

    `path` is percent-escaped (see `path`). `again` says that sending it twice does no more than sending it once, also
    when the first answer was lost: true for GET, PUT and DELETE, and for a POST that names what it creates (the second
    then answers 409, which its caller takes for "it is there").
    """

    method: str
    host: str  # run.googleapis.com
    path: str  # /v2/projects/acme/locations/europe-west1/services
    query: Mapping[str, str] = {}
    body: Any = None  # a JSON value; None: no body
    again: bool = False
    single: bool = False  # never sent again by the client, whatever its method: its caller looks first what it did

    @property
    def repeatable(self) -> bool:
        return not self.single and (self.again or self.method in ("GET", "PUT", "DELETE"))


def path(*parts: str) -> str:
    """A path of these parts, each one escaped whole: no name can add a `/`, a `?` or a `..` of its own."""
    for part in parts:
        if part in ("", ".", ".."):
            raise ValueError(f"{part!r} cannot be part of a path")
    return "/" + "/".join(quote(part, safe=":@,~") for part in parts)
