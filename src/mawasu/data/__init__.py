"""Data sets: snapshots of their sources, the split that hides the holdout, and predictions joined to labels."""

from mawasu.data.lockfile import Locked, format_lock, parse_lock
from mawasu.data.predictions import Scores
from mawasu.data.sources import lock, make_snapshot
from mawasu.data.stored import read_scores, split_snapshot

__all__ = [
    "Locked",
    "Scores",
    "format_lock",
    "lock",
    "make_snapshot",
    "parse_lock",
    "read_scores",
    "split_snapshot",
]
