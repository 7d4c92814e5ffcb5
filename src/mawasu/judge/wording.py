"""Numbers as people read them in a verdict."""

from __future__ import annotations

import math

MINUS = "−"


def decimals_for(margin: float) -> int:
    """Digits behind the point at which a difference of a tenth of the margin can be seen (0.01 → 3, 100 → 0)."""
    if margin <= 0:
        return 4
    return min(9, max(0, math.ceil(-math.log10(margin)) + 1))


def number(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}".replace("-", MINUS)


def signed(value: float, decimals: int) -> str:
    """With its sign; what rounds to zero has that of zero, whichever side it came from."""
    value = round(value, decimals) + 0.0
    return f"{value:+,.{decimals}f}".replace("-", MINUS)


def percent(share: float) -> str:
    return f"{share * 100:.4g} %"


def comparison(
    metric: str,
    higher_is_better: bool,
    values: tuple[float, float],
    difference: float,
    bound: tuple[float, str, float],
    confidence: float,
) -> str:
    """`roc_auc 0.741 vs 0.733 (+0.008, 95 % bound +0.005 > −0.010)`.

    `values`: challenger's and champion's. `bound`: the interval's end, `>`, `≤` or `<`, and what it was held against.
    """
    end, sign, limit = bound
    decimals = decimals_for(abs(limit))
    while decimals < 9 and end != limit and signed(end, decimals) == signed(limit, decimals):
        decimals += 1
    turned = "" if higher_is_better else "lower is better: "
    values_said = f"{metric} {number(values[0], decimals)} vs {number(values[1], decimals)}"
    bound_said = f"{percent(confidence)} bound {signed(end, decimals)} {sign} {signed(limit, decimals)}"
    return f"{values_said} ({turned}{signed(difference, decimals)}, {bound_said})"


def about(count: float) -> str:
    """A row count to two digits, rounded up: 4,213 → 4,300."""
    if count > 1e12:
        return "more than anybody has"
    step = 10 ** max(0, math.floor(math.log10(count)) - 1)
    return f"{math.ceil(count / step) * step:,}"
