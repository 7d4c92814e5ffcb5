"""How the server says no: a status, one line, and when to try again; never a trace."""

from __future__ import annotations

import msgspec


class RequestError(Exception):
    """A refused or failed request; becomes the error body `{"code": N, "message": "…"}` that the gateway uses too."""

    def __init__(self, status: int, message: str, *, trace: str = "", retry_after: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.trace = trace
        self.retry_after = retry_after

    def body(self) -> bytes:
        body: dict[str, object] = {"code": self.status, "message": self.message}
        if self.trace:
            body["id"] = self.trace
        return msgspec.json.encode(body)

    def headers(self) -> list[tuple[str, str]]:
        """Besides the content type."""
        return [("retry-after", str(self.retry_after))] if self.retry_after else []


class ToldError(RequestError):
    """A streamed answer that broke off and said so in its last piece: it ends in order, and counts as what it was."""
