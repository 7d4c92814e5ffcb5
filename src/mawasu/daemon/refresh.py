"""New data by the daemon's clock: the commits go to the bare repositories of this home, where the scan finds them."""

from __future__ import annotations

from dataclasses import dataclass

from mawasu.errors import PlatformError
from mawasu.executor.build import Shop
from mawasu.executor.commit import git_dir, read_feature
from mawasu.executor.refresh import Refresh
from mawasu.git.amend import move
from mawasu.git.repository import heads, read_tree
from mawasu.ledger.fold import BuildState
from mawasu.ledger.ledger import Ledger
from mawasu.spec.feature import Feature
from mawasu.triggers.projects import projects
from mawasu.words import Commit


@dataclass(frozen=True)
class Hosted:
    """`executor.refresh.Origin` of a project that people push to here."""

    repo: str

    def fetch(self, branch: str) -> tuple[str, Commit] | None:
        head = heads(self.repo).get(branch)
        return None if head is None else (self.repo, head)

    def move(self, branch: str, old: Commit, new: Commit) -> bool:
        return move(self.repo, branch, old, new)


def refreshing(shop: Shop) -> Refresh:
    """What looks at the sources of all features of a home."""

    def origin(name: str) -> Hosted:
        """A project that follows another remote is overwritten from there: a commit made here would be lost."""
        project = next((one for one in projects(shop.home) if one.name == name), None)
        if project is None:
            raise PlatformError(f"the repository of project {name} is gone", "restore it from a backup")
        if project.watch is not None:
            said = f"project {name} follows {project.watch.url}, and mawasu does not write there"
            raise PlatformError(said, "refresh needs a repository that is pushed to mawasu; or commit data.lock there")
        return Hosted(project.repo)

    def read(build: BuildState, _: Ledger) -> Feature:
        assert build.push.new is not None, "a deleted branch is of no environment"
        repo = git_dir(shop.home.repos, build.push.project)
        return read_feature(repo, read_tree(repo, build.push.new), build.file).feature

    return Refresh(shop.records.store, shop.reach, origin, read)
