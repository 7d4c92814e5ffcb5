"""Branch globs as the regular expressions of Cloud Build's triggers (RE2: no look-around, no atomic groups). Pure."""

from __future__ import annotations

import re

from mawasu.platforms.gcp.infra.words import Body
from mawasu.spec.feature import Environment, Feature

_TOKEN = re.compile(r"\*+|\?|\[[!^]?\]?[^\]]*\]|.", re.DOTALL)


def re2_of(glob: str) -> str:
    """The glob (`mawasu.spec.globs`) as RE2 that matches the whole branch, without its anchors."""
    parts = glob.split("/")
    pattern = ""
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == "**":
            pattern += ".+" if last else "(?:[^/]+/)*"
        else:
            pattern += _part(part) + ("" if last else "/")
    return pattern


def push_filter(feature: Feature, environment: Environment) -> Body:
    """Which pushes a trigger takes. Previews take what no stable environment takes.

    RE2 cannot subtract: where previews are of every branch the stable ones are inverted, and where they are of some,
    a branch that a stable environment takes too fires both triggers; the second build finds everything done.
    """
    stable = [one.branch for one in feature.environments if not one.preview]
    if environment.preview and environment.branch == "**" and stable:
        return {"branch": f"^(?:{'|'.join(map(re2_of, stable))})$", "invertRegex": True}
    return {"branch": f"^(?:{re2_of(environment.branch)})$", "invertRegex": False}


def _part(part: str) -> str:
    tokens = _TOKEN.findall(part)
    if tokens and all(token[0] == "*" for token in tokens):
        return "[^/]+"  # a part is never empty
    return "".join(map(_token, tokens))


def _token(token: str) -> str:
    if token[0] == "*":
        return "[^/]*"
    if token == "?":
        return "[^/]"
    if len(token) == 1:
        return re.sub(r"([^A-Za-z0-9_/-])", r"\\\1", token) if token.isascii() else token
    negated = token[1] in "!^"
    inner = token[2:-1] if negated else token[1:-1]
    escaped = "".join("\\" + char if char in "\\[]^&~|" else char for char in inner)
    return f"[^/{escaped}]" if negated else f"[{escaped}]"
