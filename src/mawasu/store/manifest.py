"""The manifest of a stored directory: JSON in one canonical form, whose digest is the directory's digest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from mawasu.errors import CorruptError
from mawasu.words import Digest, Value, is_digest

MEDIA_TYPE: Literal["application/vnd.mawasu.tree.v1+json"] = "application/vnd.mawasu.tree.v1+json"
PREFIX = f'{{"mediaType":"{MEDIA_TYPE}",'.encode()
"""How every manifest begins: tells a manifest from any other object without reading all of it."""


class TreeFile(Value, frozen=True):
    """One file: `/`-separated path from the directory, digest and size of its bytes, owner's executable bit."""

    path: str
    digest: Digest
    size: int
    executable: bool = False


class Manifest(Value, frozen=True):
    """Files sorted by path, and the directories that hold nothing (all others follow from the paths)."""

    media_type: Literal["application/vnd.mawasu.tree.v1+json"] = msgspec.field(name="mediaType")
    files: tuple[TreeFile, ...]
    empty: tuple[str, ...] = ()


def make_manifest(files: Iterable[TreeFile], empty: Iterable[str]) -> Manifest:
    return Manifest(MEDIA_TYPE, tuple(sorted(files, key=lambda file: file.path)), tuple(sorted(empty)))


def encode_manifest(manifest: Manifest) -> bytes:
    """Canonical: fields in order of their definition, no spaces, defaults left out, UTF-8, paths sorted."""
    return msgspec.json.encode(manifest)


def decode_manifest(data: bytes, digest: Digest) -> Manifest:
    """Raises CorruptError for bytes that `encode_manifest` cannot have written, or paths that lead outside."""
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.DecodeError as error:
        raise CorruptError(f"{digest} is not the manifest of a directory: {error}", "was a file meant?") from error
    fault = _fault(manifest)
    if not fault and encode_manifest(make_manifest(manifest.files, manifest.empty)) != data:
        fault = "it is not in canonical form"
    if fault:
        raise CorruptError(f"{digest} is not a manifest that mawasu wrote: {fault}", "do not use it")
    return manifest


def _fault(manifest: Manifest) -> str:
    """Why laying this manifest out could write outside its directory, or over itself; "" if it cannot."""
    paths = [file.path for file in manifest.files] + list(manifest.empty)
    parents: set[str] = set()
    for path in paths:
        parts = path.split("/")
        if any(part in ("", ".", "..") or "\0" in part for part in parts):
            return f"the path {path!r} leads outside"
        parents.update("/".join(parts[:length]) for length in range(1, len(parts)))
    if len(set(paths)) != len(paths) or not parents.isdisjoint(paths):
        return "two of its paths collide"
    if not all(is_digest(file.digest) for file in manifest.files):
        return "a file has no digest"
    return ""
