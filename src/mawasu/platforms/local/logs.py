"""What a command prints, line by line into a step's log: without secrets, and only so much of it."""

from __future__ import annotations

from collections.abc import Iterable

from mawasu.platforms.local.redact import LONGEST_LINE, pattern
from mawasu.ports import Log

CAP = 10_000_000
"""Bytes of output kept per step."""


class Printed:
    """Takes pieces of output, writes whole lines. `last` is the last line that was not empty."""

    def __init__(self, log: Log, secrets: Iterable[str] = (), cap: int = CAP) -> None:
        self._log = log
        self._secret, self._reach = pattern(secrets)
        self._room = cap
        self._cap = cap
        self._rest = bytearray()
        self.last = ""

    def take(self, piece: memoryview) -> None:
        """One piece, cut anywhere. Past the cap it costs next to nothing: the command must not wait for its log."""
        if self._room < 0:
            return
        new = bytes(piece[: self._room])
        self._room -= len(piece)
        self._rest += new
        end = len(self._rest) - len(new) + new.rfind(b"\n") + 1 if b"\n" in new else 0
        if len(self._rest) - end > LONGEST_LINE:
            self._rest = bytearray(self._hide(self._rest))
            end = len(self._rest) - self._reach  # what is kept may be the begin of a secret
        if end:
            self._write(self._rest[:end])
            del self._rest[:end]
        if self._room < 0:
            self._rest.clear()  # half a line; it might be half a secret
            self._log.write(f"[log capped at {self._cap / 1e6:g} MB]")

    def finish(self) -> None:
        """The end of output: write what came without a newline."""
        self._write(self._rest)
        self._rest.clear()

    def _write(self, data: bytearray) -> None:
        if not data:
            return
        for raw in self._hide(data).decode(errors="replace").removesuffix("\n").split("\n"):
            line = raw.rstrip("\r").rpartition("\r")[2]  # progress bars overwrite themselves
            self.last = line.strip() or self.last
            self._log.write(line)

    def _hide(self, data: bytearray) -> bytes:
        return bytes(data) if self._secret is None else self._secret.sub(b"***", data)
