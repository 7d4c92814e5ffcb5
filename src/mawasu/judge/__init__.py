"""The gate: numbers in, verdict out. Pure; numpy is loaded when the first number is looked at."""

from mawasu.judge.gate import compare
from mawasu.judge.thresholds import first, measure
from mawasu.judge.verdict import Decision, SliceVerdict, Verdict, decode, encode

__all__ = [
    "Decision",
    "SliceVerdict",
    "Verdict",
    "compare",
    "decode",
    "encode",
    "first",
    "measure",
]
