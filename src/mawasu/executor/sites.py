"""What the gateway serves, over all features of a home: one table, changed under one lock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mawasu.ledger.fold import BuildState
from mawasu.ports import Gateway, Services
from mawasu.words import Site

Address = tuple[str, str]  # feature, environment


class Sites:
    """The table of sites. A change is handed to the gateway whole, and kept only if the gateway took it."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._sites: dict[Address, Site] = {}
        self._lock = threading.Lock()

    def put(self, *sites: Site) -> None:
        with self._lock:
            self._give({**self._sites, **{(site.feature, site.environment): site for site in sites}})

    def remove(self, feature: str, environment: str) -> None:
        with self._lock:
            self._give({address: site for address, site in self._sites.items() if address != (feature, environment)})

    def _give(self, sites: dict[Address, Site]) -> None:
        self._gateway.switch(list(sites.values()))
        self._sites = sites


class Table(Protocol):
    """Which sites the gateway serves."""

    def put(self, *sites: Site) -> None: ...

    def remove(self, feature: str, environment: str) -> None: ...


@dataclass(frozen=True)
class Live:
    """What serves: the services, and the table of sites that leads to them.

    `identity` makes an identity token for an audience, where services are private and have URLs.
    """

    services: Services
    sites: Table
    at_it: Callable[[BuildState], bool] = lambda _: False
    """Whether another process is walking this build. On one machine there is one, and locks give it its turns."""
    identity: Callable[[str], str] | None = None
