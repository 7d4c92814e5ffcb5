"""The model that every server of the benchmark serves, and the code that asks it: one function, the same for all.

Runs in the environments of the peers, so it needs only scikit-learn. `model.py KIND TABLE DIRECTORY` fits it, unless
that was done, with rows to ask and what they are answered; and prints how fast it is asked without any server.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import joblib
import numpy as np

CATEGORIES = ["carrier", "origin", "dest"]
NUMBERS = ["hour", "distance", "temp", "humid", "wind_speed", "precip", "visib"]
ASKED = 64  # rows that callers send
BATCHES = (1, 16, 64)
SECONDS = 0.3  # for each batch size


def load(directory: str) -> dict[str, Any]:
    return joblib.load(Path(directory, "model.joblib"))


def predict(model: dict[str, Any], batch: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Chances of being late, of rows as callers send them."""
    shares, usual = model["shares"], model["usual"]
    rows = [
        [shares[name].get(row[name], 0.25) for name in CATEGORIES] + [row.get(name, usual[name]) for name in NUMBERS]
        for row in batch
    ]
    chances = model["estimator"].predict_proba(np.array(rows, dtype=float))[:, 1]
    return [{"late": chance} for chance in chances.tolist()]


def fit(kind: str, table: Path, directory: Path) -> None:
    """`table`: JSON, its columns by name, `late` with them. A category stands for its share of late flights."""
    columns = json.loads(table.read_text())
    late = np.array(columns["late"])
    shares, data = {}, []
    for name in CATEGORIES:
        values = np.array(columns[name])
        shares[name] = {str(value): float(late[values == value].mean()) for value in np.unique(values)}
        data.append([shares[name][value] for value in columns[name]])
    data += [columns[name] for name in NUMBERS]
    usual = {name: float(np.median(columns[name])) for name in NUMBERS}
    model = {"shares": shares, "usual": usual, "estimator": estimator(kind).fit(np.array(data, dtype=float).T, late)}
    joblib.dump(model, directory / "model.joblib")
    rows = [{name: columns[name][number] for name in CATEGORIES + NUMBERS} for number in range(ASKED)]
    (directory / "asked.json").write_text(json.dumps({"rows": rows, "answers": predict(model, rows)}))


def estimator(kind: str) -> Any:
    if kind == "boosting":
        from sklearn.ensemble import GradientBoostingClassifier

        return GradientBoostingClassifier(n_estimators=100, max_depth=3, subsample=0.5, random_state=0)
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression())


def alone(directory: str) -> dict[int, float]:
    """Rows a second by the size of their batch: what a server that costs nothing would reach with one worker."""
    model = load(directory)
    rows = json.loads(Path(directory, "asked.json").read_text())["rows"]
    found = {}
    for size in BATCHES:
        batch, count = rows[:size], 0
        predict(model, batch)
        began = time.perf_counter()
        while (passed := time.perf_counter() - began) < SECONDS:
            predict(model, batch)
            count += size
        found[size] = count / passed
    return found


if __name__ == "__main__":
    kind, table, directory = sys.argv[1:]
    if not Path(directory, "asked.json").exists():
        fit(kind, Path(table), Path(directory))
    print(json.dumps(alone(directory)))
