"""What deciding asks of doing: the core yields an effect and is sent its result (`call.py`; `wire.py` does them)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer. Header names in lower case; several of one name are joined by ", " (RFC 9110 §5.3)."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Lost:
    """No HTTP answer. `sent`: the request may have reached the API."""

    code: Literal["timeout", "unreachable", "garbage"]
    message: str
    sent: bool


@dataclass(frozen=True, slots=True)
class Send:
    """Results in a Reply or Lost. Seconds for everything, from the name's look-up to the last byte."""

    path: str
    headers: dict[str, str] = field(repr=False)  # they hold the key
    body: bytes = field(repr=False)
    timeout: float

    def late(self) -> Lost:
        return Lost("timeout", f"no answer within {self.timeout:.3g} s", sent=True)


@dataclass(frozen=True, slots=True)
class Read:
    """Results in the bytes that the shared cache has of each key, None for each that it has not."""

    keys: tuple[str, ...]
    timeout: float

    def late(self) -> list[bytes | None]:
        return [None] * len(self.keys)


@dataclass(frozen=True, slots=True)
class Renew:
    """Ask for a token. Results in the reason why none came, "" when one did (it is with the Tokens then)."""

    timeout: float

    def late(self) -> str:
        return f"no token within {self.timeout:.3g} s"


@dataclass(frozen=True, slots=True)
class Write:
    """Into the shared cache."""

    values: dict[str, bytes] = field(repr=False)
    seconds: float  # they may be kept
    timeout: float

    def late(self) -> None:
        return None


@dataclass(frozen=True, slots=True)
class RenewSoon:
    """Ask for a token while the old one is still good: nobody waits for it."""


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


Effect = Send | Read | Write | Renew | RenewSoon | Pause

R = TypeVar("R")
Steps = Generator[Effect, Any, R]
