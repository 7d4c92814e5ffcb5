"""What a commit says of one feature: its `mawasu.yaml` parsed, its tree, and the snapshots its data sets name."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mawasu.errors import StepError
from mawasu.git.objects import read_files
from mawasu.spec import load
from mawasu.spec.data_lock import FILE as LOCK
from mawasu.spec.data_lock import Locked, parse_data_lock
from mawasu.spec.feature import DataSet, Feature
from mawasu.spec.globs import select
from mawasu.words import Digest, File, Source, Tree

FILE = "mawasu.yaml"


@dataclass(frozen=True)
class CommitOf:
    """One feature at one commit. `tree` is the whole repository's; `repo` is the git directory that holds it."""

    feature: Feature
    tree: Tree
    repo: str

    @property
    def own(self) -> Tree:
        """The feature's files, by path from its root."""
        return self.tree.under(self.feature.root)

    def text(self, path: str) -> str:
        """A file of the feature as text, by path from its root."""
        return self.bytes(path).decode()

    def bytes(self, path: str) -> bytes:
        oid = self.own.files[path].oid
        return read_files(self.repo, [oid])[oid]

    def source(self, *globs: str) -> Source:
        """Only the files these globs name, as a job or service may see them."""
        root = self.feature.root
        chosen = select(self.own, globs).files
        return Source(repo=self.repo, root=root, tree=Tree({posixpath.join(root, p): f for p, f in chosen.items()}))

    def pinned(self) -> Mapping[str, Locked]:
        """What data.lock says. Raises SpecError."""
        if LOCK not in self.own.files:
            return {}
        return parse_data_lock(self.text(LOCK), file=posixpath.join(self.feature.root, LOCK))

    def locked(self) -> Mapping[str, Digest]:
        return {name: entry.digest for name, entry in self.pinned().items()}

    def snapshots(self) -> Mapping[str, Digest]:
        """The digest that stands for each data set: of the files in the tree, or what `data.lock` pins."""
        locked = self.locked()
        found: dict[str, Digest] = {}
        for data_set in self.feature.data:
            if data_set.source.files:
                found[data_set.name] = self._data_files(data_set).digest()
            elif data_set.name in locked:
                found[data_set.name] = locked[data_set.name]
            else:
                raise StepError(
                    f"data.lock does not pin the data set `{data_set.name}`",
                    "run `mawasu data lock`, commit data.lock and push again",
                )
        return found

    def _data_files(self, data_set: DataSet) -> Tree:
        return select(self.own, data_set.source.files)

    def data_source(self, data_set: DataSet) -> Source:
        return self.source(*data_set.source.files)


def root_of(path: str) -> str:
    """The feature's root: the directory of its `mawasu.yaml`, "" for the top."""
    return posixpath.dirname(path)


def read_feature(repo: str, tree: Tree, path: str) -> CommitOf:
    """Parse the `mawasu.yaml` at `path`. Raises SpecError with every fault of it."""
    root = root_of(path)
    file: File = tree.files[path]
    text = read_files(repo, [file.oid])[file.oid].decode(errors="replace")
    feature = load(text, file=path, root=root, paths=frozenset(tree.under(root).files))
    return CommitOf(feature=feature, tree=tree, repo=repo)


def git_dir(repos: Path, project: str) -> str:
    return str(repos / f"{project}.git")
