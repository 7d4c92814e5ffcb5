"""The gate's comparison: three outcomes, slices, and numbers that cannot be judged."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mawasu.judge import Decision, Verdict, compare, decode, encode, paired
from mawasu.spec.feature import Gate

Floats = NDArray[np.float64]
Rows = tuple[Floats, Floats, Floats]  # labels, challenger, champion
METRICS = ("roc_auc", "log_loss", "accuracy", "rmse", "mae")


def _models(seed: int, count: int = 400, apart: float = 0.3) -> tuple[Floats, Floats, Floats]:
    """Labels and two models' probabilities that agree more or less."""
    random = np.random.default_rng(seed)
    labels = (random.random(count) < 0.4).astype(np.float64)
    common = 1.5 * labels - 0.7 + random.normal(size=count)
    one, two = (1 / (1 + np.exp(-(common + apart * random.normal(size=count)))) for _ in range(2))
    return labels, one, two


def test_a_challenger_like_the_champion_passes_when_there_are_rows_enough() -> None:
    labels, challenger, champion = _models(0, 5000, 0.05)
    verdict = compare("roc_auc", labels, challenger, champion, Gate())
    assert verdict.passed
    assert verdict.bound is not None
    assert verdict.bound > -0.01
    assert verdict.rows == 5000
    assert (verdict.margin, verdict.confidence) == (0.01, 0.95)


@pytest.mark.parametrize("metric", METRICS)
def test_a_challenger_that_guesses_is_worse_in_every_metric(metric: str) -> None:
    labels, champion, _ = _models(1, 2000)
    guess = np.random.default_rng(9).random(2000)
    verdict = compare(metric, labels, guess, champion, Gate())
    assert verdict.decision is Decision.WORSE
    assert verdict.upper is not None
    assert verdict.upper < -0.01
    assert "worse" in verdict.reason
    assert "gate.not_worse_by" in verdict.hint


def test_too_little_evidence_is_inconclusive_and_says_how_many_rows_would_do() -> None:
    labels, challenger, champion = _models(2, 200, 1.0)
    verdict = compare("log_loss", labels, challenger, champion, Gate(not_worse_by=0.01))
    assert verdict.decision is Decision.INCONCLUSIVE
    assert verdict.reason.endswith("≤ −0.010): inconclusive")
    assert "holdout rows would do" in verdict.hint


def test_the_rows_the_hint_asks_for_are_indeed_enough() -> None:
    random = np.random.default_rng(3)
    labels, champion = np.zeros(100), random.normal(size=100)
    challenger = champion + random.normal(0.0, 0.5, size=100)
    verdict = compare("mae", labels, challenger, champion, Gate(not_worse_by=0.12))
    assert verdict.decision is Decision.INCONCLUSIVE
    wanted = int(verdict.hint.split()[1].replace(",", ""))
    times = math.ceil(wanted / 100)
    more, new, old = (np.tile(numbers, times) for numbers in (labels, challenger, champion))
    again = compare("mae", more, new, old, Gate(not_worse_by=0.12))
    assert again.passed


def test_the_reason_is_one_line_with_the_numbers() -> None:
    random = np.random.default_rng(4)
    labels = random.normal(10.0, 3.0, 1000)
    champion, challenger = labels + random.normal(0, 1.0, 1000), labels + random.normal(0, 1.0, 1000)
    verdict = compare("mae", labels, challenger, champion, Gate(not_worse_by=0.1))
    assert verdict.challenger is not None
    assert verdict.champion is not None
    assert verdict.difference is not None
    start = f"mae {verdict.challenger:.2f} vs {verdict.champion:.2f} (lower is better: "
    assert verdict.reason.startswith(start)
    assert verdict.reason.endswith("> −0.10): not worse")
    assert "95 % bound" in verdict.reason
    assert "\n" not in verdict.reason


@pytest.mark.parametrize("metric", METRICS)
def test_the_same_scores_pass_by_identity_however_few_and_whatever_the_margin(metric: str) -> None:
    verdict = compare(metric, [0, 1, 1], [0.2, 0.7, 0.4], [0.2, 0.7, 0.4], Gate(not_worse_by=0.0))
    assert verdict.passed
    assert verdict.difference == 0.0
    assert "same score for every row" in verdict.reason


@pytest.mark.parametrize(
    ("labels", "challenger", "champion", "says"),
    [
        ([0.0, 1.0] * 20, [0.1, math.nan] * 20, [0.1, 0.9] * 20, "20 of 40 scores of the challenger"),
        ([0.0, 1.0] * 20, [0.1, 0.9] * 20, [math.inf, 0.9] * 20, "20 of 40 scores of the champion"),
        ([0.0, math.nan] * 20, [0.1, 0.9] * 20, [0.1, 0.9] * 20, "20 of 40 labels"),
        ([0.0, 1.0] * 20, [0.1, 0.9] * 19, [0.1, 0.9] * 20, "38 scores for 40 rows"),
        ([0.0, 1.0] * 20, [0.1, 0.9] * 20, [], "0 scores for 40 rows"),
        ([], [], [], "no rows"),
        ([1.0] * 40, [0.1] * 40, [0.2] * 40, "both classes"),
        ([0.0, 3.0] * 20, [0.1, 0.9] * 20, [0.2, 0.9] * 20, "found 3"),
        ([0.0, 1.0] * 10, [0.1, 0.9] * 10, [0.2, 0.9] * 10, "too few rows to compare by: 20"),
        ([0.0] * 40 + [1.0] * 9, [0.1] * 49, [0.2] * 48 + [0.1], "too few rows of one class for roc_auc: 9"),
    ],
)
def test_numbers_that_cannot_be_judged_are_inconclusive(
    labels: list[float], challenger: list[float], champion: list[float], says: str
) -> None:
    verdict = compare("roc_auc", labels, challenger, champion, Gate(not_worse_by=0.5))
    assert verdict.decision is Decision.INCONCLUSIVE
    assert says in verdict.reason
    assert verdict.hint
    assert decode(encode(verdict)) == verdict


def test_errors_too_large_to_be_squared_are_inconclusive() -> None:
    labels, scores = np.zeros(40), np.full(40, 1e200)
    assert compare("rmse", labels, scores, np.zeros(40), Gate()).decision is Decision.INCONCLUSIVE


def test_an_unknown_metric_never_passes() -> None:
    assert compare("f1", [0, 1], [0, 1], [0, 1], Gate()).decision is Decision.INCONCLUSIVE


def test_two_models_without_any_order_of_the_rows_are_not_worse_than_each_other() -> None:
    labels = np.array([0.0, 1.0] * 50)
    assert compare("roc_auc", labels, np.full(100, 0.1), np.full(100, 0.9), Gate()).passed


def test_a_monotone_change_of_the_scores_does_not_change_the_auc() -> None:
    labels, scores, _ = _models(5, 100)
    assert compare("roc_auc", labels, scores, np.exp(3 * scores), Gate()).passed


def test_two_perfect_separations_of_few_rows_prove_little() -> None:
    random = np.random.default_rng(6)

    def verdict(count: int) -> Verdict:
        labels = np.repeat([0.0, 1.0], count)
        one, two = (labels + 0.4 * random.random(2 * count) for _ in range(2))
        return compare("roc_auc", labels, one, two, Gate())

    assert verdict(100).decision is Decision.INCONCLUSIVE
    assert "about 600 holdout rows" in verdict(100).hint or "about 610 holdout rows" in verdict(100).hint
    assert verdict(305).passed


def test_few_disagreements_are_no_certainty_for_accuracy() -> None:
    labels = np.array([0.0, 1.0] * 20)
    verdict = compare("accuracy", labels, labels, np.abs(labels - 0.1), Gate())
    assert verdict.difference == 0.0
    assert verdict.decision is Decision.INCONCLUSIVE


# ---------------------------------------------------------------------------------------------------- the statistics


def test_delongs_variance_is_the_one_of_its_definition() -> None:
    labels, one, two = _models(7, 60)
    high, low = labels == 1, labels == 0

    def kernel(scores: Floats) -> Floats:
        above = scores[high][:, None] - scores[low][None, :]
        return np.asarray((above > 0) + 0.5 * (above == 0), dtype=np.float64)

    first, second = kernel(one), kernel(two)
    rows = np.cov(np.stack([first.mean(axis=1), second.mean(axis=1)])) / high.sum()
    columns = np.cov(np.stack([first.mean(axis=0), second.mean(axis=0)])) / low.sum()
    contrast = np.array([1.0, -1.0])
    estimate = paired.estimate("roc_auc", labels, one, two)
    assert estimate.difference == pytest.approx(first.mean() - second.mean())
    assert estimate.error**2 == pytest.approx(contrast @ (rows + columns) @ contrast)


@pytest.mark.parametrize("metric", ["roc_auc", "rmse"])
def test_the_standard_error_is_the_one_the_bootstrap_finds(metric: str) -> None:
    labels, one, two = _models(8, 600)
    random = np.random.default_rng(0)
    differences = []
    for _ in range(400):
        rows = random.integers(0, 600, 600)
        differences.append(paired.estimate(metric, labels[rows], one[rows], two[rows]).difference)
    error = paired.estimate(metric, labels, one, two).error
    assert error == pytest.approx(float(np.std(differences)), rel=0.15)


def test_students_quantiles_are_those_of_the_tables() -> None:
    assert paired.quantile(0.95, 29) == pytest.approx(1.699127, abs=1e-5)
    assert paired.quantile(0.975, 99) == pytest.approx(1.984217, abs=1e-5)
    assert paired.quantile(0.999, 29) == pytest.approx(3.396240, abs=1e-4)
    assert paired.quantile(0.95, None) == pytest.approx(NormalDist().inv_cdf(0.95))


def _share_passed(metric: str, margin: float, draw: Callable[[np.random.Generator], Rows], runs: int = 300) -> float:
    random = np.random.default_rng(11)
    passed = 0
    for _ in range(runs):
        labels, challenger, champion = draw(random)
        passed += compare(metric, labels, challenger, champion, Gate(not_worse_by=margin)).passed
    return passed / runs


def test_a_model_worse_by_just_the_margin_passes_about_one_time_in_twenty() -> None:
    def means(random: np.random.Generator) -> Rows:
        champion = np.abs(random.normal(3.0, 1.0, 200))
        return np.zeros(200), champion + 0.1 + random.normal(0, 0.5, 200), champion

    def roots(random: np.random.Generator) -> Rows:
        return np.zeros(300), random.normal(0, 1.1, 300), random.normal(0, 1.0, 300)

    def hits(random: np.random.Generator) -> Rows:
        labels = np.ones(400)
        return labels, (random.random(400) < 0.75).astype(float), (random.random(400) < 0.80).astype(float)

    def areas(random: np.random.Generator) -> Rows:
        labels = np.repeat([0.0, 1.0], 200)
        return labels, labels * 0.9 + random.normal(size=400), labels * 1.1 + random.normal(size=400)

    normal = NormalDist()
    gap = normal.cdf(1.1 / math.sqrt(2)) - normal.cdf(0.9 / math.sqrt(2))  # AUC of two normal classes: Φ(d/√2)
    for metric, margin, draw in (
        ("mae", 0.1, means),
        ("rmse", 0.1, roots),
        ("accuracy", 0.05, hits),
        ("roc_auc", gap, areas),
    ):
        assert 0.02 <= _share_passed(metric, margin, draw) <= 0.09, metric


# ---------------------------------------------------------------------------------------------------- properties


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), metric=st.sampled_from(METRICS), digits=st.integers(1, 6))
def test_swapping_the_roles_turns_the_sign(seed: int, metric: str, digits: int) -> None:
    labels, one, two = (np.round(numbers, digits) for numbers in _models(seed, 120))
    there, back = (compare(metric, labels, a, b, Gate()) for a, b in ((one, two), (two, one)))
    assert (there.challenger, there.champion) == (back.champion, back.challenger)
    for left, right in ((there.difference, back.difference), (there.bound, back.upper), (there.upper, back.bound)):
        assert left is not None
        assert right is not None
        assert left == pytest.approx(-right, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), metric=st.sampled_from(METRICS), margins=st.lists(st.floats(0, 1), min_size=2))
def test_a_wider_margin_never_turns_a_pass_into_something_else(seed: int, metric: str, margins: list[float]) -> None:
    labels, one, two = _models(seed, 120)
    order = {Decision.WORSE: 0, Decision.INCONCLUSIVE: 1, Decision.PASS: 2}
    ranks = [order[compare(metric, labels, one, two, Gate(not_worse_by=m)).decision] for m in sorted(margins)]
    assert ranks == sorted(ranks)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), metric=st.sampled_from(METRICS))
def test_the_order_of_the_rows_does_not_matter(seed: int, metric: str) -> None:
    labels, one, two = _models(seed, 120)
    order = np.random.default_rng(seed).permutation(120)
    left = compare(metric, labels, one, two, Gate())
    right = compare(metric, labels[order], one[order], two[order], Gate())
    assert (left.decision, left.reason) == (right.decision, right.reason)


# ---------------------------------------------------------------------------------------------------- slices


def _with_a_broken_slice(count: int) -> tuple[Floats, Floats, Floats, list[str]]:
    """10 % of the rows are `f`, and there the challenger guesses; elsewhere it is better."""
    random = np.random.default_rng(12)
    labels = (random.random(count) < 0.4).astype(np.float64)
    champion = labels + random.normal(size=count)
    challenger = labels + 0.7 * random.normal(size=count)
    group = random.random(count) < 0.1
    challenger[group] = random.normal(size=int(group.sum()))
    return labels, challenger, champion, ["f" if one else "m" for one in group]


def test_a_slice_that_got_worse_blocks_and_is_named() -> None:
    labels, challenger, champion, gender = _with_a_broken_slice(8000)
    assert compare("roc_auc", labels, challenger, champion, Gate()).passed
    verdict = compare("roc_auc", labels, challenger, champion, Gate(), {"gender": gender})
    assert verdict.decision is Decision.WORSE
    assert verdict.reason.startswith("all rows: roc_auc")
    assert "not worse; gender=f: roc_auc" in verdict.reason
    assert "gender=f" in verdict.hint
    found = {part.name: part.decision for part in verdict.slices}
    assert found == {"gender=f": Decision.WORSE, "gender=m": Decision.PASS}
    assert sum(part.rows for part in verdict.slices) == verdict.rows


def test_each_of_k_slices_is_held_to_a_kth_of_the_error() -> None:
    labels, challenger, champion, gender = _with_a_broken_slice(8000)
    verdict = compare("roc_auc", labels, challenger, champion, Gate(), {"gender": gender, "all": ["x"] * 8000})
    assert [part.confidence for part in verdict.slices] == pytest.approx([1 - 0.05 / 3] * 3)


def test_slices_too_small_to_test_do_not_block_but_are_listed() -> None:
    labels, challenger, champion = _models(13, 3000, 0.05)
    names = ["rare"] * 20 + ["common"] * 2980
    verdict = compare("roc_auc", labels, challenger, champion, Gate(not_worse_by=0.02), {"kind": names})
    assert verdict.passed
    rare = next(part for part in verdict.slices if part.value == "rare")
    assert rare.decision is Decision.UNTESTED
    assert "too few rows to compare by: 20" in rare.reason


def test_a_slice_of_one_class_is_untested_for_auc() -> None:
    labels, challenger, champion = _models(14, 3000, 0.05)
    verdict = compare("roc_auc", labels, challenger, champion, Gate(not_worse_by=0.02), {"label": labels})
    assert verdict.passed
    assert {part.decision for part in verdict.slices} == {Decision.UNTESTED}


def test_noise_in_many_slices_rarely_blocks_a_good_model() -> None:
    random = np.random.default_rng(15)
    blocked = 0
    for _ in range(100):
        champion = random.normal(5.0, 1.0, 2000)
        challenger = champion + random.normal(0.0, 1.0, 2000)  # just as good, and the margin is almost nothing
        verdict = compare(
            "mae", np.zeros(2000), challenger, champion, Gate(not_worse_by=1e-9), {"k": np.arange(2000) % 20}
        )
        blocked += any(part.decision is Decision.WORSE for part in verdict.slices)
    assert blocked <= 12


def test_a_slice_column_of_another_length_is_inconclusive() -> None:
    labels, challenger, champion = _models(16)
    verdict = compare("roc_auc", labels, challenger, champion, Gate(), {"gender": ["f"] * 399})
    assert verdict.decision is Decision.INCONCLUSIVE
    assert "gender has 399 values for 400 rows" in verdict.reason


# ---------------------------------------------------------------------------------------------------- the word


def test_a_verdict_is_the_same_after_json() -> None:
    labels, challenger, champion, gender = _with_a_broken_slice(2000)
    verdict = compare(
        "log_loss", labels, np.clip(challenger, 0, 1), np.clip(champion, 0, 1), Gate(), {"gender": gender}
    )
    assert decode(encode(verdict)) == verdict


def test_importing_the_room_does_not_load_numpy() -> None:
    code = "import sys, mawasu.judge; sys.exit('numpy' in sys.modules or 'pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
