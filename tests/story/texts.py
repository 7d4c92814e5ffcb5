"""A small feature in nothing but the standard library: its image is a bare interpreter, training takes no time."""

from __future__ import annotations

import random
from collections.abc import Mapping

ROWS = 240
ENVIRONMENTS = """\
environments:
  production: {branch: production}
  staging: {branch: main}
  preview: {branch: "**", expires: 7d}
"""


def feature(
    name: str = "sums",
    *,
    data: str = "{files: data/points.csv}",
    memory: str = "512Mi",
    timeout: str = "60s",
    ready: str = "20s",
    secrets: str = "[]",
    command: str = "python training/train.py",
    extra: str = "",
) -> str:
    """The text of a mawasu.yaml. `timeout` is training's, `ready` the api's."""
    return f"""\
feature: {name}
{ENVIRONMENTS}
data:
  points:
    source: {data}
    holdout: {{column: month, in: [11, 12]}}
    label: high
    row: id
training:
  paths: [training/**]
  command: {command}
  data: [points]
  resources: {{cpu: 1, memory: {memory}}}
  timeout: {timeout}
  secrets: {secrets}
evaluation:
  command: python training/predict.py
  metric: roc_auc
  gate: {{not_worse_by: 0.05, first: {{roc_auc: ">= 0.7"}}}}
  timeout: 60s
api:
  paths: [api/**]
  handler: api.handler:predict
  examples: api/examples.yaml
  timeout: {ready}
  secrets: {secrets}
  resources: {{cpu: 1, memory: 512Mi}}
auth:
  openapi: auth/openapi.yaml
{extra}"""


def points(seed: int = 1) -> str:
    """The data: `high` is 1 where x is large, with noise; a fifth of the rows is of November and December."""
    chance = random.Random(seed)
    lines = ["id,month,x,high"]
    for row in range(ROWS):
        x = chance.random()
        lines.append(f"{row},{row % 12 + 1},{x:.6f},{int(x + chance.gauss(0, 0.15) > 0.5)}")
    return "\n".join(lines) + "\n"


TRAIN = """\
import csv, json, os, pathlib

WEIGHT = {weight}
rows = list(csv.DictReader(open(next(pathlib.Path(os.environ["MAWASU_DATA"], "points").rglob("*.csv")))))
pathlib.Path(os.environ["MAWASU_MODEL"], "model.json").write_text(json.dumps({{"weight": WEIGHT, "rows": len(rows)}}))
print("trained on", len(rows), "rows")
"""

PREDICT = """\
import csv, json, os, pathlib

weight = json.loads(pathlib.Path(os.environ["MAWASU_MODEL"], "model.json").read_text())["weight"]
rows = list(csv.DictReader(open(next(pathlib.Path(os.environ["MAWASU_DATA"], "points").rglob("*.csv")))))
scores = [(row["id"], {score}) for row in rows]
with open(os.environ["MAWASU_PREDICTIONS"], "w", newline="") as file:
    csv.writer(file).writerows([("row", "score"), *scores])
"""

HANDLER = """\
import json, os, pathlib

SAYS = {says!r}


class Refused(Exception):
    mawasu_status = 400


def load(model_dir):
    return json.loads(pathlib.Path(model_dir, "model.json").read_text())


def predict(model, batch):
    if not all(isinstance(item, dict) and type(item.get("x")) in (int, float) for item in batch):
        raise Refused("x is a number")
    return [{{"score": model["weight"] * item["x"], "says": SAYS}} for item in batch]
"""

EXAMPLES = """\
- name: half of it
  request: {path: /predict, body: {x: 0.5}}
  expect: {body: {score: 0.5}}
  tolerance: 100
"""

OPENAPI = """\
openapi: 3.0.3
info: {title: Sums, version: "1"}
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
              schema:
                type: object
                required: [score]
                properties: {score: {type: number}}
components:
  schemas:
    Point: {type: object, required: [x], properties: {x: {type: number, minimum: -1000, maximum: 1000}}}
  securitySchemes:
    key: {type: apiKey, in: header, name: X-API-KEY}
"""


def train(weight: float = 1.0) -> str:
    return TRAIN.format(weight=weight)


def predict(score: str = 'weight * float(row["x"])') -> str:
    return PREDICT.format(score=score)


def handler(says: str = "one") -> str:
    return HANDLER.format(says=says)


def project(name: str = "sums", **settings: str) -> Mapping[str, str]:
    """All files of a feature, by path from its root."""
    return {
        "mawasu.yaml": feature(name, **settings),
        "data/points.csv": points(),
        "training/train.py": train(),
        "training/predict.py": predict(),
        "api/__init__.py": "",
        "api/handler.py": handler(),
        "api/examples.yaml": EXAMPLES,
        "auth/openapi.yaml": OPENAPI,
    }
