"""Resumable uploads, kept here until they are complete: fake-gcs-server ends one when it is asked how far it is.

cloud.google.com/storage/docs/performing-resumable-uploads: chunks are multiples of 256 KiB but the last; 308 with
`Range` tells what is kept; `bytes */N` asks; DELETE gives up (499).
"""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from tests.google.double.faults import Answer, refuse
from tests.google.double.server import SPOOL, Incoming

if TYPE_CHECKING:
    from tests.google.double.core import Request

PIECE = 256 * 2**10

_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


@dataclass
class Session:
    """One upload: the request that began it, and the bytes that have come."""

    began: Request
    kind: str
    kept: int = 0
    done: Answer | None = None
    given_up: bool = False
    file: IO[bytes] = field(default_factory=lambda: tempfile.SpooledTemporaryFile(SPOOL), repr=False)  # noqa: SIM115

    def take(self, incoming: Incoming) -> Answer | None:
        """The answer to one request of the session; None when all bytes are here."""
        if self.given_up or incoming.method == "DELETE":
            self.given_up = True
            self.file.close()
            return Answer(499, b"")
        if self.done is not None:
            return self.done
        first, last, total = _place(incoming)
        if first is None:
            return self._how_far() if total is None or self.kept < total else None
        if first > self.kept:
            raise refuse(400, f"Invalid request. The chunk begins at {first}, and only {self.kept} bytes are kept.")
        if incoming.length != last - first + 1:
            raise refuse(400, "Invalid request. The number of bytes uploaded is not what Content-Range says.")
        if total is None and incoming.length % PIECE:
            raise refuse(400, f"Invalid request. A chunk that is not the last is a multiple of {PIECE} bytes.")
        incoming.body.seek(0)
        self.file.seek(first)
        shutil.copyfileobj(incoming.body, self.file)
        self.kept = max(self.kept, last + 1)
        if total is not None and self.kept > total:
            raise refuse(400, "Invalid request. There are more bytes than Content-Range says.")
        return self._how_far() if total is None or self.kept < total else None

    def _how_far(self) -> Answer:
        return Answer(308, b"", {"range": f"bytes=0-{self.kept - 1}"} if self.kept else {})


def _place(incoming: Incoming) -> tuple[int | None, int, int | None]:
    """(first byte or None for a question, last byte, all bytes or None for not known) of a request."""
    header = incoming.headers.get("content-range", "")
    if not header:
        return (0, incoming.length - 1, incoming.length) if incoming.length else (None, -1, 0)
    found = _RANGE.fullmatch(header)
    if found is None:
        raise refuse(400, f"Invalid request. {header!r} is no Content-Range.")
    total = None if found[3] == "*" else int(found[3])
    return (int(found[1]), int(found[2]), total) if found[1] else (None, -1, total)
