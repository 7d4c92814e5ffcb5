"""Google's discovery documents: which method does a request call? (developers.google.com/discovery/v1/reference/apis)

They come inside google-api-python-client and are read when first needed: aiplatform's has 3 MB, compute's 5 MB.
"""

from __future__ import annotations

import difflib
import functools
import importlib.resources
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

HOSTS: dict[str, tuple[str, ...]] = {
    "aiplatform": ("v1",),
    "apikeys": ("v2",),
    "artifactregistry": ("v1",),
    "cloudbuild": ("v1", "v2"),
    "cloudresourcemanager": ("v1", "v3"),
    "cloudscheduler": ("v1",),
    "compute": ("v1",),
    "iam": ("v1",),
    "iamcredentials": ("v1",),
    "logging": ("v2",),
    "redis": ("v1",),
    "run": ("v2",),
    "secretmanager": ("v1",),
    "servicemanagement": ("v1",),
    "serviceusage": ("v1",),
    "storage": ("v1",),
}
"""The versions of each API that a request may call."""

REGIONAL = frozenset({"aiplatform"})
"""What is asked at `<region>-<api>.googleapis.com` too."""

OLD = frozenset({"compute", "storage"})
"""APIs from before google.api.http: no `:verbs`, percent-escaped names in paths, null in a patch removes."""

_PLACE = re.compile(r"\{(\+?)(\w+)\}")


class UnknownHostError(Exception):
    """No document describes what this host answers."""


@dataclass(frozen=True)
class Method:
    """One method of an API, as its document has it."""

    api: str
    document: Mapping[str, Any] = field(repr=False)
    raw: Mapping[str, Any] = field(repr=False)

    @property
    def id(self) -> str:
        return str(self.raw["id"])

    @property
    def http(self) -> str:
        return str(self.raw["httpMethod"])

    @property
    def parameters(self) -> Mapping[str, Mapping[str, Any]]:
        found: Mapping[str, Mapping[str, Any]] = self.raw.get("parameters", {})
        return found

    @property
    def request(self) -> str:
        """The schema of the body, "" for none."""
        return str(self.raw.get("request", {}).get("$ref", ""))

    @property
    def response(self) -> str:
        return str(self.raw.get("response", {}).get("$ref", ""))

    @property
    def templates(self) -> tuple[tuple[str, str], ...]:
        """(upload protocol or "", path template from the host's root)."""
        media = self.raw.get("mediaUpload", {}).get("protocols", {})
        base = "/" + self.document["servicePath"]
        found = [("", base + self.raw["path"])]
        if self.raw.get("useMediaDownloadService"):
            found.append(("download", "/download" + base + self.raw["path"]))
        return (*found, *((kind, one["path"]) for kind, one in media.items()))


@dataclass(frozen=True)
class Match:
    """A method that a path fits, with the path's parameters. `upload`: "", "simple", "resumable" or "download"."""

    method: Method
    params: Mapping[str, str]
    upload: str = ""


@functools.cache
def document(api: str, version: str) -> Mapping[str, Any]:
    import googleapiclient

    folder = importlib.resources.files(googleapiclient) / "discovery_cache" / "documents"
    found: Mapping[str, Any] = json.loads((folder / f"{api}.{version}.json").read_text())
    return found


def api_of(host: str) -> tuple[str, str]:
    """(API, region or "") of a host name. Raises UnknownHostError."""
    name = host.removesuffix(".googleapis.com")
    region, _, api = name.rpartition("-")
    if name == host or (region and api not in REGIONAL) or api not in HOSTS:
        raise UnknownHostError(host)
    return api, region


@functools.cache
def methods(api: str) -> tuple[Method, ...]:
    """Every method of an API, all versions of it that are known here."""
    return tuple(
        Method(api, found, raw)
        for version in HOSTS[api]
        for found in (document(api, version),)
        for raw in _methods(found)
    )


def method(host: str, name: str) -> Method:
    """A method by its discovery id, such as `run.projects.locations.services.create`. Raises ValueError."""
    known = {one.id: one for one in methods(api_of(host)[0])}
    if name not in known:
        raise ValueError(f"{host} has no method {name!r}{nearest(name, known)}")
    return known[name]


@functools.lru_cache(4096)
def find(host: str, http: str, path: str) -> Match | None:
    """The method that a request calls; `path` is percent-escaped. Of several, the one with the most fixed text."""
    api, region = api_of(host)
    best: tuple[int, Match] | None = None
    for one in methods(api):
        if one.http != http:
            continue
        for upload, template in one.templates:
            if (params := _fit(api, one, template, path)) is None:
                continue
            fixed = _fixed(one, template)
            if best is None or fixed > best[0]:
                best = fixed, Match(one, params, upload)
    if best and region and (told := re.search(r"/locations/([^/:]+)", path)) and told[1] != region:
        return None
    return best[1] if best else None


def nearest(name: str, known: Mapping[str, Any] | list[str]) -> str:
    """A hint for a misspelt name: ` (did you mean …?)`."""
    close = difflib.get_close_matches(name, list(known), 1, 0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _methods(part: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from part.get("methods", {}).values()
    for resource in part.get("resources", {}).values():
        yield from _methods(resource)


def _fixed(one: Method, template: str) -> int:
    """How much fixed text a path has: `v1/projects/*/secrets/*` has more than `v1/projects/*`, whoever says so."""
    inside = (one.parameters[name].get("pattern", "") for many, name in _PLACE.findall(template) if many)
    return len(_PLACE.sub("", template)) + sum(len(re.sub(r"\[\^/\]\+|\.\*|[\^$]", "", pattern)) for pattern in inside)


def _fit(api: str, one: Method, template: str, path: str) -> dict[str, str] | None:
    start, end = template.partition("{")[0], template.rpartition("}")[2]
    if not (path.startswith(start) and path.endswith(end)):  # most are out here, before any pattern is compiled
        return None
    patterns = tuple((name, one.parameters[name].get("pattern", "")) for _, name in _PLACE.findall(template))
    found = _compiled(template, patterns, api in OLD).fullmatch(path)
    if found is None:
        return None
    last = path.rpartition("/")[2]
    if api not in OLD and not end and re.search(r":[a-z][A-Za-z]*$", last):
        return None  # a verb that is not in the template is no part of a name
    return {name: unquote(text) for name, text in found.groupdict().items()}


@functools.lru_cache(4096)
def _compiled(template: str, patterns: tuple[tuple[str, str], ...], old: bool) -> re.Pattern[str]:
    known, result, at = dict(patterns), "", 0
    for place in _PLACE.finditer(template):
        name = place[2]
        pattern = known[name].removeprefix("^").removesuffix("$") if place[1] else ""
        result += f"{re.escape(template[at : place.start()])}(?P<{name}>{pattern or ('.+' if place[1] else '[^/]+')})"
        at = place.end()
    return re.compile(result + re.escape(template[at:]))
