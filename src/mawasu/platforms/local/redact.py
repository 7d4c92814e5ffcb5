"""Secrets out of what processes print. Standard library only: the supervisor uses it."""

from __future__ import annotations

import re
from collections.abc import Iterable

LONGEST_LINE = 65_536  # a line without end is cut here
SHORTEST_SECRET = 4  # shorter values would blacken ordinary words


def pattern(secrets: Iterable[str]) -> tuple[re.Pattern[bytes] | None, int]:
    """What finds any of the values, and how long the longest is. Values of several lines are found by their lines."""
    values = {line.strip().encode() for secret in secrets for line in secret.split("\n")}
    found = sorted((value for value in values if len(value) >= SHORTEST_SECRET), key=len, reverse=True)
    if not found:
        return None, 0
    return re.compile(b"|".join(re.escape(value) for value in found)), len(found[0])


class Redacted:
    """Bytes in, cut anywhere; bytes out with `***` for every secret. Holds a line back until it is whole."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secret, self._reach = pattern(secrets)
        self._rest = b""

    def take(self, piece: bytes) -> bytes:
        if self._secret is None:
            return piece
        self._rest += piece
        end = self._rest.rfind(b"\n") + 1
        if len(self._rest) - end > LONGEST_LINE:
            self._rest = self._secret.sub(b"***", self._rest)
            end = len(self._rest) - self._reach  # what is kept may be the begin of a secret
        ready, self._rest = self._rest[:end], self._rest[end:]
        return self._secret.sub(b"***", ready)

    def finish(self) -> bytes:
        """The end of output: what came without a newline."""
        ready, self._rest = self._rest, b""
        return self._secret.sub(b"***", ready) if self._secret else ready
