"""Data sets: snapshots of their sources, the split that hides the holdout, and predictions joined to labels."""

from mawasu.data.predictions import Scores
from mawasu.data.sources import lock, make_snapshot
from mawasu.data.stored import read_scores, split_snapshot

__all__ = [
    "Scores",
    "lock",
    "make_snapshot",
    "read_scores",
    "split_snapshot",
]
