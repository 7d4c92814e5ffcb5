"""The metrics a gate can use: which way is better, what they need, their value, and what each row contributes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

HIGHER_IS_BETTER = {"roc_auc": True, "accuracy": True, "log_loss": False, "rmse": False, "mae": False}

_SMALLEST = float(np.finfo(np.float64).eps)  # probabilities are kept this far from 0 and 1, as scikit-learn does


def fault(metric: str, labels: Floats, scores: Floats, whose: str) -> str | None:
    """Why `metric` cannot be computed from these numbers, or None. `whose` names the scores in the sentence."""
    if metric not in HIGHER_IS_BETTER:
        return f"{metric!r} is no metric; known are {', '.join(HIGHER_IS_BETTER)}"
    if scores.shape != labels.shape or labels.ndim != 1:
        return f"the {whose} has {scores.size:,} scores for {labels.size:,} rows"
    if labels.size == 0:
        return "there are no rows"
    for what, numbers in (("labels", labels), (f"scores of the {whose}", scores)):
        bad = int(np.count_nonzero(~np.isfinite(numbers)))
        if bad:
            return f"{bad:,} of {numbers.size:,} {what} are not finite numbers"
    return _fault_of_kind(metric, labels, scores, whose)


def _fault_of_kind(metric: str, labels: Floats, scores: Floats, whose: str) -> str | None:
    if metric in ("roc_auc", "log_loss"):
        other = labels[(labels != 0) & (labels != 1)]
        if other.size:
            return f"{metric} needs labels 0 and 1, found {other[0]:g}"
    if metric == "roc_auc" and labels.min() == labels.max():
        return f"roc_auc needs rows of both classes, all {labels.size:,} labels are {labels[0]:g}"
    if metric == "log_loss":
        outside = scores[(scores < 0) | (scores > 1)]
        if outside.size:
            return f"log_loss needs probabilities, the {whose} has the score {outside[0]:g}"
    if metric == "accuracy":
        return _fault_of_classes(labels, scores, whose)
    return None


def _fault_of_classes(labels: Floats, scores: Floats, whose: str) -> str | None:
    fractions = labels[labels != np.rint(labels)]
    if fractions.size:
        return f"accuracy needs whole numbers as labels, found {fractions[0]:g}"
    neither = scores[(scores != np.rint(scores)) & ((scores < 0) | (scores > 1))]
    if neither.size:
        return f"accuracy needs probabilities or class numbers, the {whose} has the score {neither[0]:g}"
    if np.any(scores != np.rint(scores)) and np.any((labels != 0) & (labels != 1)):
        return f"accuracy over more than two classes needs class numbers, the {whose} has probabilities"
    return None


def value(metric: str, labels: Floats, scores: Floats) -> float:
    """The metric over rows that `fault` found nothing wrong with."""
    if metric == "roc_auc":
        return placements(labels, scores).auc
    mean = float(contributions(metric, labels, scores).mean())
    return float(np.sqrt(mean)) if metric == "rmse" else mean


def contributions(metric: str, labels: Floats, scores: Floats) -> Floats:
    """What each row adds to the mean: its log loss, hit (0 or 1), absolute error, or for rmse its squared error.

    ROC AUC is not a mean over rows; see `placements`. A class is the score itself when it is a whole number, and
    for a probability 1 from 0.5 on.
    """
    result: Floats
    if metric == "log_loss":
        chance = np.clip(np.where(labels == 1, scores, 1 - scores), _SMALLEST, 1 - _SMALLEST)
        result = -np.log(chance)
    elif metric == "accuracy":
        result = (np.floor(scores + 0.5) == labels).astype(np.float64)
    elif metric == "mae":
        result = np.abs(scores - labels)
    else:
        result = np.square(scores - labels)
    return result


class Placements:
    """ROC AUC and its structural components (DeLong 1988): for each positive row the share of negatives it beats

    (`positives`), for each negative row the share of positives that beat it (`negatives`); a tie counts one half.
    """

    def __init__(self, auc: float, positives: Floats, negatives: Floats) -> None:
        self.auc = auc
        self.positives = positives
        self.negatives = negatives


def placements(labels: Floats, scores: Floats) -> Placements:
    """Structural components in O(n log n) from mid-ranks.

    Sun & Xu, "Fast implementation of DeLong's algorithm …", IEEE Signal Processing Letters 21(11), 2014.
    """
    high, low = scores[labels == 1], scores[labels == 0]
    together = midranks(np.concatenate([high, low]))
    positives = (together[: high.size] - midranks(high)) / low.size
    negatives = 1 - (together[high.size :] - midranks(low)) / high.size
    return Placements(float(positives.mean()), positives, negatives)


def midranks(numbers: Floats) -> Floats:
    """Ranks from 1; equal numbers share the mean of their ranks."""
    _, group, count = np.unique(numbers, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(count) - (count - 1) / 2)[group]
    return ranks
