"""Making what runs agree with what the ledgers say: at start, after a crash, and for previews whose time is over."""

from __future__ import annotations

import threading
import time

from mawasu.daemon.ledgers import Ledgers
from mawasu.errors import MawasuError
from mawasu.executor.build import Shop
from mawasu.executor.commit import CommitOf, git_dir, read_feature
from mawasu.executor.deploy import DRAIN, service_spec, site_of
from mawasu.executor.leaving import EXPIRED, expired, take_away
from mawasu.executor.sites import Live
from mawasu.executor.steps import image_spec
from mawasu.git.repository import read_tree
from mawasu.ledger.fold import EnvironmentState, ReleaseState, State
from mawasu.plan import Known
from mawasu.ports import Log
from mawasu.words import Commit, ServiceSpec, Site

AGAIN = 60.0
"""Seconds between attempts to bring back what could not be."""


class Converge:
    def __init__(self, shop: Shop, live: Live, ledgers: Ledgers, log: Log) -> None:
        self.shop, self.live, self.ledgers, self.log = shop, live, ledgers, log
        self._broken: set[tuple[str, str]] = set()  # feature, environment: served, but could not even be started
        self._tried = 0.0

    def adopt(self) -> None:
        """Every served revision runs (those that do are left as they are), the gateway serves them, others end.

        The gateway leads also to what is not ready in time: the supervisor goes on trying, and so it comes back by
        itself. What cannot even be started is left out, and tried again by `mend`.
        """
        sites: list[Site] = []
        waits: list[ServiceSpec] = []
        wanted: set[str] = set()
        for feature, ledger in self.ledgers.all().items():
            state = ledger.state()
            for environment in state.environments.values():
                if environment.serving is None:
                    continue
                wanted.add(environment.serving.revision)
                try:
                    spec, site = self._revive(state, environment)
                except MawasuError as error:
                    self._broken.add((feature, environment.name))
                    self.log.write(f"{feature}/{environment.name}: {error}")
                else:
                    sites.append(site)
                    waits.append(spec)
        for spec in waits:
            try:
                self.live.services.wait_ready(spec.revision, spec.resources.timeout, threading.Event())
            except MawasuError as error:
                self.log.write(f"{spec.feature}/{spec.environment}: {error}")
        self.live.sites.put(*sites)
        for status in self.live.services.running():
            if status.revision not in wanted:
                self.live.services.stop(status.revision, drain=DRAIN)
        self._tried = time.monotonic()

    def mend(self) -> None:
        """Try again, from time to time, what could not be brought back at the start (no network for its image…)."""
        if time.monotonic() - self._tried < AGAIN:
            return
        self._tried = time.monotonic()
        for feature, name in sorted(self._broken):
            with self.shop.locks.of(f"environment/{feature}/{name}"):  # no build switches it meanwhile
                state = self.ledgers.of(feature).state()
                environment = state.environments[name]
                try:
                    if environment.serving is not None and not environment.gone:
                        self.live.sites.put(self._revive(state, environment)[1])
                except MawasuError as error:
                    self.log.write(f"{feature}/{name}: {error}")
                else:
                    self._broken.discard((feature, name))

    def _revive(self, state: State, environment: EnvironmentState) -> tuple[ServiceSpec, Site]:
        """Start what an environment serves, unless it runs; does not wait."""
        assert environment.serving is not None
        release = state.releases[environment.serving.release]
        at = self._commit(state, release)
        workshop = self.shop.workshop
        api = at.feature.api
        assert api is not None
        facts = Known(workshop.architecture, workshop.python)
        image = workshop.images.ensure(image_spec(at, api, facts, release.name), self.log, threading.Event())
        preview = environment.expires is not None
        spec = service_spec(
            at,
            environment.name,
            release.release,
            image,
            release.parts.get("model"),
            lambda names, step: self.shop.secrets(names, environment.name, step, preview),
            preview=preview,
            revision=environment.serving.revision,
        )
        endpoint = self.live.services.start(spec, self.log)
        self.live.services.grant(spec.revision)
        return spec, site_of(at, environment.name, endpoint)

    def _commit(self, state: State, release: ReleaseState) -> CommitOf:
        build = state.builds[release.build]
        repo = git_dir(self.shop.home.repos, build.push.project)
        return read_feature(repo, read_tree(repo, Commit(release.commit)), build.file)

    def expire(self, now: float | None = None) -> None:
        """Previews that nobody has pushed to for their time go."""
        for ledger in self.ledgers.all().values():
            for name in expired(ledger.state(), time.time() if now is None else now):
                take_away(ledger, self.live, name, EXPIRED)
