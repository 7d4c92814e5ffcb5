"""Deciding: paired non-inferiority of the challenger, over all rows and within slices (docs/judging.md)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mawasu.judge import wording
from mawasu.judge.verdict import Decision, SliceVerdict, Verdict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from mawasu.judge.paired import Estimate
    from mawasu.spec.feature import Gate

    Floats = NDArray[np.float64]

MIN_ROWS = 30
"""Fewer rows are never tested: the intervals rest on the central limit theorem."""

MIN_OF_CLASS = 10
"""ROC AUC needs at least so many rows of each class, for the same reason."""


@dataclass(frozen=True)
class _Finding:
    """What one test over one set of rows found."""

    decision: Decision
    reason: str
    hint: str = ""
    rows: int = 0
    estimate: Estimate | None = None
    bound: float | None = None
    upper: float | None = None
    confidence: float | None = None


@dataclass(frozen=True)
class _Rows:
    """The same rows seen by both models: three arrays of shape (rows,)."""

    labels: Floats
    challenger: Floats
    champion: Floats

    def only(self, chosen: NDArray[np.bool_]) -> _Rows:
        return _Rows(self.labels[chosen], self.challenger[chosen], self.champion[chosen])


def compare(
    metric: str,
    labels: ArrayLike,
    challenger: ArrayLike,
    champion: ArrayLike,
    gate: Gate,
    slices: Mapping[str, ArrayLike] | None = None,
) -> Verdict:
    """Is the challenger not worse than the champion by more than `gate.not_worse_by`, shown at `gate.confidence`?

    `labels`, `challenger`, `champion`: one number per row (shape (rows,)), in the same order. `slices`: column name →
    one value per row; a slice that is shown worse blocks. Never raises for numbers that cannot be judged (NaN, wrong
    length, one class only): those are inconclusive, so they do not pass either.
    """
    import numpy as np

    from mawasu.judge import metrics

    rows = _Rows(*(np.asarray(numbers, dtype=np.float64) for numbers in (labels, challenger, champion)))
    columns = {name: np.asarray(values).astype(str) for name, values in (slices or {}).items()}
    fault = metrics.fault(metric, rows.labels, rows.challenger, "challenger") or metrics.fault(
        metric, rows.labels, rows.champion, "champion"
    )
    for name, values in columns.items():
        if values.shape != rows.labels.shape:
            fault = fault or f"slice column {name} has {values.size:,} values for {rows.labels.size:,} rows"
    if fault:
        hint = "the evaluation command must write one usable score for every row"
        return _verdict(metric, gate, _Finding(Decision.INCONCLUSIVE, fault, hint, int(rows.labels.size)), ())
    with np.errstate(all="ignore"):  # an overflow ends in inf, which is looked for
        whole = _test(metric, rows, gate.not_worse_by, gate.confidence)
        parts = _slices(metric, rows, columns, gate)
    return _verdict(metric, gate, whole, parts)


def _test(metric: str, rows: _Rows, margin: float, confidence: float) -> _Finding:
    from mawasu.judge import metrics, paired

    count = int(rows.labels.size)
    if (rows.challenger == rows.champion).all():
        same = metrics.value(metric, rows.labels, rows.challenger)
        estimate = paired.Estimate(same, same, 0.0, 0.0, 0.0)
        reason = (
            f"{metric} {wording.number(same, wording.decimals_for(margin))}: both give the same score for every row"
        )
        return _Finding(Decision.PASS, reason, "", count, estimate, 0.0, 0.0, confidence)
    few = _too_few(metric, rows)
    if few:
        return _Finding(Decision.INCONCLUSIVE, few, "hold out more rows", count)
    estimate = paired.estimate(metric, rows.labels, rows.challenger, rows.champion)
    bound, upper = estimate.bounds(confidence)
    if not all(map(math.isfinite, (bound, upper, estimate.difference, estimate.challenger, estimate.champion))):
        return _Finding(Decision.INCONCLUSIVE, f"{metric} is too large to be computed", "look at the scores", count)
    return _decide(metric, estimate, (bound, upper), margin, confidence, count)


def _too_few(metric: str, rows: _Rows) -> str:
    count = int(rows.labels.size)
    if count < MIN_ROWS:
        return f"too few rows to compare by: {count:,} of at least {MIN_ROWS}"
    if metric == "roc_auc":
        least = min(int((rows.labels == 1).sum()), int((rows.labels == 0).sum()))
        if least < MIN_OF_CLASS:
            return f"too few rows of one class for roc_auc: {least:,} of at least {MIN_OF_CLASS}"
    return ""


def _decide(
    metric: str, estimate: Estimate, ends: tuple[float, float], margin: float, confidence: float, count: int
) -> _Finding:
    from mawasu.judge import metrics

    bound, upper = ends
    if bound > -margin:
        decision, word, hint, held = Decision.PASS, "not worse", "", (bound, ">", -margin)
    elif upper < -margin:
        decision, word, held = Decision.WORSE, "worse", (upper, "<", -margin)
        hint = f"improve the model, or accept a larger loss with gate.not_worse_by (now {margin:g})"
    else:
        decision, word, held = Decision.INCONCLUSIVE, "inconclusive", (bound, "≤", -margin)
        hint = _how_to_decide(estimate, bound, margin, count)
    values = (estimate.challenger, estimate.champion)
    numbers = wording.comparison(
        metric, metrics.HIGHER_IS_BETTER[metric], values, estimate.difference, held, confidence
    )
    return _Finding(decision, f"{numbers}: {word}", hint, count, estimate, bound, upper, confidence)


def _how_to_decide(estimate: Estimate, bound: float, margin: float, count: int) -> str:
    """The interval shrinks with the root of the row count; so many rows would bring its end up to the margin."""
    room, reach = estimate.center + margin, estimate.center - bound
    wider = f"or a wider gate.not_worse_by (now {margin:g})"
    if room <= 0:
        return f"the measured loss is beyond the margin but may be chance: more holdout rows would tell, {wider}"
    growth = reach / room if estimate.unseen else (reach / room) ** 2
    return f"about {wording.about(count * growth * 1.01)} holdout rows would do if the difference stays, {wider}"


def _slices(metric: str, rows: _Rows, columns: Mapping[str, NDArray[Any]], gate: Gate) -> tuple[SliceVerdict, ...]:
    """Every value of every slice column. With k slices tested each is held to 1 − α/k (Bonferroni), so that a good
    model is blocked by chance in any of them with at most α. Holm's method would block in exactly the same cases:
    it rejects something only if it rejects the smallest p value at α/k.
    """
    import numpy as np

    from mawasu.judge import metrics

    found: list[tuple[str, str, _Rows, str]] = []
    for column, values in columns.items():
        names, group = np.unique(values, return_inverse=True)
        for index, name in enumerate(names):
            part = rows.only(group == index)
            why_not = _too_few(metric, part) or metrics.fault(metric, part.labels, part.challenger, "challenger")
            found.append((column, str(name), part, why_not or ""))
    tested = sum(1 for *_, why_not in found if not why_not)
    confidence = 1 - (1 - gate.confidence) / max(1, tested)
    results = []
    for column, name, part, why_not in found:
        if why_not:
            finding = _Finding(Decision.UNTESTED, why_not, rows=int(part.labels.size))
        else:
            finding = _test(metric, part, gate.not_worse_by, confidence)
        results.append(_slice_verdict(column, name, finding))
    return tuple(results)


def _slice_verdict(column: str, value: str, finding: _Finding) -> SliceVerdict:
    estimate = finding.estimate
    return SliceVerdict(
        column=column,
        value=value,
        decision=finding.decision,
        rows=finding.rows,
        challenger=estimate.challenger if estimate else None,
        champion=estimate.champion if estimate else None,
        difference=estimate.difference if estimate else None,
        bound=finding.bound,
        upper=finding.upper,
        confidence=finding.confidence,
        reason=finding.reason,
    )


def _verdict(metric: str, gate: Gate, whole: _Finding, parts: tuple[SliceVerdict, ...]) -> Verdict:
    decision, reason, hint = whole.decision, whole.reason, whole.hint
    worse = [part for part in parts if part.decision is Decision.WORSE]
    if worse:
        named = "; ".join(f"{part.name}: {part.reason}" for part in worse)
        reason = f"all rows: {reason}; {named}"
        if decision is Decision.WORSE:  # the slices say nothing new, and are in the evidence
            reason = f"{whole.reason}; so it is where {', '.join(part.name for part in worse)}"
        if decision is Decision.PASS:
            decision = Decision.WORSE
            hint = f"look at the training rows where {' or '.join(part.name for part in worse)}"
    estimate = whole.estimate
    return Verdict(
        decision=decision,
        reason=reason,
        hint=hint,
        metric=metric,
        challenger=estimate.challenger if estimate else None,
        champion=estimate.champion if estimate else None,
        difference=estimate.difference if estimate else None,
        bound=whole.bound,
        upper=whole.upper,
        margin=gate.not_worse_by,
        confidence=gate.confidence,
        rows=whole.rows,
        slices=parts,
    )
