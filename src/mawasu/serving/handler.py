"""The HTTP face of a handler: JSON in, a batch for the worker, JSON out. An RSGI application (granian's protocol)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from mawasu.serving.batching import Batcher
from mawasu.serving.errors import RequestError
from mawasu.serving.link import Link

if TYPE_CHECKING:
    from granian._granian import RSGIHTTPProtocol as HTTPProtocol
    from granian.rsgi import Scope

    from mawasu.serving.config import Config

JSON = ("content-type", "application/json")
LENGTH = "content-length"

_whole = msgspec.json.Decoder(msgspec.Raw)
_array = msgspec.json.Decoder(list[msgspec.Raw])


class HandlerApp:
    """Every path but `/-/…` asks the model: the gateway decides which paths exist.

    `/-/ready` is not called healthz: Cloud Run keeps paths that end in z to itself
    (cloud.google.com/run/docs/known-issues, reserved URL paths).

    A JSON object is one item and its answer is one JSON value; a JSON array is many, answered by an array.
    """

    def __init__(self, config: Config) -> None:
        self.active = 0
        self.draining = False
        self.requests = 0
        self.errors = 0
        self.link = Link(config.worker, config.deadline)
        self._batcher = Batcher(
            self.link.call, max_batch=config.max_batch, queue=config.queue, deadline=config.deadline
        )
        self._max_body = config.max_body
        self._release = ("mawasu-release", config.release)
        self._headers = [JSON, self._release]

    async def __rsgi__(self, scope: Scope, proto: HTTPProtocol) -> None:
        self.requests += 1
        self.active += 1
        try:
            if scope.path.startswith("/-/"):
                status, headers, body = self._own(scope.path)
            else:
                status, headers, body = await self._answer(scope, proto)
            if self.draining:
                headers = [*headers, ("connection", "close")]
            proto.response_bytes(status, headers, body)
        finally:
            self.active -= 1

    async def _answer(self, scope: Scope, proto: HTTPProtocol) -> tuple[int, list[tuple[str, str]], bytes]:
        try:
            body = await self._body(scope, proto)  # first, whatever comes: an unread body costs the connection
            if not self.link.ready:
                raise RequestError(503, "the model is not loaded yet, or is being restarted", retry_after=1)
            items, many = split(body)
            answers = await self._batcher.ask(items) if items else [b"[]"]
        except RequestError as error:
            self.errors += 1
            return error.status, [*self._headers, *error.headers()], error.body()
        if not many:
            return 200, self._headers, answers[0][1:-1]
        if len(answers) == 1:
            return 200, self._headers, answers[0]
        return 200, self._headers, b"[" + b",".join(answer[1:-1] for answer in answers) + b"]"

    async def _body(self, scope: Scope, proto: HTTPProtocol) -> bytes:
        length = scope.headers.get(LENGTH)
        if length is not None and int(length) <= self._max_body:  # the HTTP server has checked that it is a number
            return await proto()
        body = bytearray()
        if length is None:
            async for chunk in proto:
                body += chunk
                if len(body) > self._max_body:
                    break
            else:
                return bytes(body)
        raise RequestError(413, f"the body is larger than {self._max_body} bytes")

    def _own(self, path: str) -> tuple[int, list[tuple[str, str]], bytes]:
        if path == "/-/ready":
            ready = self.link.ready and not self.draining
            return (200 if ready else 503), self._headers, b'{"ready":true}' if ready else b'{"ready":false}'
        if path == "/-/metrics":
            return 200, [("content-type", "text/plain; version=0.0.4"), self._release], self._metrics()
        return 404, self._headers, RequestError(404, "there is nothing at this address").body()

    def _metrics(self) -> bytes:
        """Prometheus' text format (exposition format 0.0.4)."""
        batcher = self._batcher
        counters = {
            "requests_total": self.requests,
            "errors_total": self.errors,
            "refused_total": batcher.refused,
            "batches_total": batcher.batches,
            "items_total": batcher.items,
            "worker_losses_total": self.link.losses,
        }
        lines = [f"# TYPE mawasu_{name} counter\nmawasu_{name} {value}\n" for name, value in counters.items()]
        lines.append(f"# TYPE mawasu_queued gauge\nmawasu_queued {batcher.queued}\n")
        return "".join(lines).encode()


def split(body: bytes) -> tuple[list[bytes], bool]:
    """The items of a body, each as its own JSON text, and whether it was an array. Raises RequestError (400).

    Nothing is built from the text here: the worker reads it, in the user's Python. What is checked is what would cost
    other callers of the same batch their answer: well-formed JSON (RFC 8259) in UTF-8.
    """
    first = body.lstrip(b" \t\r\n")[:1]
    try:
        body.decode()
        if first == b"[":
            return [bytes(item) for item in _array.decode(body)], True
        _whole.decode(body)
    except (ValueError, RecursionError) as error:  # msgspec's and unicode's errors are ValueErrors
        raise RequestError(400, f"the body is not JSON: {error}") from None
    if first != b"{":
        raise RequestError(400, "the body must be a JSON object (one item) or a JSON array (many)")
    return [body], False
