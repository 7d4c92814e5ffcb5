"""The sites of one feature, as its ledger has them: what another run switched meanwhile is switched here too."""

from __future__ import annotations

import threading
from collections.abc import Callable

from mawasu.executor.commit import read_feature
from mawasu.executor.deploy import site_of
from mawasu.executor.known import Bring
from mawasu.git.repository import read_tree
from mawasu.ledger.fold import EnvironmentState, Serving, State
from mawasu.ledger.ledger import Ledger
from mawasu.ports import Gateway
from mawasu.words import Commit, Endpoint, Site

Intents = tuple[tuple[str, str], ...]  # environment, release


class LedgerSites:
    """As `executor.sites.Sites`, for runs that have no memory.

    The gateway is given every environment that serves or is about to; when the ledger says something else afterwards,
    it is given that as well. So of two runs that switch at once, the one that comes last has seen the other.
    """

    def __init__(
        self, gateway: Gateway, ledger: Ledger, repo: str, bring: Bring, endpoint: Callable[[str, str], Endpoint]
    ) -> None:
        self._gateway, self._ledger, self._repo, self._bring, self._endpoint = gateway, ledger, repo, bring, endpoint
        self._lock = threading.Lock()

    def put(self, *sites: Site) -> None:
        self._converge({site.environment: site for site in sites}, without="")

    def remove(self, feature: str, environment: str) -> None:
        self._converge({}, without=environment)

    def _converge(self, mine: dict[str, Site], without: str) -> None:
        with self._lock:
            while True:
                state = self._ledger.state()
                before = _intents(state, without)
                others = {name: self._site(state, state.environments[name]) for name, _ in before if name not in mine}
                self._gateway.switch([site for _, site in sorted({**others, **mine}.items())])
                if _intents(self._ledger.state(), without) == before:
                    return

    def _site(self, state: State, environment: EnvironmentState) -> Site:
        """What an environment serves, or is about to."""
        serving = environment.intended or environment.serving
        assert serving is not None
        endpoint = self._endpoint(self._ledger.feature, environment.name)
        return _site_of(self._ledger.feature, state, environment.name, serving, endpoint, self._repo, self._bring)


def served_sites(ledger: Ledger, repo: str, bring: Bring) -> list[Site]:
    """What each environment of a feature serves by its ledger; of who answers only the revision's name is known."""
    state = ledger.state()
    return [
        _site_of(ledger.feature, state, name, one.serving, Endpoint(one.serving.revision), repo, bring)
        for name, one in sorted(state.environments.items())
        if one.serving is not None and not one.gone
    ]


def _site_of(
    feature: str, state: State, environment: str, serving: Serving, endpoint: Endpoint, repo: str, bring: Bring
) -> Site:
    release = state.releases[serving.release]
    commit = Commit(release.commit)
    bring(repo, feature, commit)
    at = read_feature(repo, read_tree(repo, commit), state.builds[release.build].file)
    return site_of(at, environment, endpoint)


def _intents(state: State, without: str) -> Intents:
    """Which environments are to be led to, and with which releases."""
    found = []
    for name, environment in sorted(state.environments.items()):
        serving = environment.intended or environment.serving
        if serving is not None and name != without and not environment.gone:
            found.append((name, serving.release))
    return tuple(found)
