"""Where a revision's answers are remembered: made ready before its servers start."""

from __future__ import annotations

from pathlib import Path

import msgspec

from mawasu.home import Home
from mawasu.words import ServiceSpec

RULES = "rules.json"


def spool_of(home: Home, spec: ServiceSpec) -> Path:
    """The directory its servers write to; beside it the rules of its environment as they are now."""
    place = home.predictions / spec.feature / spec.environment
    spool = place / "spool"
    spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = place / f"{RULES}.new"
    scratch.write_bytes(msgspec.json.encode(spec.handler.predictions))
    scratch.replace(place / RULES)
    return spool
