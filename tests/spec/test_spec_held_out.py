"""Rows that are held out may not reach training by another way."""

from __future__ import annotations

import pytest

from mawasu.errors import SpecError
from mawasu.spec import load

PATHS = frozenset({"data/d.csv", "data/other.csv", "training/train.py", "training/predict.py"})
TEXT = """
feature: f
data:
  d: {source: {files: data/d.csv}, holdout: {fraction: 0.2, key: id}, label: y, row: id}
  d2: {source: {files: OTHER}}
training: {paths: ["TRAINING"], command: python training/train.py, data: [d, d2]}
evaluation: {command: python training/predict.py, data: d, metric: roc_auc}
"""


def read(other: str = "data/other.csv", training: str = "training/**") -> None:
    load(TEXT.replace("OTHER", other).replace("TRAINING", training), paths=PATHS)


def test_files_of_their_own_are_fine() -> None:
    read()


@pytest.mark.parametrize("other", ["data/d.csv", "data/*.csv", "data"])
def test_a_second_data_set_may_not_show_what_the_first_holds_out(other: str) -> None:
    with pytest.raises(SpecError, match=r"data\.d2\.source\.files.*shows `data/d\.csv` whole.*data set `d`"):
        read(other=other)


@pytest.mark.parametrize("training", ["**", "data/d.csv"])
def test_the_paths_of_training_may_not_show_what_is_held_out(training: str) -> None:
    with pytest.raises(SpecError, match=r"training\.paths\[0\].*shows `data/d\.csv` whole"):
        read(training=training)
