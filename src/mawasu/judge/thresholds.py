"""Judging a model without a champion: measured values against the absolute thresholds of `gate.first`."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from mawasu.judge import wording
from mawasu.judge.verdict import Decision, Verdict

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_COMPARE = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}


def measure(names: Iterable[str], labels: ArrayLike, scores: ArrayLike) -> dict[str, float]:
    """The value of each named metric; NaN where it cannot be computed (one class only, no probabilities…)."""
    import numpy as np

    from mawasu.judge import metrics

    truth, given = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    with np.errstate(all="ignore"):
        return {
            name: math.nan if metrics.fault(name, truth, given, "model") else metrics.value(name, truth, given)
            for name in names
        }


def first(values: Mapping[str, float], thresholds: Mapping[str, str], rows: int = 0) -> Verdict:
    """No champion: each threshold (`gate.first`: metric → `>= 0.55`) must hold for the measured value.

    A value that is missing, NaN or infinite, or a threshold that cannot be read, is inconclusive.
    """
    metric = next(iter(thresholds or values), "")
    challenger = values.get(metric, math.nan)
    known = challenger if math.isfinite(challenger) else None
    if not thresholds:
        return Verdict(
            decision=Decision.PASS,
            reason="no champion and no gate.first: nothing to hold the model against",
            metric=metric,
            challenger=known,
            rows=rows,
        )
    checks = [_threshold(name, values.get(name, math.nan), text) for name, text in thresholds.items()]
    decision = next(
        (kind for kind in (Decision.INCONCLUSIVE, Decision.WORSE) if any(check[0] is kind for check in checks)),
        Decision.PASS,
    )
    said = [text for kind, text in checks if kind is decision]
    return Verdict(
        decision=decision,
        reason=f"no champion; {', '.join(said)}",
        hint="" if decision is Decision.PASS else "gate.first says what a first model must reach",
        metric=metric,
        challenger=known,
        rows=rows,
    )


def _threshold(metric: str, value: float, text: str) -> tuple[Decision, str]:
    parts = re.fullmatch(r"\s*(>=|<=|>|<)\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*", text)
    if parts is None:
        return Decision.INCONCLUSIVE, f"gate.first: {metric} {text!r} is no threshold like '>= 0.55'"
    if not math.isfinite(value):
        return Decision.INCONCLUSIVE, f"{metric} could not be computed, gate.first asks for {text.strip()}"
    sign, limit = parts[1], float(parts[2])
    shown = wording.number(value, max(3, len(parts[2].partition(".")[2]) + 1))
    if _COMPARE[sign](value, limit):
        return Decision.PASS, f"{metric} {shown} is {sign} {parts[2]}"
    return Decision.WORSE, f"{metric} {shown} is not {sign} {parts[2]}"
