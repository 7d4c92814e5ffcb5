"""Where data comes from: files of the commit, or a path outside it that `data.lock` pins."""

from __future__ import annotations

import difflib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from mawasu.data.disk import room_for
from mawasu.errors import StepError
from mawasu.spec.data_lock import Locked

if TYPE_CHECKING:
    from mawasu.ports import Store
    from mawasu.spec.feature import DataSet, Feature
    from mawasu.words import Digest

_RELOCK = "run `mawasu data lock` and commit data.lock"


def make_snapshot(
    data: DataSet, root: Path | None, store: Store, locked: Digest | None, roots: Sequence[Path] | None = None
) -> Digest:
    """Store the data set's files and return the digest of that directory.

    `root`: where the feature's files are laid out (for `files:`). `locked`: what data.lock says (for `path:`); if the
    store holds it, the path is not even looked at, so an old commit stays reproducible. `roots`: the directories below
    which a `path:` may lie (None: anywhere), because a pusher must not read what the daemon can. Raises StepError.
    """
    outside = data.source.path is not None
    if outside and locked is None:
        raise StepError(f"data set {data.name} reads {data.source.path}, which data.lock does not pin", _RELOCK)
    if outside and locked is not None and store.has(locked):
        return locked
    if outside and roots is not None:
        _check_roots(data, roots)
    found, _ = _store(data, root, store)
    if outside and found != locked:
        hint = f"{_RELOCK}, or bring the locked data back"
        raise StepError(f"data set {data.name}: {data.source.path} is now {found}, data.lock says {locked}", hint)
    return found


def _check_roots(data: DataSet, roots: Sequence[Path]) -> None:
    assert data.source.path is not None
    path = _path_of(data.name, data.source.path).resolve()
    if not any(path.is_relative_to(root.resolve()) for root in roots):
        raise StepError(
            f"data set {data.name}: {data.source.path} is not below a directory that may be read here",
            f"whoever runs mawasu here allows it with `mawasu up --data {path.parent}`",
        )


def lock(feature: Feature, store: Store) -> Mapping[str, Locked]:
    """The entries of data.lock: every data set of the feature with a `path:`, stored as it is now."""
    entries = {}
    for data in feature.data:
        if data.source.path is not None:
            digest, sizes = _store(data, None, store)
            entries[data.name] = Locked(digest, sum(sizes), len(sizes))
    return entries


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
        return _outside(data.name, data.source.path)
    if root is None or not data.source.files:
        raise StepError(f"data set {data.name} has neither files nor a path", "give it a source in mawasu.yaml")
    return _inside(data.name, data.source.files, root)


def _outside(data: str, given: str) -> dict[str, Path]:
    named = _path_of(data, given)
    path = named.resolve()
    if path.is_file():
        return {named.name: path}
    if not path.is_dir():
        raise StepError(f"data set {data}: there is no {given}", f"look at data.{data}.source.path in mawasu.yaml")
    files = {file.relative_to(path).as_posix(): file for file in _walk(data, path)}
    if not files:
        raise StepError(f"data set {data}: {given} holds no file", "put the data there, or correct the path")
    return files


def _path_of(data: str, given: str) -> Path:
    parts = urlsplit(given)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        path = Path(unquote(parts.path))
    elif "://" in given:
        raise StepError(f"data set {data}: {given} cannot be read from here", "use a path or a file:// URI")
    else:
        path = Path(given)
    if not path.is_absolute():
        raise StepError(f"data set {data}: the path {given} is relative", "write it from / on, or use files:")
    return path


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
