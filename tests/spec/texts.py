"""A good file to start from, and its faults as text."""

from __future__ import annotations

from pathlib import Path

from mawasu.errors import SpecError
from mawasu.spec import load

EXAMPLES = Path(__file__).parents[2] / "spec" / "examples"

GOOD = """\
feature: callback
environments:
  production: {branch: production}
  preview: {expires: 7d}
data:
  resumes:
    source: {files: data/*.csv}
    holdout: {column: month, in: [11]}
    label: called
    row: id
training:
  paths: [training/**]
  lock: training/uv.lock
  command: python training/train.py
  data: [resumes]
  resources: {cpu: 2, memory: 4Gi}
  timeout: 1h
evaluation:
  command: python training/predict.py
  metric: roc_auc
  gate: {first: {roc_auc: ">= 0.55"}}
api:
  paths: [api]
  handler: api.handler:predict
  examples: api/examples.yaml
  scale: {min: 1}
  secrets: [MAPS_TOKEN]
auth:
  openapi: auth/openapi.yaml
"""

PATHS = frozenset(
    {
        "mawasu.yaml",
        "data/a.csv",
        "training/train.py",
        "training/predict.py",
        "training/uv.lock",
        "training/pyproject.toml",
        "api/handler.py",
        "api/examples.yaml",
        "auth/openapi.yaml",
    }
)


def changed(old: str, new: str) -> str:
    """The good file with one place changed."""
    assert GOOD.count(old) == 1, old
    return GOOD.replace(old, new)


def faults(text: str, paths: frozenset[str] | None = None) -> list[str]:
    """What loading a text finds wrong, one line each; none when it loads."""
    try:
        load(text, paths=paths)
    except SpecError as error:
        return [str(fault) for fault in error.faults]
    return []
