"""Commits kept among the records: what a feature reads of a commit stays readable without the repository's history."""

from __future__ import annotations

from mawasu.errors import CorruptError
from mawasu.git.packs import has_commit, pack_commit, unpack_commit
from mawasu.git.repository import Repo
from mawasu.ports import Store
from mawasu.words import Commit, Digest, is_digest


class Commits:
    """The commits of one feature, as packs in the store; each is named by what it is."""

    def __init__(self, store: Store, feature: str) -> None:
        self._store = store
        self._feature = feature

    def keep(self, repo: Repo, commit: Commit, root: str) -> None:
        """Keep what the feature at `root` reads of a commit; once."""
        name = self._name(commit)
        if self._store.get(name) is None:
            self._store.create(name, self._store.put_bytes(pack_commit(repo, commit, root)).encode())

    def has(self, commit: Commit) -> bool:
        """Whether it was kept: not yet, when its run died as it began."""
        return self._store.get(self._name(commit)) is not None

    def bring(self, repo: Repo, commit: Commit) -> None:
        """Make a commit readable in a repository. Raises CorruptError when it was never kept, or is damaged."""
        if has_commit(repo, commit):
            return
        digest = (self._store.get(self._name(commit)) or b"").decode(errors="replace")
        if not is_digest(digest):
            raise CorruptError(f"commit {commit} is neither in {repo} nor among the records", "push it again")
        unpack_commit(repo, commit, self._store.read(Digest(digest)))

    def _name(self, commit: Commit) -> str:
        return f"commits/{self._feature}/{commit}"
