"""The HTTP face of a handler: JSON in, a batch for the worker, JSON out."""

from __future__ import annotations

import msgspec

from mawasu.serving.batching import Batcher
from mawasu.serving.config import Config
from mawasu.serving.errors import RequestError
from mawasu.serving.link import Link
from mawasu.serving.message import JSON, Request, Response, Traffic, refused

_whole = msgspec.json.Decoder(msgspec.Raw)
_array = msgspec.json.Decoder(list[msgspec.Raw])


class HandlerApp:
    """Every path but `/-/…` asks the model: the gateway decides which paths exist.

    `/-/ready` is not called healthz: Cloud Run keeps paths that end in z to itself
    (cloud.google.com/run/docs/known-issues, reserved URL paths).

    A JSON object is one item and its answer is one JSON value; a JSON array is many, answered by an array.
    """

    def __init__(self, config: Config) -> None:
        self.traffic = Traffic()
        self.errors = 0
        self.link = Link(config.worker, config.deadline)
        self._batcher = Batcher(
            self.link.call, max_batch=config.max_batch, queue=config.queue, deadline=config.deadline
        )
        self._max_body = config.max_body
        self._headers = [JSON, (b"mawasu-release", config.release.encode())]

    async def __call__(self, request: Request) -> Response:
        if request.path.startswith(b"/-/"):
            return self._own(request.path)
        try:
            return await self.answer(request)
        except RequestError as error:
            self.errors += 1
            said = refused(error)
            said.headers.append(self._headers[1])
            return said

    async def answer(self, request: Request) -> Response:
        """What the model says. Raises RequestError."""
        body = await request.body.read(self._max_body)
        if not self.link.ready:
            raise RequestError(503, "the model is not loaded yet, or is being restarted", retry_after=1)
        items, many = split(body)
        answers = await self._batcher.ask(items) if items else [b"[]"]
        if not many:
            return Response(200, self._headers, answers[0][1:-1])
        if len(answers) == 1:
            return Response(200, self._headers, answers[0])
        return Response(200, self._headers, b"[" + b",".join(answer[1:-1] for answer in answers) + b"]")

    def _own(self, path: bytes) -> Response:
        if path == b"/-/ready":
            ready = self.link.ready and not self.traffic.draining
            return Response(200 if ready else 503, self._headers, b'{"ready":true}' if ready else b'{"ready":false}')
        if path == b"/-/metrics":
            kind = (b"content-type", b"text/plain; version=0.0.4")
            return Response(200, [kind, self._headers[1]], self._metrics())
        return Response(404, self._headers, RequestError(404, "there is nothing at this address").body())

    def _metrics(self) -> bytes:
        """Prometheus' text format (exposition format 0.0.4)."""
        batcher = self._batcher
        counters = {
            "requests_total": self.traffic.requests,
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
