"""The ledgers of a home, opened once each."""

from __future__ import annotations

import threading

from mawasu.home import Home
from mawasu.ledger.ledger import Ledger
from mawasu.ledger.shelf import DirectoryShelf, features


class Ledgers:
    """Thread-safe; a feature's ledger begins to exist with its first entry."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._open: dict[str, Ledger] = {}
        self._lock = threading.Lock()

    def of(self, feature: str) -> Ledger:
        with self._lock:
            if feature not in self._open:
                self._open[feature] = Ledger(DirectoryShelf(self._home.ledger, feature, self._home.checkpoints))
            return self._open[feature]

    def all(self) -> dict[str, Ledger]:
        return {feature: self.of(feature) for feature in features(self._home.ledger)}
