"""Making what runs agree with what the ledgers say: at start, after a crash, and for previews whose time is over."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

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
from mawasu.words import Commit, Site


@dataclass
class Broken:
    """A served release that could not be brought back; the others serve on."""

    feature: str
    environment: str
    error: MawasuError


class Converge:
    def __init__(self, shop: Shop, live: Live, ledgers: Ledgers, log: Log) -> None:
        self.shop, self.live, self.ledgers, self.log = shop, live, ledgers, log

    def adopt(self) -> list[Broken]:
        """Every served revision runs (those that do are left as they are), the gateway serves them, others end."""
        sites: list[Site] = []
        broken: list[Broken] = []
        wanted: set[str] = set()
        for feature, ledger in self.ledgers.all().items():
            state = ledger.state()
            for environment in state.environments.values():
                if environment.serving is None:
                    continue
                wanted.add(environment.serving.revision)
                try:
                    sites.append(self._revive(state, environment))
                except MawasuError as error:
                    broken.append(Broken(feature, environment.name, error))
                    self.log.write(f"{feature}/{environment.name}: {error}")
        self.live.sites.put(*sites)
        for status in self.live.services.running():
            if status.revision not in wanted:
                self.live.services.stop(status.revision, drain=0)
        return broken

    def _revive(self, state: State, environment: EnvironmentState) -> Site:
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
        endpoint = self.live.services.start(spec, self.log)
        self.live.services.wait_ready(spec.revision, spec.resources.timeout, threading.Event())
        self.live.services.grant(spec.revision)
        return site_of(at, environment.name, endpoint)

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
