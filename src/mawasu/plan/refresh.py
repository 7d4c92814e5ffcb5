"""New data by the clock: which sources are to be looked at now, and whether what is there is news. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mawasu.spec.data_lock import Locked
from mawasu.spec.environments import refresh_branch
from mawasu.spec.feature import DataSet, Feature
from mawasu.words import Look, Value, short

EARLY = 0.05
"""The share of its time by which a look may come early: a clock that strikes every half hour never strikes exactly."""

RETRY = 3600.0
"""Seconds after which a source that could not be read is tried again at the latest."""


class Moved(Value, frozen=True):
    """A data set of a feature whose snapshot is another one now; `old` is None when data.lock did not pin it."""

    feature: str
    data: str
    old: Locked | None
    new: Locked


def branch_of(feature: Feature) -> str | None:
    """The branch that commits of new data go to (`spec.environments.refresh_branch`)."""
    return refresh_branch((one.name, one.branch) for one in feature.environments if not one.preview)


def due(feature: Feature, branch: str, looks: Mapping[str, Look], now: float) -> tuple[DataSet, ...]:
    """The data sets whose source is to be looked at now, for this branch. `looks` are the last ones by data set."""
    if branch != branch_of(feature):
        return ()
    return tuple(
        data for data in feature.data if data.refresh is not None and _is_due(data.refresh, looks.get(data.name), now)
    )


def _is_due(period: float, last: Look | None, now: float) -> bool:
    if last is None:
        return True
    wait = min(period, RETRY) if last.trouble else period
    # A clock that was set back must not stop refreshing until it has caught up.
    return now - last.at >= wait * (1 - EARLY) or now < last.at


def is_news(found: Locked, locked: Locked | None, last: Look | None) -> bool:
    """Whether what was found belongs into data.lock.

    Not when it is there already; nor when it was there at the last look: then a person has chosen other data since (by
    reverting a commit of new data, say), and it is for the source to say something new.
    """
    return (locked is None or found.digest != locked.digest) and (last is None or found.digest != last.digest)


def message(moved: Sequence[Moved]) -> str:
    """Of the commit: a subject, and a paragraph for every data set."""
    names = ", ".join(dict.fromkeys(one.data for one in moved))
    lines = [f"New data: {names}", ""]
    for one in moved:
        old = f"{short(one.old.digest)} ({_size(one.old)})" if one.old else "nothing"
        lines.append(f"{one.feature}: {one.data} {old} → {short(one.new.digest)} ({_size(one.new)})")
    return "\n".join(lines) + "\n"


def _size(locked: Locked) -> str:
    return f"{locked.bytes} bytes in {locked.files} file{'' if locked.files == 1 else 's'}"
