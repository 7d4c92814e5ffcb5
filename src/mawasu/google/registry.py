"""Calls of Artifact Registry's API, v1, about images: which digest a tag names, and whether that is still there. Pure.

A tag (`packages.tags.get`) answers with the resource name of its version, and the version of a container image is
called by its manifest's digest: `…/packages/PACKAGE/versions/sha256:…`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mawasu.errors import PlatformError
from mawasu.google.call import Call, path
from mawasu.words import Digest, is_digest

HOST = "artifactregistry.googleapis.com"


def tag(project: str, region: str, repository: str, package: str, tag: str) -> Call:
    return Call("GET", HOST, _package(project, region, repository, package, "tags", tag))


def version(project: str, region: str, repository: str, package: str, digest: Digest) -> Call:
    return Call("GET", HOST, _package(project, region, repository, package, "versions", digest))


def digest_of(tag: Mapping[str, Any]) -> Digest:
    """The digest that a Tag names. Raises PlatformError where it names something that is no image."""
    found = str(tag.get("version", "")).rpartition("/")[2]
    if not is_digest(found):
        raise PlatformError(
            f"the tag {tag.get('name', '?')} names {found or 'nothing'}, not an image",
            "is the repository one for container images (format DOCKER)? `mawasu gcp plan` tells",
        )
    return Digest(found)


def _package(project: str, region: str, repository: str, package: str, *more: str) -> str:
    return path("v1", "projects", project, "locations", region, "repositories", repository, "packages", package, *more)
