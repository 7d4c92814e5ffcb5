"""What is known when a plan is made: read from the ledger's state, the store and git."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec

import msgspec

from mawasu.errors import MawasuError
from mawasu.executor.commit import CommitOf, read_feature
from mawasu.executor.requests import ENGINE
from mawasu.git.repository import read_tree
from mawasu.ledger.fold import BuildState, Done, ReleaseState, State
from mawasu.plan import Champion, Known, Plan, Reuse
from mawasu.ports import Machine, Store
from mawasu.words import Commit, Digest, Push

PRODUCTION = "production"


class _Done(Mapping[Digest, Reuse]):
    """The ledger's good outcomes as a plan sees them, without copying them."""

    def __init__(self, done: Mapping[Digest, Done]) -> None:
        self._done = done

    def __getitem__(self, key: Digest) -> Reuse:
        found = self._done[key]
        return Reuse(found.build, found.outcome)

    def __iter__(self) -> Iterator[Digest]:
        return iter(self._done)

    def __len__(self) -> int:
        return len(self._done)


Bring = Callable[[str, str, Commit], None]
"""A repository, a feature, a commit: makes the commit readable there. Nothing to do where all of history is."""


def brought(repo: str, feature: str, commit: Commit) -> None:
    """A `Bring` for repositories that have every commit that was ever pushed."""


def known(
    at: CommitOf,
    push: Push,
    environment: str,
    state: State,
    machine: Machine,
    store: Store,
    bring: Bring = brought,
) -> Known:
    """Gather what the plan of this push depends on."""
    current = state.environments.get(environment)
    return Known(
        architecture=machine.architecture,
        python=machine.python,
        snapshots=at.snapshots(),
        done=_Done(state.done),
        previous=_previous(push, environment, state, store),
        champion=_champion(at, environment, state, bring),
        served=current.serving.release if current and current.serving else None,
        served_before=frozenset(serving.release for serving in current.history) if current else frozenset(),
        engine=ENGINE if find_spec(ENGINE) else "",
    )


def champion_release(environment: str, state: State) -> ReleaseState | None:
    """What production serves, or the environment itself until production exists (design §5.6)."""
    for name in (PRODUCTION, environment):
        found = state.environments.get(name)
        if found and found.serving:
            return state.releases.get(found.serving.release)
    return None


def _champion(at: CommitOf, environment: str, state: State, bring: Bring) -> Champion | None:
    release = champion_release(environment, state)
    if release is None or "train" not in release.keys:
        return None
    bring(at.repo, at.feature.name, Commit(release.commit))
    tree = read_tree(at.repo, Commit(release.commit))
    path = f"{at.feature.root}/mawasu.yaml".lstrip("/")
    if path not in tree.files:
        return None
    then = read_feature(at.repo, tree, path)
    return Champion(release.release, release.build, then.feature, tree, release.keys["train"])


def _previous(push: Push, environment: str, state: State, store: Store) -> Mapping[str, Mapping[str, str]]:
    """The step inputs of the last planned build of this branch; of a new branch, those of what the environment or
    production serves, else of the last planned build of all."""
    build = _last_planned(state, push)
    if build is None:
        release = champion_release(environment, state)
        build = state.builds.get(release.build) if release else _last_planned(state)
    if build is None or build.plan is None:
        return {}
    try:
        plan = msgspec.json.decode(store.read(build.plan), type=Plan)
    except (MawasuError, msgspec.MsgspecError):
        return {}  # an explanation is not worth a failed build: the plan then says "for the first time"
    return {step.name: step.inputs for step in plan.steps}


def _last_planned(state: State, push: Push | None = None) -> BuildState | None:
    """The newest build that has a plan: of the push's branch, or of any."""
    planned = (
        build
        for build in (state.builds[number] for number in sorted(state.builds, reverse=True))
        if build.plan is not None
    )
    return next(
        (build for build in planned if push is None or _branch(build.push) == _branch(push)),
        None,
    )


def _branch(push: Push) -> tuple[str, str]:
    return push.project, push.branch
