"""States kept so that opening a long ledger does not read all of it. A cache: without it only time is lost."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import pkgutil
import re
import secrets
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Protocol

import msgspec

from mawasu.ledger.fold import BuildState, Done, EnvironmentState, ReleaseState, State
from mawasu.ledger.table import Table
from mawasu.words import Digest, Look

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
    looks: dict[str, Look]


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
        packed.looks,
    )


class Box(Protocol):
    """A place for small files by name. A cache: what it cannot keep, it forgets without a word."""

    def names(self) -> Iterable[str]: ...

    def read(self, name: str) -> bytes | None: ...

    def write(self, name: str, *parts: bytes | memoryview) -> bool:
        """Whether it could be kept."""

    def remove(self, name: str) -> None: ...


class DirectoryBox:
    """Files of a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def names(self) -> list[str]:
        try:
            return [path.name for path in self._directory.iterdir()]
        except OSError:
            return []

    def read(self, name: str) -> bytes | None:
        try:
            return (self._directory / name).read_bytes()
        except OSError:
            return None

    def write(self, name: str, *parts: bytes | memoryview) -> bool:
        temporary = self._directory / f".{secrets.token_hex(8)}"
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                with temporary.open("xb") as file:
                    file.writelines(parts)
                temporary.replace(self._directory / name)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError:
            return False
        return True

    def remove(self, name: str) -> None:
        with contextlib.suppress(OSError):
            (self._directory / name).unlink(missing_ok=True)


def save(box: Box, state: State) -> None:
    """Keep the state, named by the entry it folds; where nothing can be written, nothing happens."""
    assert state.head is not None
    payload = memoryview(_encode(state))
    if box.write(f"{state.number:012d}-{state.head[7:]}.msgpack", _seal(payload), payload):
        for _, _, old in _found(box)[_KEPT:]:
            box.remove(old)


def load(box: Box, digest_at: Callable[[int], Digest | None]) -> State:
    """The newest state that folds this very ledger, or an empty one.

    `digest_at(number)` is the digest of that entry as the ledger holds it. A checkpoint of another ledger, of other
    rules than this code's, or one with a flipped bit is passed over.
    """
    for number, head, name in _found(box):
        if digest_at(number) == head:
            state = _read(box.read(name))
            if state is not None and (state.number, state.head) == (number, head):
                return state
    return State()


def _found(box: Box) -> list[tuple[int, Digest, str]]:
    """Checkpoints by the entry in their names, newest first."""
    matches = (_NAME.fullmatch(name) for name in box.names())
    return sorted(((int(m[1]), Digest("sha256:" + m[2]), m[0]) for m in matches if m), reverse=True)


def _read(found: bytes | None) -> State | None:
    if found is None:
        return None
    data = memoryview(found)
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
    hasher = hashlib.sha256(rules())
    hasher.update(payload)
    return hasher.digest()


@cache
def rules() -> bytes:
    """Digest of the code that folds: a state folded by other code is as foreign as one of another ledger."""
    sources = (pkgutil.get_data("mawasu.ledger", name) or b"" for name in ("entries.py", "fold.py", "checkpoints.py"))
    return hashlib.sha256(b"\0".join(sources)).digest()
