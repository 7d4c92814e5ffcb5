"""JSON Schema (draft 2020-12) of `mawasu.yaml` for editors, from the one declaration of the language."""

from __future__ import annotations

from typing import Any

from mawasu.spec.language import MAWASU_YAML


def schema() -> dict[str, Any]:
    """The schema as a JSON value. What refers to other keys or to files only `mawasu check` can say."""
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mawasu.yaml",
        "description": "One machine-learning function: how it is trained, judged, served and guarded.",
    }
    return head | MAWASU_YAML.schema()
