"""The metrics of all replicas of a home, as their servers tell them at their sockets, daemon or no daemon."""

from __future__ import annotations

import http.client
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import msgspec

from mawasu.home import Home
from mawasu.platforms.local.health import UnixConnection
from mawasu.serving.metrics import Family, Sample, text

TIMEOUT = 2.0
"""Seconds for one replica: one that hangs must not hide the others."""


class Known(msgspec.Struct, frozen=True):
    """What is needed of a revision's `spec.json`."""

    revision: str
    feature: str
    environment: str
    replicas: int = 1


class Told(NamedTuple):
    """What a replica says; "" when it does not answer."""

    labels: dict[str, str]
    text: str


def read(home: Home) -> list[Told]:
    """Every replica that should run, the ones being replaced too."""
    found = [
        ({**msgspec.structs.asdict(known), "replica": number}, place / f"{number}.sock")
        for place, known in _known(home)
        for number in range(known.replicas)
    ]
    if not found:
        return []
    with ThreadPoolExecutor(min(16, len(found))) as pool:
        texts = list(pool.map(_ask, [socket for _, socket in found]))
    names = ("feature", "environment", "revision", "replica")
    return [Told({name: str(at[name]) for name in names}, said) for (at, _), said in zip(found, texts, strict=True)]


def merged(replicas: Iterable[Told]) -> str:
    """One page for Prometheus: each family once, with every replica's samples; `mawasu_up` says who answered."""
    replicas = list(replicas)
    answered = [Sample("", told.labels, int(bool(told.text))) for told in replicas]
    up = text([Family("up", "gauge", "Whether the replica told its metrics.", answered)], {}).decode()
    families: dict[str, list[str]] = {}
    for told in replicas:
        for block in ("\n" + told.text).split("\n# HELP ")[1:]:
            help, kind, *samples = block.splitlines()
            families.setdefault(f"# HELP {help}\n{kind}", []).extend(samples)
    return up + "".join("\n".join([head, *samples]) + "\n" for head, samples in families.items())


def _known(home: Home) -> list[tuple[Path, Known]]:
    found = []
    for path in sorted(home.services.glob("*/spec.json")):
        try:
            found.append((path.parent, msgspec.json.decode(path.read_bytes(), type=Known)))
        except FileNotFoundError:  # it was stopped meanwhile
            continue
    return found


def _ask(socket: Path) -> str:
    connection = UnixConnection(socket, TIMEOUT)
    try:
        connection.request("GET", "/-/metrics")
        answer = connection.getresponse()
        return answer.read().decode() if answer.status == 200 else ""
    except (OSError, http.client.HTTPException, UnicodeDecodeError):
        return ""
    finally:
        connection.close()
