"""The API keys of a home: the public halves, one file each in `home.keys`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from mawasu.gateway import tokens
from mawasu.home import Home
from mawasu.platforms.local.files import replace
from mawasu.store.durable import sync_directory
from mawasu.words import PublicKey


class KeyRing:
    """What `mawasu keys` works on."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def create(self, consumer: str, grants: Sequence[str], expires: float | None = None) -> tuple[PublicKey, str]:
        """Make a key (`tokens.make`): its public half, and the token, which is seen this once.

        The gateway takes the key from its next `refresh_keys` on. Raises UsageError.
        """
        key, token = tokens.make(consumer, grants, time.time(), expires)
        self._home.create()
        self._home.keys.mkdir(mode=0o700, exist_ok=True)
        replace(self._path(key.id), tokens.encode(key))
        return key, token

    def list(self) -> Sequence[PublicKey]:
        """All keys that were not revoked, the oldest first; expired ones too. Raises CorruptError."""
        paths = [path for path in self._home.keys.glob("*.json") if not path.name.startswith(".")]
        keys = [tokens.decode(path.read_bytes(), path.stem, str(path)) for path in paths]
        return sorted(keys, key=lambda key: (key.created, key.id))

    def revoke(self, name: str) -> PublicKey:
        """Forget the public half: after the next `refresh_keys` its token opens nothing. Raises UsageError."""
        found = [key for key in self.list() if key.id == name]
        if not found:
            raise tokens.unknown(name)
        self._path(name).unlink(missing_ok=True)
        sync_directory(self._home.keys)
        return found[0]

    def _path(self, name: str) -> Path:
        return self._home.keys / f"{name}.json"
