"""A dictionary whose values stay encoded until somebody asks for them: nearly nobody asks for an old build."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Generic, TypeVar

import msgspec

K = TypeVar("K")
V = TypeVar("V")


class Table(MutableMapping[K, V], Generic[K, V]):
    """Rows that are `msgspec.Raw` hold a value's MessagePack; it is decoded when it is first looked at.

    Decoding replaces one row's value by its equal, so readers in several threads need no lock.
    """

    def __init__(self, rows: dict[K, V | msgspec.Raw], decoder: msgspec.msgpack.Decoder[V]) -> None:
        self.rows = rows
        self._decoder = decoder

    def __copy__(self) -> Table[K, V]:
        return Table(dict(self.rows), self._decoder)

    def __getitem__(self, key: K) -> V:
        row = self.rows[key]
        if not isinstance(row, msgspec.Raw):
            return row
        value = self.rows[key] = self._decoder.decode(row)
        return value

    def __setitem__(self, key: K, value: V) -> None:
        self.rows[key] = value

    def __delitem__(self, key: K) -> None:
        del self.rows[key]

    def __contains__(self, key: object) -> bool:
        return key in self.rows

    def __iter__(self) -> Iterator[K]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __eq__(self, other: object) -> bool:
        return dict(self) == (dict(other) if isinstance(other, Table) else other)

    __hash__ = None  # type: ignore[assignment]  # as a dict's
