"""Making what runs agree with what the ledgers say: at start, after a crash, and for previews whose time is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from mawasu.daemon.ledgers import Ledgers
from mawasu.daemon.pushes import Pushes
from mawasu.errors import MawasuError
from mawasu.executor.build import Shop
from mawasu.executor.commit import CommitOf, git_dir, read_feature
from mawasu.executor.deploy import service_spec, site_of
from mawasu.executor.sites import Live
from mawasu.executor.steps import image_spec
from mawasu.git.repository import read_tree
from mawasu.ledger.fold import EnvironmentState, ReleaseState, State
from mawasu.plan import Known
from mawasu.ports import Log
from mawasu.words import Commit, Health, Site


class Converge:
    def __init__(self, shop: Shop, live: Live, ledgers: Ledgers, log: Log) -> None:
        self.shop, self.live, self.ledgers, self.log = shop, live, ledgers, log

    def adopt(self) -> None:
        """Every served revision runs (those that do are left as they are), the gateway serves them, others end.

        One that cannot be brought back is logged, and the others serve on.
        """
        revived: list[tuple[Site, float]] = []
        wanted: set[str] = set()
        for feature, ledger in self.ledgers.all().items():
            state = ledger.state()
            for environment in state.environments.values():
                if environment.serving is None:
                    continue
                wanted.add(environment.serving.revision)
                with self._logged(f"{feature}/{environment.name}"):
                    revived.append(self._revive(state, environment))
        for site, timeout in revived:  # all have been started: they come up side by side
            with self._logged(f"{site.feature}/{site.environment}"):
                self.live.services.wait_ready(site.endpoint.revision, timeout, threading.Event())
                self.live.services.grant(site.endpoint.revision)
        self.live.sites.put(*(site for site, _ in revived))
        for status in self.live.services.running():
            if status.revision not in wanted:
                self.live.services.stop(status.revision, drain=0)

    @contextmanager
    def _logged(self, where: str) -> Iterator[None]:
        try:
            yield
        except MawasuError as error:
            self.log.write(f"{where}: {error}")

    def _revive(self, state: State, environment: EnvironmentState) -> tuple[Site, float]:
        assert environment.serving is not None
        release = state.releases[environment.serving.release]
        at = self._commit(state, release)
        workshop = self.shop.workshop
        api = at.feature.api
        assert api is not None
        facts = Known(workshop.architecture, workshop.python)
        image = workshop.images.ensure(image_spec(at, api.lock, facts, release.name), self.log, threading.Event())
        preview = environment.expires is not None
        spec = service_spec(
            at,
            environment.name,
            release.release,
            environment.serving.revision,
            image,
            release.parts.get("model"),
            lambda names, step: self.shop.secrets(names, environment.name, step, preview),
        )
        if self._fails(spec.revision):  # for want of what is here again now (the cache was deleted): afresh
            self.live.services.stop(spec.revision, drain=0)
        endpoint = self.live.services.start(spec, self.log)
        return site_of(at, environment.name, endpoint), spec.resources.timeout

    def _fails(self, revision: str) -> bool:
        """Whether it was started, and ended, since it was last ready."""
        return any(
            status.restarts > 0 and status.health is not Health.READY
            for status in self.live.services.running()
            if status.revision == revision
        )

    def _commit(self, state: State, release: ReleaseState) -> CommitOf:
        build = state.builds[release.build]
        repo = git_dir(self.shop.home.repos, build.push.project)
        return read_feature(repo, read_tree(repo, Commit(release.commit)), build.file)

    def expire(self, pushes: Pushes, now: float | None = None) -> None:
        """Previews that nobody has pushed to for their time go."""
        now = time.time() if now is None else now
        for feature, ledger in self.ledgers.all().items():
            for environment in list(ledger.state().environments.values()):
                if environment.gone or environment.expires is None:
                    continue
                if now - environment.last_push > environment.expires:
                    pushes.remove(feature, environment.name, "nobody pushed to it for its time")
