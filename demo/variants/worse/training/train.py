"""Fit a model on the flights it may see and write it, with its preprocessing, as one scikit-learn pipeline."""

import json
import os
from pathlib import Path

import joblib
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder

CATEGORIES = ["carrier", "origin", "dest"]
NUMBERS = ["distance"]  # "the rest looks redundant": the mistake that the gate is there for


def make_model(max_iter: int) -> Pipeline:
    categories = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=float("nan"))
    columns = make_column_transformer(
        (categories, CATEGORIES), ("passthrough", NUMBERS), verbose_feature_names_out=False
    ).set_output(transform="pandas")
    boosting = HistGradientBoostingClassifier(
        max_iter=max_iter,
        max_leaf_nodes=15,
        min_samples_leaf=200,
        categorical_features=CATEGORIES,
        random_state=int(os.environ["MAWASU_SEED"]),
    )
    return make_pipeline(columns, boosting)


def main() -> None:
    params = json.loads(Path(os.environ["MAWASU_PARAMS"]).read_text())
    files = Path(os.environ["MAWASU_DATA"], "flights").rglob("*.parquet")
    flights = pd.concat(map(pd.read_parquet, sorted(files)))
    model = make_model(**params).fit(flights[NUMBERS + CATEGORIES], flights["late"])
    joblib.dump(model, Path(os.environ["MAWASU_MODEL"], "model.joblib"))
    print(f"trained on {len(flights):,} flights")


if __name__ == "__main__":
    main()
