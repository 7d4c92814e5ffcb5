"""Path templates of OpenAPI (`/flights/{id}`): their faults, their order and what they match.

A template variable matches one non-empty run of characters without `/` (OpenAPI 3.1, "Path Templating"); a single
trailing slash of a request is ignored, as ESPv2 does. No segment is `.` or `..` with parameters (`..;x`): escaped dots
come through Envoy's normalisation that way, and servers that know parameters would take them for another path.
"""

from __future__ import annotations

import itertools
import re
from urllib.parse import quote

_VARIABLE = re.compile(r"\{([^{}/]*)\}")
_PATH_SAFE = "/-._~!$&'()*+,;=:@%"


def fault_of(template: str) -> str | None:
    """What is wrong with a template, or None."""
    if not template.startswith("/"):
        return "a path starts with '/'"
    names = _VARIABLE.findall(template)
    rest = _VARIABLE.sub("", template)
    segments = canonical(template)[1:].split("/")
    if "{" in rest or "}" in rest:
        return "a template variable is written {name} within one segment"
    if "" in names:
        return "a template variable has a name"
    if len(set(names)) != len(names):
        return "a template variable stands in a path once"
    if re.search(r"\}\{", template):
        return "two template variables need text between them"
    if re.search(r"[?#\\\s\x00-\x1f\x7f]|%2[fF]|%5[cC]|%00", rest):
        return "a path has no '?', '#', '\\', white space or escaped slash"
    if canonical(template) != "/" and any(segment in ("", ".", "..") for segment in segments):
        return "empty, '.' and '..' segments are never reached: requests are normalised first"
    return None


def canonical(template: str) -> str:
    """The template without its trailing slash: both spellings are one path."""
    return template.rstrip("/") or "/"


def shape(template: str) -> str:
    """Equal for templates that match the same requests."""
    return _VARIABLE.sub("{}", canonical(template))


def is_literal(template: str) -> bool:
    return _VARIABLE.search(template) is None


def literal(template: str) -> str:
    """The one path that a template without variables matches, as it stands in a request."""
    return quote(canonical(template), safe=_PATH_SAFE)


def parts(template: str) -> tuple[list[str], list[str]]:
    """The texts around the variables, as they stand in a request, and the variables' names."""
    pieces = _VARIABLE.split(canonical(template))
    return [quote(text, safe=_PATH_SAFE) for text in pieces[::2]], pieces[1::2]


def regex(template: str) -> str:
    """RE2 expression for the whole path of a request, one trailing slash allowed. Nothing fits it beyond a `?`."""
    texts, _ = parts(template)
    found = re.escape(texts[0])
    for before, after in itertools.pairwise(texts):
        found += _variable(before.rpartition("/")[2], after) + re.escape(after)
    return found + "/?"


def _variable(before: str, after: str) -> str:
    """What fits a variable; `before` is the text of its segment that comes before it, `after` what comes then."""
    if before == "..":
        return "[^/?;][^/?]*"
    if before == ".":
        return r"(?:[^/?.;]|\.[^/?;])[^/?]*"
    if before:
        return "[^/?]+"
    dots = r"|\.\.?" if after and after[0] not in "/;" else ""  # then they are no segment by themselves
    return rf"(?:(?:[^/?.]|\.[^/?.;]|\.\.[^/?;])[^/?]*{dots})"


def precedence(template: str) -> tuple[tuple[int, str], ...]:
    """Sort key: at the first segment that differs a literal comes before a mixed one, and that before a variable."""

    def rank(segment: str) -> tuple[int, str]:
        if is_literal(segment):
            return 0, segment
        return (2, "") if _VARIABLE.fullmatch(segment) else (1, segment)

    return tuple(rank(segment) for segment in canonical(template)[1:].split("/"))
