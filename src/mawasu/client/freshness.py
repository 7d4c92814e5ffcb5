"""How long an answer may be used: RFC 9111 (Cache-Control, Age), RFC 5861 (stale-if-error)."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

UNIT = "mawasu-unit"
OWN = frozenset({"*", "x-request-id", "mawasu-deadline", "content-length"})
"""Request headers that differ from call to call. The others an Api always sends alike, or never."""

_DIRECTIVE = re.compile(r'([!#$%&\'*+.^_`|~\w-]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,";]+)))?')


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Seconds from now: `fresh`, then `stale` more for when the API does not answer. Both 0: not kept at all.

    `by_unit`: the answer is for one unit only.
    """

    fresh: float
    stale: float
    age: float
    by_unit: bool

    @property
    def kept(self) -> float:
        return self.fresh + self.stale


def lifetime(headers: Mapping[str, str], *, ttl: float, stale: float) -> Lifetime:
    """`ttl` and `stale` are the caller's own wish: for answers without a max-age, and the least to keep for errors.

    We are the caller's own cache, so `private` allows keeping, and `s-maxage` is for others.
    """
    said = directives(headers.get("cache-control", ""))
    varied = {name.strip().lower() for name in headers.get("vary", "").split(",") if name.strip()}
    age = _seconds(headers.get("age", "0")) or 0.0
    if said.keys() & {"no-store", "no-cache"} or varied & OWN:
        return Lifetime(0.0, 0.0, age, by_unit=False)
    fresh = max(0.0, (_seconds(said["max-age"]) or 0.0) - age) if "max-age" in said else ttl
    longer = 0.0 if "must-revalidate" in said else max(stale, _seconds(said.get("stale-if-error", "")) or 0.0)
    return Lifetime(fresh, longer, age, UNIT in varied)


def directives(text: str) -> dict[str, str]:
    """Names in lower case; of a directive said twice the first counts (RFC 9111 §4.2.1)."""
    found: dict[str, str] = {}
    for name, quoted, token in _DIRECTIVE.findall(text):
        found.setdefault(name.lower(), quoted or token)
    return found


def _seconds(text: str) -> float | None:
    """RFC 9111 §1.2.2: digits only; more than 2^31 means for ever."""
    return float(min(int(text), 2**31)) if text.isascii() and text.isdigit() and len(text) < 20 else None


class Releases:
    """When the API last changed its release: an answer from before is not fresh any more. Safe for threads.

    While traffic is split two releases answer in turn; that is one change, not one at each answer.
    """

    FORGET = 60.0  # seconds: a release not heard of for so long was gone

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._heard: dict[str, float] = {}
        self._lock = threading.Lock()
        self.changed = 0.0  # on the clock of the cache's entries

    def heard(self, release: str) -> None:
        with self._lock:
            now = self._clock()
            newest = max(self._heard.values(), default=0.0)
            if self._heard and self._heard.get(release, 0.0) < min(newest, now - self.FORGET):
                self.changed = now
            self._heard[release] = now
            self._heard = {name: at for name, at in self._heard.items() if at >= now - self.FORGET}
