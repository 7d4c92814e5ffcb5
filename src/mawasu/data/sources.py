"""Where data comes from: files of the commit, or a path or bucket outside it that `data.lock` pins."""

from __future__ import annotations

import difflib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from mawasu.data.disk import room_for
from mawasu.data.objects import listed
from mawasu.data.reach import Reach, is_cloud, local
from mawasu.errors import StepError
from mawasu.spec.data_lock import Locked

if TYPE_CHECKING:
    from mawasu.ports import Store
    from mawasu.spec.feature import DataSet, Feature
    from mawasu.words import Digest, Look

_RELOCK = "run `mawasu data lock` and commit data.lock"


class Snapshot(NamedTuple):
    """What a source held when it was read. `mark`: see `words.Look`."""

    locked: Locked
    mark: str = ""


def make_snapshot(
    data: DataSet,
    root: Path | None,
    store: Store,
    locked: Digest | None,
    reach: Reach = Reach(),  # noqa: B008 - a frozen value
) -> Digest:
    """Store the data set's files and return the digest of that directory.

    `root`: where the feature's files are laid out (for `files:`). `locked`: what data.lock says (for `path:`); if the
    store holds it, the path is not even looked at, so an old commit stays reproducible. `reach`: what may be read,
    because a pusher must not read what the daemon can. Raises StepError.
    """
    if data.source.path is None:
        return _store(data, root, store)[0]
    if locked is None:
        raise StepError(f"data set {data.name} reads {data.source.path}, which data.lock does not pin", _RELOCK)
    if store.has(locked):
        return locked
    found = take(data, store, reach).locked.digest
    if found != locked:
        hint = f"{_RELOCK}, or bring the locked data back"
        raise StepError(f"data set {data.name}: {data.source.path} is now {found}, data.lock says {locked}", hint)
    return found


def take(data: DataSet, store: Store, reach: Reach, last: Look | None = None) -> Snapshot:
    """Store what lies at the data set's `path:` now.

    `last`: an earlier look; where its mark tells that nothing has changed, nothing is read. Raises StepError.
    """
    assert data.source.path is not None
    reach.check(data)
    if not is_cloud(data.source.path):
        digest, sizes = _store(data, None, store)
        return Snapshot(Locked(digest, sum(sizes), len(sizes)))
    with reach.google() as client, room_for(f"data set {data.name}"):
        found = listed(data.name, data.source.path, client)
        known = last.digest if last is not None and last.mark == found.mark else None
        digest = known if known is not None and store.has(known) else found.store(store)
        return Snapshot(Locked(digest, found.bytes, found.files), found.mark)


def lock(feature: Feature, store: Store) -> Mapping[str, Locked]:
    """The entries of data.lock: every data set of the feature with a `path:`, stored as it is now."""
    outside = [data for data in feature.data if data.source.path is not None]
    return {data.name: take(data, store, Reach()).locked for data in outside}


def _store(data: DataSet, root: Path | None, store: Store) -> tuple[Digest, list[int]]:
    """Copy, then store: what is stored is what was hashed, even if someone writes to the source meanwhile."""
    with room_for(f"data set {data.name}"), tempfile.TemporaryDirectory(prefix="mawasu-data-") as temporary:
        stage = Path(temporary) / "stage"
        lay_out(data, root, stage)
        return store.put_tree(stage), [path.stat().st_size for path in stage.rglob("*") if path.is_file()]


def lay_out(data: DataSet, root: Path | None, stage: Path) -> None:
    """Copy the data set's files to `stage` under stable names, without their modes and times.

    From the repository a file is named from the deepest directory that all patterns share (`data/a.csv` → `a.csv`,
    `[data/x/*.csv, data/y/*.csv]` → `x/…`, `y/…`); from outside, a file by its own name and a directory's files by
    their path in it.
    """
    try:
        for name, path in _files(data, root).items():
            target = stage / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target, follow_symlinks=False)
    except (PermissionError, FileNotFoundError) as error:
        said = f"data set {data.name}: {error.filename} cannot be read: {(error.strerror or '').lower()}"
        raise StepError(said, "it must be there, and readable for the user that mawasu runs as") from error


def _files(data: DataSet, root: Path | None) -> dict[str, Path]:
    if data.source.path is not None:
        return _outside(data)
    if root is None or not data.source.files:
        raise StepError(f"data set {data.name} has neither files nor a path", "give it a source in mawasu.yaml")
    return _inside(data.name, data.source.files, root)


def _outside(of: DataSet) -> dict[str, Path]:
    data, given, named = of.name, of.source.path, local(of)
    path = named.resolve()
    if path.is_file():
        return {named.name: path}
    if not path.is_dir():
        raise StepError(f"data set {data}: there is no {given}", f"look at data.{data}.source.path in mawasu.yaml")
    files = {file.relative_to(path).as_posix(): file for file in _walk(data, path)}
    if not files:
        raise StepError(f"data set {data}: {given} holds no file", "put the data there, or correct the path")
    return files


def _walk(data: str, root: Path) -> Iterator[Path]:
    """Regular files below `root`. A link could lead anywhere, so it is refused, not followed."""
    for directory, names, files in os.walk(root, onerror=_raise):
        for name in names + files:
            path = Path(directory, name)
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                raise StepError(f"data set {data}: {path} is a link or special file", "put a copy in its place")
            if path.is_file():
                yield path


def _raise(error: OSError) -> None:
    raise error


def _inside(data: str, patterns: tuple[str, ...], root: Path) -> dict[str, Path]:
    present = {file.relative_to(root).as_posix(): file for file in _walk(data, root)}
    chosen: dict[str, Path] = {}
    for pattern in patterns:
        matches = re.compile(_regex(pattern)).fullmatch
        found = {name: path for name, path in present.items() if matches(name)}
        if not found:
            near = difflib.get_close_matches(pattern, present, 1)
            hint = f"did you mean {near[0]}?" if near else "are they committed? * stops at /, ** does not"
            raise StepError(f"data set {data}: no file of the commit matches {pattern}", hint)
        chosen |= found
    shared = _shared(patterns)
    return {name[len(shared) :]: path for name, path in chosen.items()}


def _shared(patterns: tuple[str, ...]) -> str:
    """The deepest directory all patterns name in plain letters, with its slash. It does not depend on what matches."""
    plain = []
    for pattern in patterns:
        parts = PurePosixPath(pattern).parts[:-1]
        stop = next((index for index, part in enumerate(parts) if re.search(r"[*?[]", part)), len(parts))
        plain.append("/".join(parts[:stop]))
    shared = os.path.commonpath(plain) if plain else ""
    return shared + "/" if shared else ""


def _regex(pattern: str) -> str:
    """A glob as a regular expression over `/`-separated paths: `*` and `?` stop at `/`, `**` does not."""
    result = ""
    for piece in re.findall(r"\*\*/|\*\*|\*|\?|\[[^]]+\]|.", pattern):
        if piece == "**/":
            result += "(?:.*/)?"
        elif piece == "**":
            result += ".*"
        elif piece in ("*", "?"):
            result += "[^/]" + ("*" if piece == "*" else "")
        elif len(piece) > 1:
            result += "[" + piece[1:-1].replace("!", "^", 1).replace("\\", "\\\\") + "]"
        else:
            result += re.escape(piece)
    return result
