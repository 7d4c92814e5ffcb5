"""The two checksums that Cloud Storage keeps of an object, in base64 as it writes them."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from typing import Protocol

_POLYNOMIAL = 0x82F63B78  # Castagnoli's, reversed (RFC 3720, appendix B.4)


class Checksum(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


class Crc32c:
    """As hashlib's objects. In plain Python, some MB/s: only composite objects, which have no MD5, need it."""

    def __init__(self) -> None:
        self._value = 0xFFFFFFFF

    def update(self, data: bytes, /) -> None:
        table, value = _table(), self._value
        for byte in data:
            value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
        self._value = value

    def digest(self) -> bytes:
        return (self._value ^ 0xFFFFFFFF).to_bytes(4, "big")


def md5() -> Checksum:
    return hashlib.md5(usedforsecurity=False)


def text(checksum: Checksum) -> str:
    return base64.b64encode(checksum.digest()).decode()


def md5_of(data: bytes) -> str:
    checksum = md5()
    checksum.update(data)
    return text(checksum)


@cache
def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)
