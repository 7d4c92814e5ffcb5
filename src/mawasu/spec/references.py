"""Faults between values that are each well-formed: names that must exist, keys that need each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mawasu.spec.environments import refresh_branch
from mawasu.spec.faults import Path, listed, nearest, quoted, suggestion
from mawasu.spec.language import MAWASU_YAML
from mawasu.spec.parse import Node
from mawasu.words import Value

Values = dict[str, Any]
"""What reading the file gave: good values only, so every key may be absent."""


class Finding(Value, frozen=True):
    """A fault at a path of the document; `on_key` puts it where the key stands, not the value."""

    path: Path
    message: str
    hint: str = ""
    on_key: bool = False


Rule = Callable[[Node, Values], Iterator[Finding]]


def findings(root: Node, values: Values) -> Iterator[Finding]:
    for rule in RULES:
        yield from rule(root, values)


def is_preview(name: str, environment: Values) -> bool:
    """Whether an environment is the class of previews: one instance per branch."""
    return name == "preview" or ("expires" in environment and "**" in environment.get("branch", ""))


def evaluated_sets(root: Node) -> tuple[str, ...]:
    """Data sets that have a holdout, in the order of the file."""
    data = root.get("data")
    return tuple(name for name in data.names() if data.find(name, "holdout")) if data else ()


def _something_to_do(root: Node, _values: Values) -> Iterator[Finding]:
    if not _stands(root, "training") and not _stands(root, "api"):
        yield Finding((), "expected `training` or `api`, there is nothing to build", on_key=True)


def _environments(root: Node, values: Values) -> Iterator[Finding]:
    by_branch: dict[str, str] = {}
    previews: list[str] = []
    for name, environment in values.get("environments", {}).items():
        path = ("environments", name)
        branch = environment.get("branch")
        if is_preview(name, environment):
            previews.append(name)
            if len(previews) > 1:
                yield Finding(path, f"{quoted(previews[0])} is the environment of previews already", on_key=True)
            continue
        if "expires" in environment:
            hint = "name it `preview`, or give it a glob with `**`"
            yield Finding((*path, "expires"), "only previews of branches expire", hint, on_key=True)
        if root.find(*path, "branch") is None:
            yield Finding(path, "`branch` is missing, expected a branch or a glob of branches", on_key=True)
        elif branch in by_branch:
            message = f"{quoted(by_branch[branch])} takes {quoted(branch)} already, expected another branch"
            yield Finding((*path, "branch"), message)
        elif branch is not None:
            by_branch[branch] = name


def _training_data(root: Node, values: Values) -> Iterator[Finding]:
    known = _keys(root, "data")
    for index, name in enumerate(values.get("training", {}).get("data", ())):
        if name not in known:
            yield Finding(("training", "data", index), *_no_data_set(name, known))


def _no_data_set(name: str, known: tuple[str, ...]) -> tuple[str, str]:
    hint = suggestion(name, known, "known:") if known else "declare it under `data`"
    return f"no data set is named {quoted(name)}", hint


def _evaluation(root: Node, values: Values) -> Iterator[Finding]:
    section = root.get("evaluation")
    if section is None:
        return
    if not _stands(root, "training"):
        yield Finding(("evaluation",), "stands without `training`, so there is no model to evaluate", on_key=True)
    known, path = _keys(root, "data"), ("evaluation", "data")
    name = values.get("evaluation", {}).get("data")
    if section.get("data") is None:
        chosen = evaluated_sets(root)
        if len(chosen) != 1:
            found = f"{listed(chosen)} have one" if chosen else "none has one"
            message = f"expected exactly one data set with a `holdout`, {found}"
            hint = (
                "name the one to score as `data:`" if chosen else "give a data set a `holdout`, a `label` and a `row`"
            )
            yield Finding(("evaluation",), message, hint, on_key=True)
            return
        name, path = chosen[0], ("data", chosen[0])
    elif name is not None and name not in known:
        yield Finding(path, *_no_data_set(name, known))
        return
    for key in ("holdout", "label", "row"):
        if name is not None and root.find("data", name, key) is None:
            yield Finding(path, f"evaluation needs `{key}` of the data set {quoted(name)}", f"add it to `data.{name}`")


def _holdout_key(root: Node, values: Values) -> Iterator[Finding]:
    for name, data_set in values.get("data", {}).items():
        holdout = data_set.get("holdout", {})
        if "fraction" in holdout and root.find("data", name, "holdout", "key") is None and "row" not in data_set:
            message = "`fraction` stands without `key`, expected the name of the column to hash"
            yield Finding(("data", name, "holdout"), message, "or give the data set a `row`", on_key=True)


def _refresh(root: Node, values: Values) -> Iterator[Finding]:
    for name, data_set in values.get("data", {}).items():
        if "refresh" in data_set and "files" in data_set.get("source", {}):
            message = "files of the repository change by pushes, only a source with a `path` is looked at by the clock"
            hint = "take it out, or give the source a `path:` outside the repository"
            yield Finding(("data", name, "refresh"), message, hint, on_key=True)
        elif "refresh" in data_set and "environments" in values and refresh_branch(_stable(values)) is None:
            message = "there is no one branch that its commits could go to"
            hint = "give `production`, or the one environment beside it, a branch without `*`"
            yield Finding(("data", name, "refresh"), message, hint, on_key=True)


def _stable(values: Values) -> Iterator[tuple[str, str]]:
    for name, environment in values["environments"].items():
        if not is_preview(name, environment) and "branch" in environment:
            yield name, environment["branch"]


def _api_and_auth(root: Node, values: Values) -> Iterator[Finding]:
    api, auth = root.get("api"), root.get("auth")
    if api is not None and not _stands(root, "auth"):
        hint = "add `auth: {openapi: auth/openapi.yaml}`: nothing is served unauthenticated"
        yield Finding(("api",), "stands without `auth`", hint, on_key=True)
    if auth is not None and not _stands(root, "api"):
        yield Finding(("auth",), "stands without `api`, so there is nothing to guard", on_key=True)
    if api is not None and api.get("command") and api.get("batch"):
        yield Finding(("api", "batch"), "only a `handler` is given batches", "take it out", on_key=True)
    if api is not None and api.get("command") and api.get("workers"):
        yield Finding(("api", "workers"), "only a `handler` is run by workers", "take it out", on_key=True)
    scale = values.get("api", {}).get("scale", {})
    if "max" in scale and scale["max"] < scale.get("min", 0):
        message = f"found {scale['max']}, expected at least `min`, which is {scale['min']}"
        yield Finding(("api", "scale", "max"), message)


def _stands(root: Node, section: str) -> bool:
    """Whether a section is there, perhaps misspelt: that is a fault already, and enough."""
    known = MAWASU_YAML.keys
    return any(name == section or (name not in known and nearest(name, known) == section) for name in root.names())


def _keys(root: Node, section: str) -> tuple[str, ...]:
    node = root.get(section)
    return node.names() if node else ()


RULES: tuple[Rule, ...] = (
    _something_to_do,
    _environments,
    _training_data,
    _evaluation,
    _holdout_key,
    _refresh,
    _api_and_auth,
)
