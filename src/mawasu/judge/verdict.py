"""The gate's decision with its evidence: what the ledger keeps and people are shown."""

from __future__ import annotations

import enum

import msgspec

from mawasu.words import Value


class Decision(enum.StrEnum):
    """The gate lets through `PASS` only. What each one means is in docs/judging.md."""

    PASS = "pass"
    WORSE = "worse"  # shown to be worse than the gate allows
    INCONCLUSIVE = "inconclusive"  # neither could be shown: too few rows, or no numbers to judge by
    UNTESTED = "untested"  # a slice only: too few rows to say anything


class SliceVerdict(Value, frozen=True):
    """The same comparison within the rows where `column` is `value`; fields as in `Verdict`."""

    column: str
    value: str
    decision: Decision
    rows: int
    challenger: float | None = None
    champion: float | None = None
    difference: float | None = None
    bound: float | None = None
    upper: float | None = None
    confidence: float | None = None
    reason: str = ""

    @property
    def name(self) -> str:
        return f"{self.column}={self.value}"


class Verdict(Value, frozen=True):
    """May the challenger take the champion's place?

    `challenger` and `champion` are values of `metric` in its own units. `difference`, `bound` and `upper` are in the
    same units, turned so that positive is better: the difference and the two ends of its one-sided intervals at
    `confidence`. Numbers that do not exist (no champion, one class only) are None, never NaN.
    """

    decision: Decision
    reason: str
    hint: str = ""
    metric: str = ""
    challenger: float | None = None
    champion: float | None = None
    difference: float | None = None
    bound: float | None = None
    upper: float | None = None
    margin: float | None = None
    confidence: float | None = None
    rows: int = 0
    slices: tuple[SliceVerdict, ...] = ()

    @property
    def passed(self) -> bool:
        return self.decision is Decision.PASS


def encode(verdict: Verdict) -> bytes:
    """The verdict as JSON."""
    return msgspec.json.encode(verdict)


def decode(data: bytes) -> Verdict:
    """The verdict that `encode` wrote. Raises msgspec.ValidationError for anything else."""
    return msgspec.json.decode(data, type=Verdict)
