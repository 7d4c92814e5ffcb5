"""States kept on disk so that opening a long ledger does not read all of it. A cache: without it only time is lost."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import pkgutil
import re
import secrets
from collections.abc import Callable
from functools import cache
from pathlib import Path

import msgspec

from mawasu.ledger.fold import BuildState, Done, EnvironmentState, ReleaseState, State
from mawasu.ledger.table import Table
from mawasu.words import Digest

EVERY = 256  # entries
_KEPT = 2
_NAME = re.compile(r"([0-9]{12})-([0-9a-f]{64})\.msgpack")


class _Packed(msgspec.Struct):
    """A State whose long tables stay encoded row by row (`Table`)."""

    number: int
    head: Digest
    builds: dict[int, msgspec.Raw]
    done: dict[Digest, msgspec.Raw]
    releases: dict[Digest, msgspec.Raw]
    environments: dict[str, EnvironmentState]
    heads: dict[str, str]
    open: dict[int, None]


_PACKED = msgspec.msgpack.Decoder(_Packed)
_BUILD = msgspec.msgpack.Decoder(BuildState)
_DONE = msgspec.msgpack.Decoder(Done)
_RELEASE = msgspec.msgpack.Decoder(ReleaseState)


def _encode(state: State) -> bytes:
    """Rows that nobody looked at are written as they were read."""
    packed = {name: getattr(state, name) for name in _Packed.__struct_fields__}
    packed |= {name: table.rows for name, table in packed.items() if isinstance(table, Table)}
    return msgspec.msgpack.encode(packed)


def _decode(payload: memoryview) -> State:
    packed = _PACKED.decode(payload)
    return State(
        packed.number,
        packed.head,
        Table({**packed.builds}, _BUILD),
        Table({**packed.done}, _DONE),
        Table({**packed.releases}, _RELEASE),
        packed.environments,
        packed.heads,
        packed.open,
    )


def save(directory: Path, state: State) -> None:
    """Write the state down, named by the entry it folds; on a disk that takes no writes, nothing happens."""
    assert state.head is not None
    payload = memoryview(_encode(state))
    path = directory / f"{state.number:012d}-{state.head[7:]}.msgpack"
    temporary = path.with_name(f".{secrets.token_hex(8)}")
    with contextlib.suppress(OSError):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(_seal(payload))
                file.write(payload)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        for _, _, old in _found(directory)[_KEPT:]:
            old.unlink(missing_ok=True)


def load(directory: Path, digest_at: Callable[[int], Digest | None]) -> State:
    """The newest state that folds this very ledger, or an empty one.

    `digest_at(number)` is the digest of that entry as the ledger holds it. A checkpoint of another ledger, of other
    rules than this code's, or one with a flipped bit is passed over.
    """
    for number, head, path in _found(directory):
        if digest_at(number) == head:
            state = _read(path)
            if state is not None and (state.number, state.head) == (number, head):
                return state
    return State()


def _found(directory: Path) -> list[tuple[int, Digest, Path]]:
    """Checkpoints by the entry in their names, newest first."""
    try:
        matches = [(_NAME.fullmatch(path.name), path) for path in directory.iterdir()]
    except OSError:
        return []
    return sorted(((int(m[1]), Digest("sha256:" + m[2]), path) for m, path in matches if m), reverse=True)


def _read(path: Path) -> State | None:
    try:
        data = memoryview(path.read_bytes())
    except OSError:
        return None
    if data[:32] != _seal(data[32:]):
        return None
    collecting = gc.isenabled()
    gc.disable()  # hundreds of thousands of new objects, none of them garbage: collections would take half the time
    try:
        return _decode(data[32:])
    except msgspec.DecodeError:
        return None
    finally:
        if collecting:
            gc.enable()


def _seal(payload: memoryview) -> bytes:
    """A digest over the state and over the rules that made it."""
    hasher = hashlib.sha256(_rules())
    hasher.update(payload)
    return hasher.digest()


@cache
def _rules() -> bytes:
    """Digest of the code that folds: a state folded by other code is as foreign as one of another ledger."""
    sources = (pkgutil.get_data("mawasu.ledger", name) or b"" for name in ("entries.py", "fold.py", "checkpoints.py"))
    return hashlib.sha256(b"\0".join(sources)).digest()
