"""The API reference: pages that the gateway itself answers at `/<feature>/<environment>/docs`.

Swagger UI shows the document (`shown.py`); its files are the same for all sites. Everything is static, so no process
of a feature is asked, and no code of one runs. See decisions/0022-docs-page.md.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mawasu.gateway.forms import Served
from mawasu.gateway.ways import Way
from mawasu.words import Value

Dict = dict[str, Any]

HTML, JSON = "text/html; charset=utf-8", "application/json"
SCRIPT, STYLE = "text/javascript; charset=utf-8", "text/css; charset=utf-8"
KINDS = (HTML, JSON, SCRIPT, STYLE)

METHODS = ("GET", "HEAD")
PAGE = "/docs"
DOCUMENT = "/docs/openapi.json"
FILES = "/_docs"
"""Where the viewer's files are: no feature's name begins with `_`."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy (CSP 3): nothing of what stands in a document is code, and nothing is sent elsewhere."""

LARGEST = 32 * 2**20
"""Bytes of one page: Envoy's own limit is 4 KiB."""

_TEMPLATE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="{files}/swagger-ui.css">
<script src="{files}/swagger-ui-bundle.js" defer></script>
<script src="{files}/start.js" defer></script>
</head>
<body>
<noscript>This page needs JavaScript. The document itself: <a href="{document}">{document}</a></noscript>
<main id="reference" data-document="{document}"></main>
</body>
</html>
"""
START = """\
"use strict";
const reference = document.getElementById("reference");
SwaggerUIBundle({
  url: reference.dataset.document,
  domNode: reference,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  validatorUrl: null,
  queryConfigEnabled: false,
  persistAuthorization: false,
  tryItOutEnabled: true,
});
"""


class Viewer(Value, frozen=True):
    """Where Swagger UI's files are on this machine, by name, and a mark that changes with them."""

    files: Mapping[str, str]
    version: str

    @property
    def at(self) -> str:
        return f"{FILES}/{self.version}"


NONE = Viewer({}, "none")


class Answer(NamedTuple):
    """A page: the paths it is asked by, what kind of content it is, and where that stands (a DataSource of Envoy)."""

    paths: tuple[str, ...]
    kind: str
    body: Dict


def paths_of(served: Served, ways: Sequence[Way]) -> tuple[str, ...]:
    """What the gateway itself answers of a site: the page, also with a trailing slash, and then the document.

    Nothing where no reference is wanted, or where one of the site's own ways could mean it.
    """
    page, document = served.prefix + PAGE, served.prefix + DOCUMENT
    if not served.reference or any(way.fits(page) or way.fits(document) for way in ways):
        return ()
    return page, f"{page}/", document


def answers_of(served: Served, paths: Sequence[str], viewer: Viewer) -> list[Answer]:
    """The page of one site, and its document, at these paths."""
    if not paths:
        return []
    *page, document = paths
    texts = {"title": f"{served.feature} {served.environment}", "files": viewer.at, "document": document}
    text = _TEMPLATE.format(**{name: html.escape(value) for name, value in texts.items()})
    return [
        Answer(tuple(page), HTML, {"inline_string": text}),
        Answer((document,), JSON, {"inline_string": served.reference}),
    ]


def files_of(viewer: Viewer) -> list[Answer]:
    """What all pages have in common."""
    start = Answer((f"{viewer.at}/start.js",), SCRIPT, {"inline_string": START})
    kinds = {"js": SCRIPT, "css": STYLE}
    return [start] + [
        Answer((f"{viewer.at}/{name}",), kinds[name.rpartition(".")[2]], {"filename": path})
        for name, path in sorted(viewer.files.items())
    ]


def routes(answers: Sequence[Answer], metadata: str, forever: bool) -> list[Dict]:
    """Envoy's routes (direct_response) to them. `metadata`: the name by which the listener finds their kinds."""
    method = {"name": ":method", "string_match": {"safe_regex": {"regex": "|".join(METHODS)}}}
    return [
        {
            "match": {"path": path, "headers": [method]},
            "direct_response": {"status": 200, "body": answer.body},
            "response_headers_to_add": _headers(forever),
            "metadata": {"filter_metadata": {metadata: {"page": answer.kind}}},
        }
        for answer in answers
        for path in answer.paths
    ]


def _headers(forever: bool) -> list[Dict]:
    said = {
        "content-security-policy": POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cache-control": "public, max-age=31536000, immutable" if forever else "no-cache",
    }
    return [{"header": {"key": key, "value": value}} for key, value in said.items()]
