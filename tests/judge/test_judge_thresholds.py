"""A first model has no champion: absolute thresholds, and the verdicts that need no numbers."""

from __future__ import annotations

import math

import pytest

from mawasu.judge import Decision, decode, encode, first


@pytest.mark.parametrize(
    ("value", "threshold", "decision"),
    [
        (0.56, ">= 0.55", Decision.PASS),
        (0.55, ">= 0.55", Decision.PASS),
        (0.55, "> 0.55", Decision.WORSE),
        (0.5, ">=0.55", Decision.WORSE),
        (12.0, "<= 1.5e1", Decision.PASS),
        (12.0, " < .5 ", Decision.WORSE),
        (-1.0, ">= -2", Decision.PASS),
        (math.nan, ">= 0.55", Decision.INCONCLUSIVE),
        (math.inf, ">= 0.55", Decision.INCONCLUSIVE),
        (0.9, "0.55", Decision.INCONCLUSIVE),
        (0.9, ">= good", Decision.INCONCLUSIVE),
    ],
)
def test_a_threshold_holds_or_not(value: float, threshold: str, decision: Decision) -> None:
    verdict = first({"roc_auc": value}, {"roc_auc": threshold}, rows=100)
    assert verdict.decision is decision
    assert verdict.rows == 100
    assert decode(encode(verdict)) == verdict


def test_a_missing_value_is_inconclusive() -> None:
    assert first({"mae": 1.0}, {"roc_auc": ">= 0.55"}).decision is Decision.INCONCLUSIVE


def test_every_threshold_must_hold_and_the_reason_names_the_one_that_does_not() -> None:
    verdict = first({"roc_auc": 0.7, "log_loss": 0.9}, {"roc_auc": ">= 0.55", "log_loss": "<= 0.6"})
    assert verdict.decision is Decision.WORSE
    assert verdict.reason == "no champion; log_loss 0.900 is not <= 0.6"
    assert verdict.metric == "roc_auc"
    assert verdict.challenger == 0.7


def test_a_value_just_below_its_threshold_is_shown_with_enough_digits() -> None:
    assert "0.5496 is not >= 0.550" in first({"roc_auc": 0.5496}, {"roc_auc": ">= 0.550"}).reason


def test_without_thresholds_a_first_model_passes_with_a_note() -> None:
    verdict = first({"roc_auc": 0.5}, {})
    assert verdict.passed
    assert verdict.reason.startswith("no champion and no gate.first")
