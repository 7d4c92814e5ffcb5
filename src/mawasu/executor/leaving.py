"""How an environment goes: with its branch, or when nobody has pushed to it for its time."""

from __future__ import annotations

from collections.abc import Iterator

from mawasu.executor.deploy import DRAIN
from mawasu.executor.sites import Live
from mawasu.executor.taking import take
from mawasu.ledger.entries import BuildFinished, BuildQueued, EnvironmentGone
from mawasu.ledger.fold import State, unfinished
from mawasu.ledger.ledger import Ledger
from mawasu.words import Push, Result

EXPIRED = "nobody pushed to it for its time"


def branch_gone(ledger: Ledger, live: Live, push: Push) -> Iterator[str]:
    """Record that a branch was deleted: its preview goes, which is told; a stable environment serves on."""
    reason = f"branch {push.branch} was deleted"
    taken = take(ledger, BuildQueued(0, push, ""))
    ledger.append(BuildFinished(taken.build, Result.NOTHING, reason))
    for environment in list(ledger.state().environments.values()):
        if environment.branch == push.branch and environment.expires is not None and not environment.gone:
            take_away(ledger, live, environment.name, reason)
            yield f"{ledger.feature}: {environment.name} is gone with its branch"


def expired(state: State, now: float) -> list[str]:
    """Previews whose time is over, but for those that a build is on its way to. `now` in seconds since the epoch."""
    busy = {build.environment for build in unfinished(state)}
    return [
        one.name
        for one in state.environments.values()
        if not one.gone and one.name not in busy and one.expires is not None and now - one.last_push > one.expires
    ]


def take_away(ledger: Ledger, live: Live, environment: str, reason: str) -> None:
    """First from the gateway, then what runs; recorded in between."""
    live.sites.remove(ledger.feature, environment)
    ledger.append(EnvironmentGone(environment, reason))
    live.services.remove(ledger.feature, environment, drain=DRAIN)
