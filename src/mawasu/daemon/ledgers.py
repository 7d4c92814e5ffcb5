"""The ledgers of all features, opened once each."""

from __future__ import annotations

import threading

from mawasu.executor.records import Records
from mawasu.ledger.ledger import Ledger


class Ledgers:
    """Thread-safe; a feature's ledger begins to exist with its first entry."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._open: dict[str, Ledger] = {}
        self._lock = threading.Lock()

    def of(self, feature: str) -> Ledger:
        with self._lock:
            if feature not in self._open:
                self._open[feature] = self._records.ledger(feature)
            return self._open[feature]

    def all(self) -> dict[str, Ledger]:
        return {feature: self.of(feature) for feature in self._records.features()}
