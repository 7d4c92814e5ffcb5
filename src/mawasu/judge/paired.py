"""The difference between two models on the same rows, and how sure it is.

Every estimate is turned so that positive means the challenger is better.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from mawasu.judge import metrics

if TYPE_CHECKING:
    from mawasu.judge.metrics import Floats


@dataclass(frozen=True)
class Estimate:
    """Two values of a metric and their difference. Bounds are `center` ± quantile × `error`.

    `freedom`: degrees of freedom of Student's t, None for the normal distribution. `unseen` (when not 0): in that many
    rows no difference was seen at all, so there is no error to estimate, and the bound comes from their number.
    """

    challenger: float
    champion: float
    difference: float
    center: float
    error: float
    freedom: int | None = None
    unseen: int = 0

    def bounds(self, confidence: float) -> tuple[float, float]:
        """Lower and upper end; each holds alone with `confidence` (one-sided)."""
        if self.unseen:
            # If a share p of rows differed, none of n would show it with chance (1−p)^n: p ≤ 1−α^(1/n), the exact
            # form of the "rule of three" (Hanley & Lippman-Hand, JAMA 249(13), 1983). A row moves the AUC by ≤ 1.
            reach = 1 - (1 - confidence) ** (1 / self.unseen)
        else:
            reach = quantile(confidence, self.freedom) * self.error
        return self.center - reach, self.center + reach


def quantile(confidence: float, freedom: int | None) -> float:
    """Quantile of the normal distribution, or of Student's t by its expansion (Abramowitz & Stegun 26.7.5).

    The expansion is right to 1e-5 from 29 degrees of freedom on, fewer than any test here is run with.
    """
    z = NormalDist().inv_cdf(confidence)
    if freedom is None:
        return z
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def estimate(metric: str, labels: Floats, challenger: Floats, champion: Floats) -> Estimate:
    """Compare two models' scores on the same rows (all arrays: shape (rows,), checked by `metrics.fault`)."""
    if metric == "roc_auc":
        return _areas(labels, challenger, champion)
    new = metrics.contributions(metric, labels, challenger)
    old = metrics.contributions(metric, labels, champion)
    if metric == "accuracy":
        return _proportions(new, old)
    if metric == "rmse":
        return _roots(new, old)
    return _means(float(new.mean()), float(old.mean()), old - new)


def _areas(labels: Floats, challenger: Floats, champion: Floats) -> Estimate:
    """DeLong, DeLong & Clarke-Pearson, Biometrics 44(3), 1988: the variance of the difference of two paired AUCs.

    The contrast (1, −1) of their covariance matrix is the variance of the differences of the components.
    """
    new, old = metrics.placements(labels, challenger), metrics.placements(labels, champion)
    positives, negatives = new.positives - old.positives, new.negatives - old.negatives
    difference = new.auc - old.auc
    variance = positives.var(ddof=1) / positives.size + negatives.var(ddof=1) / negatives.size
    unseen = 0
    if not positives.any() and not negatives.any() and not _same_order(challenger, champion):
        # Such as two perfect separations: at the edge of its range DeLong's variance is 0 whatever the row count.
        unseen = min(positives.size, negatives.size)
    return Estimate(new.auc, old.auc, difference, difference, math.sqrt(variance), unseen=unseen)


def _same_order(challenger: Floats, champion: Floats) -> bool:
    return bool(np.array_equal(metrics.midranks(challenger), metrics.midranks(champion)))


def _proportions(new: Floats, old: Floats) -> Estimate:
    """Bonett & Price, "Adjusted Wald confidence interval for a difference of binomial proportions based on paired
    data", J. Educational and Behavioral Statistics 37(4), 2012: one row is added to each kind of disagreement, so that
    few disagreements do not look like certainty.
    """
    rows = new.size + 2
    won = (np.count_nonzero(new > old) + 1) / rows
    lost = (np.count_nonzero(new < old) + 1) / rows
    challenger, champion = float(new.mean()), float(old.mean())
    error = math.sqrt((won + lost - (won - lost) ** 2) / rows)
    return Estimate(challenger, champion, challenger - champion, won - lost, error)


def _means(challenger: float, champion: float, gains: Floats) -> Estimate:
    """The paired t interval for the mean of `gains` (shape (rows,), positive is better)."""
    difference = float(gains.mean())
    error = float(gains.std(ddof=1)) / math.sqrt(gains.size)
    return Estimate(challenger, champion, difference, difference, error, freedom=gains.size - 1)


def _roots(new: Floats, old: Floats) -> Estimate:
    """Delta method (van der Vaart, "Asymptotic Statistics", §3.1): near its mean M, √ is the line with slope 1/(2√M),

    so a row with squared error s moves the RMSE by (s − M)/(2√M); the difference of two such moves is a paired mean.
    A model without any error has no slope there and moves nothing.
    """
    gains = np.zeros_like(new)
    roots = []
    for squares, sign in ((new, -1.0), (old, 1.0)):
        root = math.sqrt(float(squares.mean()))
        roots.append(root)
        if root > 0:
            gains += sign * (squares - root**2) / (2 * root)
    spread = _means(roots[0], roots[1], gains)
    difference = roots[1] - roots[0]
    return Estimate(roots[0], roots[1], difference, difference, spread.error, freedom=spread.freedom)
