"""Answer callers: `load` once per process, then `predict` with a list of items in and a list of answers out."""

from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline


def load(model_dir: str) -> Pipeline:
    return joblib.load(Path(model_dir, "model.joblib"))


def predict(model: Pipeline, batch: list[dict]) -> list[dict]:
    rows = pd.DataFrame(batch, columns=model.feature_names_in_, dtype=object).fillna(np.nan)
    return [{"no_show": float(chance)} for chance in model.predict_proba(rows)[:, 1]]
