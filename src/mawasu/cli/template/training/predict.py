"""Score the rows that training never saw. Their labels are not here: mawasu joins them and does the statistics."""

import os
from pathlib import Path

import joblib
import pandas as pd


def main() -> None:
    files = Path(os.environ["MAWASU_DATA"], "reservations").rglob("*.csv")
    rows = pd.concat(map(pd.read_csv, sorted(files)))
    model = joblib.load(Path(os.environ["MAWASU_MODEL"], "model.joblib"))
    scores = model.predict_proba(rows[model.feature_names_in_])[:, 1]
    pd.DataFrame({"row": rows["id"], "score": scores}).to_csv(os.environ["MAWASU_PREDICTIONS"], index=False)
    print(f"scored {len(rows):,} reservations")


if __name__ == "__main__":
    main()
