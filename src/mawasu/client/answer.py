"""What a caller holds after a call: an answer, perhaps the error that kept it from being a live one, and the event."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # type checkers bring it: an Api without `decode` is then an Api[Any]

    T = TypeVar("T", default=Any)
else:
    T = typing.TypeVar("T")

Source = Literal["live", "cache", "stale", "fallback"]

Code = Literal["timeout", "unreachable", "busy", "broken", "refused", "garbage", "resting", "token"]
"""Why there is no live answer:

timeout: none came within the time. unreachable: no connection, or it was cut. busy: 429 or 503. broken: another 5xx.
refused: another status, so the request, the key or the address is wrong. garbage: what came is not such an answer.
resting: the API was not asked, because it failed too often or said when to come back. token: none could be had.
"""


class ApiError(Exception):
    """Why the API did not answer. `status` is 0 where no HTTP answer came; the message holds no secret."""

    def __init__(self, code: Code, message: str, *, status: int = 0, request_id: str = "") -> None:
        super().__init__(message)
        self.code: Code = code
        self.message = message
        self.status = status
        self.request_id = request_id

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """`value` is what the model said (`decode` applied), or the fall-back.

    source: live, cache (fresh), stale (too old, but the API does not answer) or fallback. `error` says why it is not
    live; None for live and cache. `release` is the digest of the release that answered, "" for a fall-back. `age` in
    seconds since the model said it.
    """

    value: T
    source: Source
    release: str
    error: ApiError | None
    request_id: str
    age: float


@dataclass(frozen=True, slots=True)
class Event:
    """One call of `predict` or `predict_many`, for metrics. `sources` counts its items by where they came from."""

    path: str
    seconds: float
    attempts: int  # requests sent: 0 when the cache had everything, or the API rests
    sources: dict[Source, int]
    error: ApiError | None
    request_id: str
