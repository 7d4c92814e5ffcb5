"""The feature that is pushed: with nothing but the standard library, or with scikit-learn.

Training takes no time; its model holds a stamp and the handler another, so that an answer tells what serves it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

_SPEC = """\
feature: {name}
environments:
  production: {{branch: production}}
  staging: {{branch: main}}
data:
  points:
    source: {{files: data/points.csv}}
    holdout: {{column: month, in: [11, 12]}}
    label: high
    row: id
training:
  paths: [training/**]
{lock}  command: python training/train.py
  data: [points]
evaluation:
  command: python training/predict.py
  metric: roc_auc
  gate: {{not_worse_by: 0.05, first: {{roc_auc: ">= 0.7"}}}}
api:
  paths: [api/**]
{lock}  handler: api.handler:predict
  examples: api/examples.yaml
  resources: {{cpu: 1, memory: 1Gi}}
auth:
  openapi: auth/openapi.yaml
"""

_ROWS = """\
import csv, os, pathlib

rows = list(csv.DictReader(open(next(pathlib.Path(os.environ["MAWASU_DATA"], "points").rglob("*.csv")))))
"""

_TRAIN = {
    "plain": _ROWS
    + """
import json
pathlib.Path(os.environ["MAWASU_MODEL"], "model.json").write_text(json.dumps({{"stamp": {stamp!r}, "weight": 1.0}}))
""",
    "sklearn": _ROWS
    + """
import joblib
from sklearn.linear_model import LogisticRegression
model = LogisticRegression().fit([[float(row["x"])] for row in rows], [int(row["high"]) for row in rows])
joblib.dump({{"stamp": {stamp!r}, "model": model}}, pathlib.Path(os.environ["MAWASU_MODEL"], "model.joblib"))
""",
}

_WRITE = """
with open(os.environ["MAWASU_PREDICTIONS"], "w", newline="") as file:
    csv.writer(file).writerows([("row", "score"), *((row["id"], score(float(row["x"]))) for row in rows)])
"""
_PREDICT = {
    "plain": _ROWS + "\ndef score(x):\n    return x\n" + _WRITE,
    "sklearn": _ROWS
    + """
import joblib
model = joblib.load(pathlib.Path(os.environ["MAWASU_MODEL"], "model.joblib"))["model"]

def score(x):
    return model.predict_proba([[x]])[0, 1]
"""
    + _WRITE,
}

_HANDLER = {
    "plain": """\
import json, pathlib


def load(model_dir):
    return json.loads(pathlib.Path(model_dir, "model.json").read_text())


def predict(model, batch):
    return [{{"score": model["weight"] * item["x"], "model": model["stamp"], "api": {stamp!r}}} for item in batch]
""",
    "sklearn": """\
import pathlib

import joblib


def load(model_dir):
    return joblib.load(pathlib.Path(model_dir, "model.joblib"))


def predict(model, batch):
    scores = model["model"].predict_proba([[item["x"]] for item in batch])[:, 1]
    return [{{"score": float(score), "model": model["stamp"], "api": {stamp!r}}} for score in scores]
""",
}

_EXAMPLES = """\
- name: half of it
  request: {path: /predict, body: {x: 0.5}}
  expect: {body: {score: 0.5}}
  tolerance: 100
"""

_OPENAPI = """\
openapi: 3.0.3
info: {title: Bench, version: "1"}
security: [{key: []}]
paths:
  /predict:
    post:
      operationId: predict
      requestBody:
        required: true
        content: {application/json: {schema: {$ref: "#/components/schemas/Point"}}}
      responses:
        "200":
          description: A score.
          content:
            application/json:
              schema: {type: object, required: [score], properties: {score: {type: number}}}
components:
  schemas:
    Point: {type: object, required: [x], properties: {x: {type: number, minimum: -1000, maximum: 1000}}}
  securitySchemes:
    key: {type: apiKey, in: header, name: X-API-KEY}
"""

_PYPROJECT = """\
[project]
name = "bench"
version = "0"
requires-python = ">=3.11"
dependencies = ["scikit-learn>=1.6,<2"]

[tool.uv]
package = false
"""


def train(kind: str, stamp: str) -> Mapping[str, str]:
    return {"training/train.py": _TRAIN[kind].format(stamp=stamp)}


def handler(kind: str, stamp: str) -> Mapping[str, str]:
    return {"api/handler.py": _HANDLER[kind].format(stamp=stamp)}


def project(name: str, kind: str) -> dict[str, str]:
    """All files by path; of "sklearn" all but `uv.lock`."""
    return {
        "mawasu.yaml": _SPEC.format(name=name, lock="  lock: uv.lock\n" if kind == "sklearn" else ""),
        "data/points.csv": _points(),
        **train(kind, "0"),
        "training/predict.py": _PREDICT[kind],
        "api/__init__.py": "",
        **handler(kind, "0"),
        "api/examples.yaml": _EXAMPLES,
        "auth/openapi.yaml": _OPENAPI,
        **({"pyproject.toml": _PYPROJECT} if kind == "sklearn" else {}),
    }


def _points() -> str:
    """`high` is 1 where x is large, with noise; a sixth of the rows is of November and December."""
    chance = random.Random(1)
    lines = ["id,month,x,high"]
    for row in range(240):
        x = chance.random()
        lines.append(f"{row},{row % 12 + 1},{x:.6f},{int(x + chance.gauss(0, 0.15) > 0.5)}")
    return "\n".join(lines) + "\n"
