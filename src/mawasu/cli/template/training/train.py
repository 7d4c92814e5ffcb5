"""Fit a model on the rows it may see and write it, with its preprocessing, as one scikit-learn pipeline."""

import json
import os
from pathlib import Path

import joblib
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

CATEGORIES = ["weekday"]
NUMBERS = ["hour", "party", "days_ahead", "deposit"]


def make_model(regularization: float) -> Pipeline:
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    categories = OneHotEncoder(handle_unknown="ignore")
    columns = make_column_transformer((numbers, NUMBERS), (categories, CATEGORIES))
    return make_pipeline(columns, LogisticRegression(C=1 / regularization))


def main() -> None:
    params = json.loads(Path(os.environ["MAWASU_PARAMS"]).read_text())
    files = Path(os.environ["MAWASU_DATA"], "reservations").rglob("*.csv")
    rows = pd.concat(map(pd.read_csv, sorted(files)))
    model = make_model(**params).fit(rows[NUMBERS + CATEGORIES], rows["no_show"])
    joblib.dump(model, Path(os.environ["MAWASU_MODEL"], "model.joblib"))
    print(f"trained on {len(rows):,} reservations")


if __name__ == "__main__":
    main()
