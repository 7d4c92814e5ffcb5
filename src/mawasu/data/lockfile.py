"""`data.lock`: which bytes a data set outside the repository is, for this commit."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from mawasu.errors import SpecError
from mawasu.words import Digest, Value, is_digest


class Locked(Value, frozen=True):
    """One data set: the digest of its snapshot, and for people how many bytes and files that is."""

    digest: Digest
    bytes: int
    files: int


def format_lock(entries: Mapping[str, Locked]) -> str:
    """One line a data set, by name, so that a change reads well as a diff. The text is JSON."""
    lines = [f"  {_json(name)}: {_json(entries[name])}" for name in sorted(entries)]
    return "{\n" + ",\n".join(lines) + "\n}\n" if lines else "{}\n"


def parse_lock(text: str) -> dict[str, Locked]:
    """What `format_lock` wrote. Raises SpecError for anything else."""
    hint = "write it anew with `mawasu data lock`"
    try:
        entries = msgspec.json.decode(text, type=dict[str, Locked])
    except msgspec.DecodeError as error:
        raise SpecError((f"data.lock: {error}",), hint) from error
    wrong = tuple(
        f"data.lock: {name}: {entry.digest!r} is no digest"
        for name, entry in entries.items()
        if not is_digest(entry.digest)
    )
    if wrong:
        raise SpecError(wrong, hint)
    return entries


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
