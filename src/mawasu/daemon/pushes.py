"""Taking a push: which features it touches, one queued build for each, recorded before anything is promised."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from mawasu.daemon.ledgers import Ledgers
from mawasu.errors import SpecError
from mawasu.executor.build import Build, Shop
from mawasu.executor.commit import git_dir
from mawasu.executor.deploy import DRAIN
from mawasu.executor.queue import Job, Queue
from mawasu.executor.sites import Live
from mawasu.git.objects import read_files
from mawasu.git.repository import features_in, read_tree
from mawasu.ledger.entries import BuildFinished, BuildQueued, EnvironmentGone
from mawasu.ledger.fold import BuildState, State, unfinished
from mawasu.ledger.ledger import Ledger
from mawasu.spec import feature_name, load
from mawasu.spec.environments import environment_of
from mawasu.words import Commit, Push, Result, Tree


@dataclass(frozen=True)
class Taken:
    """A build that a push caused, and the first ledger entry that speaks of it."""

    feature: str
    build: int
    entry: int


class Pushes:
    """Turns pushes into queued builds; the only place that does."""

    def __init__(self, shop: Shop, live: Live, ledgers: Ledgers, queue: Queue) -> None:
        self.shop, self.live, self.ledgers, self.queue = shop, live, ledgers, queue
        self.seen: dict[tuple[str, str], Commit | None] = {}  # also what no feature took, so that scans ask once
        self._lock = threading.Lock()  # numbers of builds count up one by one

    def take(self, push: Push) -> tuple[list[Taken], list[str]]:
        """Record and queue the builds of a push; if it was taken before, find them. Also lines to tell the pusher."""
        with self._lock:
            self.seen[push.project, push.branch] = push.new
            if push.new is None:
                return [], list(self._deleted(push))
            return self._moved(push)

    def _moved(self, push: Push) -> tuple[list[Taken], list[str]]:
        assert push.new is not None
        repo = git_dir(self.shop.home.repos, push.project)
        tree = read_tree(repo, push.new)
        files = features_in(tree)
        if not files:
            return [], ["no mawasu.yaml in this commit: nothing to do (`mawasu init` writes one)"]
        taken: list[Taken] = []
        said: list[str] = []
        for file in files:
            feature, queued = self._read(repo, tree, file, push)
            ledger = self.ledgers.of(feature)
            owner = _owner(ledger.state())
            if owner not in (None, push.project):
                said.append(f"{file}: feature `{feature}` belongs to project `{owner}` — choose another name")
            elif ledger.state().heads.get(f"{push.project}/{push.branch}") == push.new:
                taken += _found(ledger.state(), feature, push)  # a scan was faster than the hook's message
            else:
                taken.append(self._queue(ledger, feature, queued))
        return taken, said

    def resume(self) -> None:
        """Queue again what a ledger says is unfinished and nobody works on: after a kill, or when a disk was full."""
        with self._lock:
            for feature, ledger in self.ledgers.all().items():
                for build in unfinished(ledger.state()):
                    # Asked in this order: a build that ends meanwhile leaves the queue only after the ledger knows.
                    if not self.queue.has(feature, build.number) and build.number in ledger.state().open:
                        self._put(ledger, feature, build)

    def known_heads(self, project: str) -> dict[str, str]:
        """The last commit taken of every branch of a project ("" when deleted), over all features."""
        found: dict[str, str] = {}
        for ledger in self.ledgers.all().values():
            for name, commit in ledger.state().heads.items():
                owner, _, branch = name.partition("/")
                if owner == project:
                    found[branch] = commit
        return found | {branch: commit or "" for (owner, branch), commit in self.seen.items() if owner == project}

    # ------------------------------------------------------------------------------------------------ parts

    def _read(self, repo: str, tree: Tree, file: str, push: Push) -> tuple[str, BuildQueued]:
        """The feature's name and where the branch goes; of a faulty file as much as can be read.

        A file too faulty to say its name is recorded under the project's own.
        """
        oid = tree.files[file].oid
        text = read_files(repo, [oid])[oid].decode(errors="replace")
        try:
            feature = load(text, file=file)
        except SpecError:
            return feature_name(text) or push.project, BuildQueued(0, push, "", file)
        chosen = environment_of(feature, push.branch)
        if chosen is None:
            return feature.name, BuildQueued(0, push, "", file)
        return feature.name, BuildQueued(0, push, chosen.name, file, chosen.environment.expires)

    def _queue(self, ledger: Ledger, feature: str, queued: BuildQueued) -> Taken:
        number = max(ledger.state().builds, default=0) + 1
        entry = ledger.append(msgspec.structs.replace(queued, build=number))
        self._put(ledger, feature, ledger.state().builds[number])
        return Taken(feature, number, entry.number)

    def _put(self, ledger: Ledger, feature: str, build: BuildState) -> None:
        def skip() -> None:
            reason = "a newer push to the branch took its place"
            ledger.append(BuildFinished(build.number, Result.SUPERSEDED, reason))

        branch = (feature, build.push.project, build.push.branch)
        run = Build(self.shop, ledger, build).run
        self.queue.put(Job(feature, build.number, branch, run, skip))

    def _deleted(self, push: Push) -> Iterator[str]:
        """A branch is gone: its builds stop, its preview goes; a stable environment serves on."""
        for feature, ledger in self.ledgers.all().items():
            state = ledger.state()
            if not state.heads.get(f"{push.project}/{push.branch}"):
                continue
            self.queue.cancel((feature, push.project, push.branch))
            number = max(state.builds, default=0) + 1
            ledger.append(BuildQueued(number, push, ""))
            ledger.append(BuildFinished(number, Result.NOTHING, f"branch {push.branch} was deleted"))
            for environment in state.environments.values():
                if environment.branch == push.branch and environment.expires is not None and not environment.gone:
                    self.remove(feature, environment.name, f"branch {push.branch} was deleted")
                    yield f"{feature}: {environment.name} is gone with its branch"

    def remove(self, feature: str, environment: str, reason: str) -> None:
        """Take an environment away: first from the gateway, then its processes; recorded in between."""
        ledger = self.ledgers.of(feature)
        self.live.sites.remove(feature, environment)
        ledger.append(EnvironmentGone(environment, reason))
        self.live.services.remove(feature, environment, drain=DRAIN)


def _found(state: State, feature: str, push: Push) -> list[Taken]:
    """The newest build of a push that was taken already."""
    same = (
        number
        for number in sorted(state.builds, reverse=True)
        if (of := state.builds[number].push).new == push.new and (of.project, of.branch) == (push.project, push.branch)
    )
    return [Taken(feature, number, 1) for number in same][:1]


def _owner(state: State) -> str | None:
    first = next(iter(state.builds.values()), None)
    return first.push.project if first else None
