"""`data.lock`: the digest that each data set has in this commit. Written by mawasu, reviewed like code."""

from __future__ import annotations

from collections.abc import Mapping

from mawasu.errors import SpecError
from mawasu.spec import units
from mawasu.spec.faults import Fault, in_order
from mawasu.spec.kinds import Key, MapOf, Number, Place, Section, Text
from mawasu.spec.parse import parse
from mawasu.spec.units import Refused
from mawasu.words import Digest, Value, is_digest

FILE = "data.lock"

HEADING = "# The data of this commit, written by mawasu.\n"


class Locked(Value, frozen=True):
    """One snapshot: its digest, and its size in bytes and files for people to see."""

    digest: Digest
    bytes: int
    files: int


def parse_data_lock(text: str, *, file: str = FILE) -> dict[str, Locked]:
    """Locked data sets by name. Raises SpecError with all faults; a file without entries locks nothing."""
    document = parse(text, file=file)
    root = document.root
    if root is None and not any(line.split("#")[0].strip() for line in text.splitlines()):
        return {}
    faults: list[Fault] = list(document.faults)
    values = LOCK.read(root, Place(file, faults)) if root and root.value != {} else {}
    if faults:
        raise SpecError(in_order(faults))
    return {name: Locked(section["digest"], section["bytes"], section["files"]) for name, section in values.items()}


def format_data_lock(locked: Mapping[str, Locked]) -> str:
    """The text of the file, sorted by name so that two branches merge line by line."""
    entries = (
        f"{name}: {{digest: {lock.digest}, bytes: {lock.bytes}, files: {lock.files}}}\n"
        for name, lock in sorted(locked.items())
    )
    return HEADING + "".join(entries)


def _digest(text: str) -> Digest:
    if not is_digest(text):
        raise Refused("a digest: `sha256:` and 64 hex digits")
    return Digest(text)


_COUNT = Number("a whole number from 0", whole=True, least=0)

LOCK = MapOf(
    Text("the name of a data set", units.name, units.NAME),
    Section(
        {
            "digest": Key(Text("`sha256:` and 64 hex digits", _digest, "sha256:[0-9a-f]{64}"), "", required=True),
            "bytes": Key(_COUNT, "", required=True),
            "files": Key(_COUNT, "", required=True),
        }
    ),
    "data sets by name",
)
