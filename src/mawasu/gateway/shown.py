"""An OpenAPI document as its readers see it: at the address where it is served, without what only a gateway reads."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mawasu.gateway.document import NEVER_OURS, Path
from mawasu.gateway.forms import KeyScheme, Place, Scheme

if TYPE_CHECKING:
    from mawasu.gateway.openapi import Reading

Dict = dict[str, Any]

OURS = ("x-google-", "x-mawasu-")
ELSEWHERE = ("servers", "host", "schemes", "basePath")
"""Where else an API is, at the top of a document; `servers` may also stand in a path and an operation."""

MOST = 200_000
"""Values of a document. YAML's aliases can make more of a few lines than any memory holds."""
DEEPEST = 300


class _TooLargeError(ValueError):
    """A document that cannot be shown."""


def shown(reading: Reading, prefix: str) -> str:
    """JSON; "" for a document of more than MOST values. `prefix` is the address of the site, `/feature/environment`.

    Schemes are what a caller does, in the reader's language: a key or a token, and where it goes. Addresses are
    relative, so a reader asks the gateway that the page came from.
    """
    try:
        found = _Copy().of(reading.root, ())
    except _TooLargeError:
        return ""
    found = {key: value for key, value in found.items() if key not in ELSEWHERE}
    found |= {"basePath": f"{prefix}{reading.base}"} if reading.swagger else {"servers": [{"url": prefix}]}
    holder = found if reading.swagger else found.setdefault("components", {})
    texts = holder.get(reading.schemes_at[-1], {})
    described = {name: _scheme(one, reading.swagger, texts.get(name)) for name, one in reading.api.schemes.items()}
    if described:
        holder[reading.schemes_at[-1]] = described
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _scheme(scheme: Scheme, swagger: bool, said: Any) -> Dict:
    place = next((one for one in scheme.places if one.kind != "cookie" or not swagger), scheme.places[0])
    text = said.get("description") if isinstance(said, Mapping) else None
    found: Dict = {"description": text} if isinstance(text, str) else {}
    if isinstance(scheme, KeyScheme):
        return found | _at(place)
    if not swagger and (place.kind, place.name, place.prefix.strip()) == ("header", "authorization", "Bearer"):
        return found | {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    if not found and place.prefix:
        found["description"] = f"`{place.prefix}` and then a token."
    return found | _at(place)


def _at(place: Place) -> Dict:
    return {"type": "apiKey", "in": place.kind, "name": place.name}


class _Copy:
    """Plain JSON values, without our own extensions and without other addresses."""

    def __init__(self) -> None:
        self._left = MOST

    def of(self, value: Any, at: Path) -> Any:
        self._left -= 1
        if self._left < 0 or len(at) > DEEPEST:
            raise _TooLargeError
        if isinstance(value, Mapping):
            return {
                str(key): self.of(item, (*at, str(key))) for key, item in value.items() if not _hidden(str(key), at)
            }
        if isinstance(value, list | tuple):
            return [self.of(item, (*at, index)) for index, item in enumerate(value)]
        if isinstance(value, float) and not math.isfinite(value):
            return None
        return value if isinstance(value, str | int | float | None) else str(value)  # dates of YAML


def _hidden(key: str, at: Path) -> bool:
    """Whether this is a word of the description, and none for readers; names that an author chose never are."""
    if at[-1:] == ("properties",) or NEVER_OURS & set(at):
        return False
    if key.startswith(OURS):
        return True
    inside = len(at) - (1 if at[:1] == ("paths",) else 2 if at[:2] == ("components", "pathItems") else 9)
    return key == "servers" and inside in (1, 2)  # of a path, and of its operations
