"""Cloud Storage for tests of records: the Google double before the real fake-gcs-server, and finer trouble.

Beyond the double's own: trouble at the Nth request of a kind, a bit that flips, listings of several pages, copies of
several rounds, composite objects.
"""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote, unquote

from tests.google.double.core import Answer, Double, Request, Seen
from tests.google.double.server import Streamed
from tests.google.double.storage import Storage

HOST = "storage.googleapis.com"
BUCKET = "records"


class Front:
    """A running Cloud Storage with the bucket `records`. Every request is checked against Google's documents."""

    def __init__(self, double: Double, storage: Storage) -> None:
        self.double, self.storage = double, storage
        self.token = double.identity.token()
        double.storage = self._forward
        self._flips: list[str] = []
        self.reset()

    @property
    def url(self) -> str:
        return self.double.url

    @property
    def seen(self) -> list[Seen]:
        return self.double.requests

    def reset(self) -> None:
        """As new, and the bucket empty."""
        self._ask("/_internal/delete_all", b"")
        self._ask("/storage/v1/b", json.dumps({"name": BUCKET}).encode())
        for kept in (self.double.requests, self.double.violations, self.double.unchecked, self._flips):
            kept.clear()
        self.clear()
        self.page = 0  # names in one page of a listing; 0: as many as there are
        self.rounds = 1  # that a copy takes
        self.composite = False  # whether objects are without MD5

    # ------------------------------------------------------------------------------------------------ trouble

    def fail(self, path: str = "*", method: str = "*", status: int = 503, times: int = 1, skip: int = 0) -> None:
        """Answer with this status, and do nothing; after `skip` requests that are done."""
        self._after(skip, method, path, lambda: self.double.faults.fail(HOST, method, path, status, times))

    def cut_after_effect(self, path: str = "*", method: str = "*", times: int = 1, skip: int = 0) -> None:
        """Do it, and say nothing."""
        self._after(skip, method, path, lambda: self.double.faults.cut_after_effect(HOST, method, path, times))

    def cut_answer(self, path: str = "*", times: int = 1) -> None:
        """Say half of it."""
        self.double.faults.cut_inside_answer(HOST, "GET", path, times)

    def flip(self, path: str = "*") -> None:
        """Change one bit of the next answer."""
        self._flips.append(path)

    def clear(self) -> None:
        """No more trouble."""
        self.double.faults.clear()
        self._waiting: list[tuple[list[int], str, str, Any]] = []

    def count(self, method: str = "*", path: str = "*") -> int:
        """How many such requests came."""
        return sum(fnmatchcase(one.method, method) and fnmatchcase(unquote(one.path), path) for one in self.seen)

    def lay(self, name: str, data: bytes) -> None:
        """Put an object into the bucket, past the double: many are quick so."""
        self._ask(f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={quote(name, safe='')}", data)

    # ------------------------------------------------------------------------------------------------ inside

    def _ask(self, path: str, data: bytes) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.storage.port, timeout=60)
        with contextlib.closing(connection):
            connection.request("POST", path, data, {"content-type": "application/json"})
            response = connection.getresponse()
            response.read()
            assert response.status in (200, 409), (path, response.status)

    def _after(self, skip: int, method: str, path: str, begin: Any) -> None:
        if skip:
            self._waiting.append(([skip], method, path, begin))
        else:
            begin()

    def _forward(self, request: Request) -> Answer | Streamed:
        for left, method, path, begin in self._waiting:
            if left[0] and fnmatchcase(request.raw.method, method) and fnmatchcase(request.path, path):
                left[0] -= 1
                if not left[0]:
                    begin()
        if self.page and request.method.id == "storage.objects.list":
            request = replace(request, queries={**request.queries, "maxResults": [str(self.page)]})
        if request.method.id == "storage.objects.rewrite":
            if (done := int(request.query.get("rewriteToken", "1"))) < self.rounds:
                return Answer(body=json.dumps({"done": False, "rewriteToken": str(done + 1)}).encode())
            queries = {name: one for name, one in request.queries.items() if name != "rewriteToken"}
            request = replace(request, queries=queries)
        answer = self.storage.forward(request)
        return self._bent(request, answer) if isinstance(answer, Streamed) else answer

    def _bent(self, request: Request, answer: Streamed) -> Streamed:
        """The bytes of an object, as they are told to be wrong."""
        if self.composite:
            answer.headers["x-goog-hash"] = answer.headers["x-goog-hash"].partition(",")[0]
        wrong = next((path for path in self._flips if fnmatchcase(request.path, path)), None)
        if wrong is not None:
            self._flips.remove(wrong)
            return replace(answer, chunks=_flipped(answer.chunks))
        return answer


def _flipped(chunks: Iterator[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk[:-1] + bytes([chunk[-1] ^ 1])


@contextmanager
def running() -> Iterator[Front]:
    """One that ends with the block."""
    with Double() as double:
        storage = Storage(double).start()
        try:
            yield Front(double, storage)
        finally:
            storage.stop()
