"""Swagger UI's files, which come with a package (decisions/0022-docs-page.md)."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path

from mawasu.gateway.reference import Viewer

PACKAGE = "mkdocs_swagger_ui_tag"
"""Carries the files of npm's swagger-ui-dist and their licence, and nothing of a web framework."""

NAMES = {"swagger-ui-bundle.js": "javascripts", "swagger-ui.css": "stylesheets"}


@cache
def viewer() -> Viewer:
    """Where they are; their version is a digest of them."""
    root = Path(str(files(PACKAGE))) / "swagger-ui"
    found = {name: root / folder / name for name, folder in NAMES.items()}
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in found.values()))
    return Viewer({name: str(path) for name, path in found.items()}, digest.hexdigest()[:16])
