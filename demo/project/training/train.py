"""Fit a model on the flights it may see and write it, with its preprocessing, as one scikit-learn pipeline."""

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

CATEGORIES = ["carrier", "origin", "dest"]
NUMBERS = ["hour", "distance", "temp", "humid", "wind_speed", "precip", "visib"]


def make_model(max_iter: int) -> Pipeline:
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    categories = OneHotEncoder(min_frequency=100, handle_unknown="infrequent_if_exist")
    columns = make_column_transformer((numbers, NUMBERS), (categories, CATEGORIES))
    return make_pipeline(columns, LogisticRegression(max_iter=max_iter))


def main() -> None:
    params = json.loads(Path(os.environ["MAWASU_PARAMS"]).read_text())
    files = Path(os.environ["MAWASU_DATA"], "flights").rglob("*.parquet")
    flights = pd.concat(map(pd.read_parquet, sorted(files)))
    model = make_model(**params).fit(flights[NUMBERS + CATEGORIES], flights["late"])
    joblib.dump(model, Path(os.environ["MAWASU_MODEL"], "model.joblib"))
    print(f"trained on {len(flights):,} flights")


if __name__ == "__main__":
    main()
