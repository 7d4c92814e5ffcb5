"""The features of the checkout one stands in, as its working tree has them now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mawasu.cli.context import checkout_root
from mawasu.errors import SpecError, UsageError

if TYPE_CHECKING:
    from mawasu.executor.commit import CommitOf
    from mawasu.git.worktree import WorkingTree


def working_tree() -> WorkingTree:
    from mawasu.git.worktree import working_tree as read

    return read(checkout_root())


def working_features(tree: WorkingTree | None = None) -> Iterator[tuple[str, CommitOf | SpecError]]:
    """(path of its mawasu.yaml, the feature or its faults) of every feature of the checkout."""
    from mawasu.executor.commit import read_feature
    from mawasu.git.repository import features_in

    found = tree or working_tree()
    files = features_in(found.tree)
    if not files:
        raise UsageError("no mawasu.yaml in this checkout", "`mawasu init` writes a first one")
    for file in files:
        try:
            yield file, read_feature(str(found.repo), found.tree, file)
        except SpecError as error:
            yield file, error
