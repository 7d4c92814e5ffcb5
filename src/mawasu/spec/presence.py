"""Faults between the file and the repository: paths that name nothing. Pure: the repository is its set of paths."""

from __future__ import annotations

from collections.abc import Iterator

from mawasu.spec import globs
from mawasu.spec.faults import nearest, quoted
from mawasu.spec.references import Finding, Values

PARTS = ("training", "evaluation", "api", "auth")


def findings(values: Values, paths: frozenset[str]) -> Iterator[Finding]:
    """What `values` names that is not among `paths` (from the feature's root)."""
    for part in PARTS:
        section = values.get(part, {})
        for index, glob in enumerate(section.get("paths", ())):
            yield from _matches((part, "paths", index), glob, paths)
        for key in ("lock", "dockerfile", "examples", "openapi"):
            if key in section:
                yield from _exists((part, key), section[key], paths)
        if "lock" in section:
            yield from _project((part, "lock"), section["lock"], paths)
    for name, data_set in values.get("data", {}).items():
        for index, glob in enumerate(data_set.get("source", {}).get("files", ())):
            yield from _matches(("data", name, "source", "files", index), glob, paths)
    yield from _held_out(values, paths)
    if "handler" in values.get("api", {}):
        yield from _module(values["api"]["handler"], paths)


def _held_out(values: Values, paths: frozenset[str]) -> Iterator[Finding]:
    """Files of a data set with a holdout, shown whole by another way: then training sees the rows held out."""
    sets = values.get("data", {})
    held = {
        path: name
        for name, data_set in sets.items()
        if data_set.get("holdout")
        for path in paths
        if globs.match_any(data_set.get("source", {}).get("files", ()), path)
    }
    ways: list[tuple[tuple[str, ...], tuple[str, ...]]]
    ways = [((part, "paths"), values.get(part, {}).get("paths", ())) for part in ("training", "evaluation")]
    ways += [
        (("data", name, "source", "files"), data_set.get("source", {}).get("files", ()))
        for name, data_set in sets.items()
        if not data_set.get("holdout")
    ]
    for where, given in ways:
        for index, glob in enumerate(given):
            shown = next((path for path in sorted(held) if globs.match(glob, path)), None)
            if shown is not None:
                message = f"shows {quoted(shown)} whole, rows held out of the data set {quoted(held[shown])} among it"
                yield Finding((*where, index), message, "take it out, or give both the same `holdout`")


def _matches(path: tuple[str | int, ...], glob: str, paths: frozenset[str]) -> Iterator[Finding]:
    if any(globs.match(glob, name) for name in paths):
        return
    near = nearest(glob, paths) if globs.is_plain(glob) else _near_directory(glob, paths)
    yield Finding(path, f"no file matches {quoted(glob)}", _hint(near))


def _near_directory(glob: str, paths: frozenset[str]) -> str | None:
    first, slash, rest = glob.partition("/")
    if not slash or not globs.is_plain(first):
        return None
    near = nearest(first, {path.partition("/")[0] for path in paths if "/" in path} - {first})
    return f"{near}/{rest}" if near else None


def _exists(path: tuple[str, ...], name: str, paths: frozenset[str]) -> Iterator[Finding]:
    if name not in paths:
        near = nearest(name, paths)
        yield Finding(path, f"there is no file {quoted(name)}", _hint(near))


def _project(path: tuple[str, ...], lock: str, paths: frozenset[str]) -> Iterator[Finding]:
    """uv reads a lock together with the project it locks."""
    directory = lock.removesuffix("uv.lock")
    if lock in paths and lock.endswith("uv.lock") and directory + "pyproject.toml" not in paths:
        project = directory + "pyproject.toml"
        yield Finding(path, f"there is no {quoted(project)} beside it", "`uv lock` writes the one from the other")


def _module(handler: str, paths: frozenset[str]) -> Iterator[Finding]:
    """A handler's file, if its top package is one of the repository (it may be an installed one, too)."""
    module = handler.partition(":")[0].replace(".", "/")
    top = module.partition("/")[0] + "/"
    if "/" not in module or not any(path.startswith(top) for path in paths):
        return
    if module + ".py" not in paths and module + "/__init__.py" not in paths:
        near = nearest(module + ".py", {path for path in paths if path.startswith(top) and path.endswith(".py")})
        yield Finding(("api", "handler"), f"there is no file {quoted(module + '.py')}", _hint(near))


def _hint(near: str | None) -> str:
    return f"did you mean {quoted(near)}?" if near else "is it committed?"
