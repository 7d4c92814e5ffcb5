"""What HTTP says about reuse: RFC 9111 (caching), RFC 5861 (stale answers), RFC 9211 (`Cache-Status`). Pure."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from mawasu.serving.message import Headers

UNKEPT = frozenset((b"age", b"cache-status", b"connection", b"content-length", b"date", b"keep-alive"))
"""Headers of an answer that are made anew each time it is given."""

FAILED = frozenset((500, 502, 503, 504))
"""RFC 5861 §4: what `stale-if-error` is for."""


class Wish(msgspec.Struct, frozen=True):
    """What a request's `Cache-Control` asks (RFC 9111 §5.2.1, RFC 5861 §4). Seconds; `max_stale` may be endless."""

    no_store: bool = False
    no_cache: bool = False
    only_if_cached: bool = False
    max_age: float | None = None
    max_stale: float | None = None
    min_fresh: float = 0.0
    stale_if_error: float = 0.0


class Life(msgspec.Struct, frozen=True, array_like=True):
    """How long an answer may be given, in seconds: fresh, and after that while a new one is fetched, or cannot be."""

    ttl: float
    stale_while_revalidate: float = 0.0
    stale_if_error: float = 0.0
    strict: bool = False  # never stale, whatever a caller would put up with (`must-revalidate`)

    @property
    def kept(self) -> float:
        """From its making until nobody may have it any more."""
        return self.ttl + max(self.stale_while_revalidate, self.stale_if_error)

    def header(self) -> bytes:
        """`private`: the key that lets a caller in need not stand in `Authorization`, which is all that shared caches
        between us know to respect (RFC 9111 §3.5)."""
        said = f"private, max-age={self.ttl:.0f}"
        if self.stale_while_revalidate:
            said += f", stale-while-revalidate={self.stale_while_revalidate:.0f}"
        if self.stale_if_error:
            said += f", stale-if-error={self.stale_if_error:.0f}"
        return said.encode()


PLAIN = Wish()


@lru_cache(maxsize=256)
def wish(said: bytes) -> Wish:
    """Of a request's `Cache-Control`; what cannot be read is not said."""
    found = directives(said)
    return Wish(
        no_store="no-store" in found,
        no_cache="no-cache" in found,
        only_if_cached="only-if-cached" in found,
        max_age=seconds(found.get("max-age")),
        max_stale=seconds(found["max-stale"] or "999999999") if "max-stale" in found else None,
        min_fresh=seconds(found.get("min-fresh")) or 0.0,
        stale_if_error=seconds(found.get("stale-if-error")) or 0.0,
    )


def directives(said: bytes) -> dict[str, str]:
    """`max-age=60, no-cache` by name, in lower case; "" for those without a value, the first of each counts."""
    found: dict[str, str] = {}
    for part in said.decode("latin-1").lower().split(","):
        name, _, value = part.partition("=")
        found.setdefault(name.strip(), value.strip().strip('"'))
    return found


def seconds(text: str | None) -> float | None:
    """A delta-seconds (RFC 9111 §1.2.2); None for anything else."""
    return float(text[:10]) if text and text.isascii() and text.isdigit() else None


def life(headers: Headers, declared: Life, keyed: frozenset[bytes]) -> Life | None:
    """For how long a 200 may be kept, by what it says itself, else as declared; None: not at all.

    `keyed` are the request headers that are part of the key: an answer that varies with others would be given to the
    wrong caller.
    """
    said: list[bytes] = []
    for name, value in headers:
        if name == b"cache-control":
            said.append(value)
        elif name == b"vary":
            if not keyed.issuperset(token.strip().lower() for token in value.split(b",")):
                return None
        elif name in (b"set-cookie", b"content-range") or (name == b"content-type" and b"event-stream" in value):
            return None
        elif name == b"expires" and not any(b"max-age" in value for key, value in headers if key == b"cache-control"):
            return None  # a date of a clock that is not ours; mostly it means never
    if not said:
        return declared
    found = directives(b",".join(said))
    if not found.keys().isdisjoint(("no-store", "no-cache", "private")):
        return None
    ttl = seconds(found.get("s-maxage", found.get("max-age")))
    if ttl is None:
        ttl = 0.0 if {"max-age", "s-maxage"} & found.keys() else declared.ttl
    if ttl <= 0:
        return None
    if not found.keys().isdisjoint(("must-revalidate", "proxy-revalidate", "s-maxage")):
        return Life(ttl, strict=True)  # RFC 9111 §4.2.4: never stale
    revalidate, error = seconds(found.get("stale-while-revalidate")), seconds(found.get("stale-if-error"))
    return Life(
        ttl,
        declared.stale_while_revalidate if revalidate is None else revalidate,
        declared.stale_if_error if error is None else error,
    )


def matches(etag: bytes, said: bytes) -> bool:
    """Whether an `If-None-Match` names the entity tag; the weak comparison of RFC 9110 §8.8.3.2."""
    if said.strip() == b"*":
        return True
    bare = etag.removeprefix(b"W/")
    return any(one.strip().removeprefix(b"W/") == bare for one in said.split(b","))
