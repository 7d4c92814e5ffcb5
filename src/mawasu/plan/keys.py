"""The key of every step (design §2): a digest of what the step is a function of, and of nothing else.

Never the branch, the commit or a clock. Each function returns the inputs by the names that people know; the key is
their digest together with the step's kind and the version of the contract.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from mawasu.spec.feature import Api, DataSet, Feature, Training
from mawasu.spec.globs import select
from mawasu.words import CONTRACT, Digest, Tree, digest_of_value

Inputs = dict[str, str]


def key_of(kind: str, inputs: Mapping[str, str]) -> Digest:
    return digest_of_value({"kind": kind, "contract": CONTRACT, "inputs": dict(inputs)})


def _value(value: object) -> str:
    """Defaults are left out of a section's value, so a setting added to mawasu later changes no key."""
    return digest_of_value(msgspec.to_builtins(value))


def _files(tree: Tree, globs: tuple[str, ...]) -> Inputs:
    return {path: f"{file.mode} {file.oid}" for path, file in sorted(select(tree, globs).files.items())}


def image(part: Training | Api, tree: Tree, architecture: str, python: str) -> Inputs:
    """`tree` is the feature's own (paths from its root)."""
    inputs = {"architecture": architecture, "python": python}
    for path in image_files(part, tree):
        inputs[path] = tree.files[path].oid
    return inputs


def image_files(part: Training | Api, tree: Tree) -> tuple[str, ...]:
    """What a part's image is made from: its lock, or its Dockerfile with the files that it may copy."""
    found = dict.fromkeys(lock_files(part.lock, tree))
    if part.dockerfile and part.dockerfile in tree.files:
        found |= dict.fromkeys((part.dockerfile, *sorted(select(tree, part.paths).files)))
    return tuple(found)


def lock_files(lock: str | None, tree: Tree) -> tuple[str, ...]:
    """The lock and, for a `uv.lock`, the `pyproject.toml` beside it."""
    if not lock or lock not in tree.files:
        return ()
    beside = lock.rpartition("/")[0]
    project = f"{beside}/pyproject.toml" if beside else "pyproject.toml"
    return (lock, project) if lock.endswith("uv.lock") and project in tree.files else (lock,)


def data(data_set: DataSet, snapshot: Digest, slices: tuple[str, ...]) -> Inputs:
    """A data set's views: the rows training sees, the holdout rows without labels, and the labels."""
    said = [data_set.holdout, data_set.label, data_set.row, slices]
    return {f"data {data_set.name}": snapshot, f"data.{data_set.name} in mawasu.yaml": _value(said)}


def train(feature: Feature, tree: Tree, before: Mapping[str, Digest]) -> Inputs:
    part = feature.training
    assert part is not None
    return {
        "training.command": _value(part.command),
        "training.params": _value([part.params, part.seed]),
        **_files(tree, part.paths),
        **_before(before),
    }


def evaluate(feature: Feature, tree: Tree, before: Mapping[str, Digest]) -> Inputs:
    part = feature.evaluation
    assert part is not None
    return {
        "evaluation.command": _value(part.command),
        "training.params": _value(feature.training.params if feature.training else {}),
        **_files(tree, part.paths),
        **_before(before),
    }


def judge(feature: Feature, gate: str, before: Mapping[str, Digest]) -> Inputs:
    part = feature.evaluation
    assert part is not None
    inputs = {"evaluation.metric": part.metric, "evaluation.gate": _value(part.gate), **_before(before)}
    # Which champion it is judged against, under a name that people know.
    inputs["the champion"] = inputs.pop("step evaluate/champion", gate)
    return inputs


def release(feature: Feature, tree: Tree, before: Mapping[str, Digest]) -> Inputs:
    """Model + api + auth of one commit: what is deployed as one thing."""
    inputs = dict(_before(before))
    if feature.api is not None:
        inputs["api in mawasu.yaml"] = _value(feature.api)
        inputs |= _files(tree, feature.api.paths)
        if feature.api.examples and feature.api.examples in tree.files:
            inputs[feature.api.examples] = tree.files[feature.api.examples].oid
    if feature.auth is not None:
        inputs |= _files(tree, (*feature.auth.paths, feature.auth.openapi))
        if feature.auth.docs is not None:
            inputs["auth.docs"] = _value(feature.auth.docs)
    return inputs


def _before(keys: Mapping[str, Digest]) -> Inputs:
    return {f"step {name}": key for name, key in keys.items()}
