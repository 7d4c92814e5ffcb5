"""The metrics against scikit-learn and against the definition, pair by pair."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as reference

from mawasu.judge import measure, metrics

Floats = NDArray[np.float64]


def _rows(seed: int, count: int = 300, digits: int = 8) -> tuple[Floats, Floats]:
    """Labels 0/1 and probabilities that know something about them; few digits make many ties."""
    random = np.random.default_rng(seed)
    labels = (random.random(count) < 0.3).astype(np.float64)
    scores = 1 / (1 + np.exp(-(labels + random.normal(size=count))))
    return labels, np.round(scores, digits)


@pytest.mark.parametrize("digits", [1, 2, 8])
@pytest.mark.parametrize("seed", range(5))
def test_roc_auc_log_loss_and_accuracy_are_those_of_scikit_learn(seed: int, digits: int) -> None:
    labels, scores = _rows(seed, digits=digits)
    values = measure(["roc_auc", "log_loss", "accuracy"], labels, scores)
    assert values["roc_auc"] == pytest.approx(reference.roc_auc_score(labels, scores), abs=1e-12)
    assert values["log_loss"] == pytest.approx(reference.log_loss(labels, scores), abs=1e-12)
    assert values["accuracy"] == pytest.approx(reference.accuracy_score(labels, scores >= 0.5), abs=1e-12)


def test_rmse_and_mae_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    labels, scores = random.normal(size=200), random.normal(size=200)
    values = measure(["rmse", "mae"], labels, scores)
    assert values["rmse"] == pytest.approx(reference.root_mean_squared_error(labels, scores), abs=1e-12)
    assert values["mae"] == pytest.approx(reference.mean_absolute_error(labels, scores), abs=1e-12)


def test_a_certain_and_wrong_probability_has_a_large_but_finite_log_loss() -> None:
    labels, scores = np.array([0.0, 1.0]), np.array([1.0, 0.0])
    assert measure(["log_loss"], labels, scores)["log_loss"] == pytest.approx(reference.log_loss(labels, scores))


@pytest.mark.parametrize("digits", [1, 8])
def test_placements_are_the_share_of_the_other_class_a_row_beats(digits: int) -> None:
    labels, scores = _rows(1, 80, digits)
    found = metrics.placements(labels, scores)
    high, low = scores[labels == 1], scores[labels == 0]
    beats = (high[:, None] > low[None, :]) + 0.5 * (high[:, None] == low[None, :])
    np.testing.assert_allclose(found.positives, beats.mean(axis=1), atol=1e-12)
    np.testing.assert_allclose(found.negatives, beats.mean(axis=0), atol=1e-12)
    assert found.auc == pytest.approx(beats.mean())


def test_midranks_share_the_mean_rank_of_equal_numbers() -> None:
    assert metrics.midranks(np.array([30.0, 10.0, 20.0, 20.0])).tolist() == [4.0, 1.0, 2.5, 2.5]


def test_a_model_that_says_the_same_for_every_row_has_an_auc_of_one_half() -> None:
    labels, _ = _rows(2)
    assert measure(["roc_auc"], labels, np.full_like(labels, 0.7)) == {"roc_auc": 0.5}


def test_accuracy_takes_class_numbers_as_they_are() -> None:
    assert measure(["accuracy"], [0, 1, 2, 3], [0, 2, 2, 3]) == {"accuracy": 0.75}


@pytest.mark.parametrize(
    ("metric", "labels", "scores"),
    [
        ("roc_auc", [1, 1, 1], [0.1, 0.2, 0.3]),
        ("roc_auc", [0, 1, 2], [0.1, 0.2, 0.3]),
        ("log_loss", [0, 1], [0.5, 1.5]),
        ("accuracy", [0, 1], [0.5, -3.2]),
        ("accuracy", [0, 2], [0.5, 2.0]),
        ("accuracy", [0.5, 1], [0, 1]),
        ("mae", [0, 1], [0.5, math.nan]),
        ("mae", [0, math.inf], [0.5, 1]),
        ("mae", [0, 1], [0.5]),
        ("mae", [], []),
        ("f1", [0, 1], [0, 1]),
    ],
)
def test_what_cannot_be_computed_is_nan(metric: str, labels: list[float], scores: list[float]) -> None:
    assert math.isnan(measure([metric], labels, scores)[metric])
