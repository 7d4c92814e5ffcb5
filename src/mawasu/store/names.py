"""Two grammars of names, each a format/parse pair: names of objects ↔ paths of files, and names of artifacts."""

from __future__ import annotations

import re
from typing import NamedTuple

from mawasu.errors import UsageError
from mawasu.words import Digest, is_digest

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789._-")
_LONGEST = 200  # bytes of one path component; file systems take 255

ARTIFACTS = "names/"
"""Below this prefix named objects are artifact names: they point at a digest, and keep nothing alive."""


def escape(component: str) -> str:
    """One component of a name as a safe file name: all but `a-z 0-9 . _ -` as `%` and two hex digits per byte.

    Upper case is escaped too, since some file systems cannot tell it from lower case; so is a leading dot.
    """
    raw = component.encode()
    text = "".join(chr(byte) if byte in _PLAIN else f"%{byte:02x}" for byte in raw)
    return "%2e" + text[1:] if text.startswith(".") else text


def unescape(text: str) -> str:
    """Inverse of `escape`. Raises ValueError for what it never gives."""
    raw = re.sub(rb"%([0-9a-f]{2})", lambda match: bytes([int(match[1], 16)]), text.encode())
    component = raw.decode()
    if escape(component) != text:
        raise ValueError(f"{text!r} is no escaped name")
    return component


def to_path(name: str) -> str:
    """The relative path of a named object's file. Raises UsageError for an empty component.

    The file's own name ends in `=`, which no directory's does, so `a` and `a/b` can both be names. A component longer
    than a file name may be is cut into directories that end in `~`.
    """
    components = name.split("/")
    if not all(components):
        raise UsageError(f"the object name {name!r} has an empty component", "write it as a/b/c")
    pieces = []
    for component in components:
        text = escape(component)
        cut = [text[start : start + _LONGEST] for start in range(0, len(text), _LONGEST)]
        pieces.append("~/".join(cut))
    return "/".join(pieces) + "="


def from_path(path: str) -> str:
    """Inverse of `to_path`. Raises ValueError for what it never gives."""
    if not path.endswith("="):
        raise ValueError(f"{path!r} is not the path of a named object")
    return "/".join(unescape(piece) for piece in path[:-1].replace("~/", "").split("/"))


def to_blob(digest: Digest) -> str:
    """The relative path of an object's file: `ab/cdef…`. Raises UsageError for what is no digest."""
    if not is_digest(digest):
        raise UsageError(f"{digest!r} is no digest", "a digest is `sha256:` and 64 hex digits")
    return f"{digest[7:9]}/{digest[9:]}"


class Artifact(NamedTuple):
    """What people call a stored thing: `feature/branch/commit/what`; only the branch may hold slashes."""

    feature: str
    branch: str
    commit: str
    what: str


def format_artifact(artifact: Artifact) -> str:
    """Raises UsageError when a part is empty, or one other than the branch holds a slash."""
    feature, branch, commit, what = artifact
    bad = "/" in feature + commit + what or not all((feature, commit, what, *branch.split("/")))
    if bad:
        raise UsageError(f"{artifact} makes no artifact name", "it is feature/branch/commit/what")
    return "/".join(artifact)


def parse_artifact(readable: str) -> Artifact:
    """Inverse of `format_artifact`. Raises UsageError."""
    parts = readable.split("/")
    if len(parts) < 4 or not all(parts):
        raise UsageError(f"{readable!r} is no artifact name", "it is feature/branch/commit/what")
    return Artifact(parts[0], "/".join(parts[1:-2]), parts[-2], parts[-1])
