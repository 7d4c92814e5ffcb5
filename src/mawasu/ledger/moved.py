"""Writing only what follows from what was seen: an entry is withdrawn when another one came between."""

from __future__ import annotations

from collections.abc import Callable

from mawasu.errors import CancelledError
from mawasu.ledger.fold import State


class MovedError(CancelledError):
    """Another entry came between looking and writing: look again."""


def unmoved(seen: State) -> Callable[[State], None]:
    """An `expect` of `Ledger.append` that holds while the newest entry is still the one that was seen."""
    number = seen.number  # the ledger may fold further entries into this very state

    def check(state: State) -> None:
        if state.number != number:
            raise MovedError(f"the ledger moved past entry {number}")

    return check
