"""Data sets: snapshots of their sources, the split that hides the holdout, and predictions joined to labels."""

from mawasu.data.predictions import Scores
from mawasu.data.reach import Reach
from mawasu.data.sources import Snapshot, lock, make_snapshot, take
from mawasu.data.stored import read_scores, split_snapshot

__all__ = [
    "Reach",
    "Scores",
    "Snapshot",
    "lock",
    "make_snapshot",
    "read_scores",
    "split_snapshot",
    "take",
]
