"""Taking a push: which features it touches, one queued build for each, recorded before anything is promised."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from mawasu.daemon.ledgers import Ledgers
from mawasu.executor.build import Build, Shop
from mawasu.executor.commit import git_dir
from mawasu.executor.leaving import branch_gone
from mawasu.executor.queue import Job, Queue
from mawasu.executor.sites import Live
from mawasu.executor.taking import Taken, owner, read_push, take
from mawasu.git.repository import features_in, read_tree
from mawasu.ledger.entries import BuildFinished, BuildQueued
from mawasu.ledger.fold import BuildState, State, unfinished
from mawasu.ledger.ledger import Ledger
from mawasu.words import Commit, Push, Result


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
            feature, queued = read_push(repo, tree, file, push)
            ledger = self.ledgers.of(feature)
            first = owner(ledger.state())
            if first not in (None, push.project):
                said.append(f"{file}: feature `{feature}` belongs to project `{first}` — choose another name")
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

    def _queue(self, ledger: Ledger, feature: str, queued: BuildQueued) -> Taken:
        taken = take(ledger, queued)
        self._put(ledger, feature, ledger.state().builds[taken.build])
        return taken

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
            yield from branch_gone(ledger, self.live, push)


def _found(state: State, feature: str, push: Push) -> list[Taken]:
    """The newest build of a push that was taken already."""
    same = (
        number
        for number in sorted(state.builds, reverse=True)
        if (of := state.builds[number].push).new == push.new and (of.project, of.branch) == (push.project, push.branch)
    )
    return [Taken(feature, number, 1) for number in same][:1]
