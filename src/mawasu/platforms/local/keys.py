"""The API keys of a home: the public halves, one file each in `home.keys`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from mawasu.gateway import tokens
from mawasu.home import Home
from mawasu.platforms.local.files import replace
from mawasu.store.durable import sync_directory
from mawasu.words import PublicKey

LARGEST = 2**16
"""Bytes of a key's file; a key has some 250, and 30 for each of its grants."""


class KeyRing:
    """What `mawasu keys` works on. The gateway takes what is changed here from its next `refresh_keys` on."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def create(self, consumer: str, grants: Sequence[str], expires: float | None = None) -> tuple[PublicKey, str]:
        """Make a key (`tokens.make`): its public half, and the token, which is seen this once. Raises UsageError."""
        key, token = tokens.make(consumer, grants, time.time(), expires)
        self._home.create()
        self._home.keys.mkdir(mode=0o700, exist_ok=True)
        self._keep(key)
        return key, token

    def list(self) -> Sequence[PublicKey]:
        """All keys that were not revoked, the oldest first; expired ones too. Raises CorruptError."""
        return sorted(self._read(), key=lambda key: (key.created, key.id))

    def valid(self) -> Sequence[PublicKey]:
        """Those whose time is not over. Raises CorruptError."""
        now = time.time()
        return [key for key in self._read() if tokens.valid(key, now)]

    def rotate(self, name: str, grace: float) -> tuple[PublicKey, str]:
        """Another key for the same consumer and doors; the old one is valid for `grace` seconds more.

        The new one is valid for as long as the old one was meant to be. Raises UsageError.
        """
        old, now = self._find(name), time.time()
        key, token = self.create(old.consumer, old.grants, tokens.renewed(old, now))
        self._keep(tokens.ending(old, now + grace))
        return key, token

    def revoke(self, name: str) -> PublicKey:
        """Forget the public half: its token opens nothing any more. Raises UsageError."""
        found = self._find(name)
        self._path(name).unlink(missing_ok=True)
        sync_directory(self._home.keys)
        return found

    def _find(self, name: str) -> PublicKey:
        found = [key for key in self._read() if key.id == name]
        if not found:
            raise tokens.unknown(name)
        return found[0]

    def _keep(self, key: PublicKey) -> None:
        replace(self._path(key.id), tokens.encode(key))

    def _read(self) -> Iterator[PublicKey]:
        """Every key. All are read whenever one changes, so each file costs three system calls and no Path."""
        place = str(self._home.keys)
        try:
            directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return
        try:
            for name in os.listdir(directory):  # noqa: PTH208 (by the descriptor that files are opened beside)
                if name.endswith(".json") and not name.startswith("."):
                    data = _content(name, directory)
                    if data is not None:
                        yield tokens.decode(data, name.removesuffix(".json"), f"{place}/{name}")
        finally:
            os.close(directory)

    def _path(self, name: str) -> Path:
        return self._home.keys / f"{name}.json"


def _content(name: str, directory: int) -> bytes | None:
    """A small file's bytes; None when it was removed (the key was revoked) since it was listed."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        return None
    try:
        return os.read(descriptor, LARGEST)
    finally:
        os.close(descriptor)


class Expiry:
    """When the keys of a home end. They are read again only when one was made, rotated or revoked."""

    def __init__(self, home: Home) -> None:
        self._home, self._ring = home, KeyRing(home)
        self._seen: int | None = None
        self._ends: Sequence[float] = ()

    def between(self, since: float, until: float) -> bool:
        """Whether a key ended after `since`, and not after `until` (seconds since the epoch)."""
        return any(since < end <= until for end in self._known())

    def after(self, now: float) -> float:
        """When the next key ends; infinity when none does."""
        return min((end for end in self._known() if end > now), default=float("inf"))

    def _known(self) -> Sequence[float]:
        try:
            changed = self._home.keys.stat().st_mtime_ns
        except FileNotFoundError:
            return ()
        if changed != self._seen:
            self._ends = [key.expires for key in self._ring.list() if key.expires is not None]
            self._seen = changed
        return self._ends
