"""Copies of the key sets that issuers publish, for a change of the gateway while one of them is away.

Envoy forgets what it fetched whenever its verifier is told anything new, a created API key for instance. An issuer that
is away at that moment would have all of its tokens refused, so Envoy is given the copy until the issuer is back. See
decisions/0033-copies-of-key-sets.md.
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import threading
import time
from collections.abc import Collection, Mapping
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

from mawasu.gateway import authn
from mawasu.home import Home
from mawasu.platforms.local.files import replace

PATIENCE = 0.5
"""Seconds for all sets together: a created key opens within one."""
OLDEST = 24 * 3600.0
"""Seconds. Whoever was away for longer may have taken keys out that must not come back."""
LARGEST = 2**20  # bytes


class KeySets:
    """The copies of a home. `trust`: the file of CA certificates that issuers' servers are verified by."""

    def __init__(self, home: Home, trust: str) -> None:
        self._directory = home.cache / "key-sets"
        self._trust = trust

    def of_absent(self, uris: Collection[str], patience: float = PATIENCE) -> dict[str, str]:
        """Fetch all of them and keep what comes. Of those that did not come: the copies, by URI."""
        came = fetch(uris, self._trust, patience)
        with suppress(OSError):  # a full disk: a copy that cannot be kept is no reason to fail a change
            self._keep(came)
        found = {uri: self._copy(uri) for uri in uris if uri not in came}
        return {uri: text for uri, text in found.items() if text}

    def _keep(self, came: Mapping[str, str]) -> None:
        for uri, text in came.items():
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace(self._path(uri), text.encode(), durable=False)
        if came:
            self._forget()

    def _copy(self, uri: str) -> str:
        try:
            with self._path(uri).open("rb") as file:
                age = time.time() - os.fstat(file.fileno()).st_mtime
                text = file.read().decode(errors="replace")
        except OSError:
            return ""
        return authn.usable_set(text) if age < OLDEST else ""

    def _forget(self) -> None:
        """What is too old to be used; nobody may name it any more."""
        for path in self._directory.iterdir():
            with suppress(FileNotFoundError):  # somebody else forgot it
                if time.time() - path.stat().st_mtime >= OLDEST:
                    path.unlink()

    def _path(self, uri: str) -> Path:
        return self._directory / f"{authn.digest(uri)}.json"


def fetch(uris: Collection[str], trust: str, patience: float) -> dict[str, str]:
    """The key sets that are at these https URIs, by URI; what does not come in time, or is none, is not among them."""
    asked = [_Asked(uri, trust, patience) for uri in uris]
    deadline = time.monotonic() + patience
    for one in asked:
        one.start()
    for one in asked:
        one.join(max(0.0, deadline - time.monotonic()))
    for one in asked:
        one.give_up()
    return {one.uri: text for one in asked if (text := one.text)}


class _Asked(threading.Thread):
    """One server, which may send a byte a second for ever: whoever asked does not wait for it."""

    def __init__(self, uri: str, trust: str, patience: float) -> None:
        super().__init__(name="key set", daemon=True)
        self.uri, self.text = uri, ""
        self._trust = trust
        self._patience = patience
        self._connection: http.client.HTTPSConnection | None = None

    def run(self) -> None:
        parts = urlsplit(self.uri)
        target = f"{parts.path or '/'}?{parts.query}".removesuffix("?")
        try:
            context = ssl.create_default_context(cafile=self._trust or None)
            at = parts.hostname or "", parts.port or 443
            with closing(http.client.HTTPSConnection(*at, timeout=self._patience, context=context)) as connection:
                self._connection = connection
                connection.request("GET", target)
                answer = connection.getresponse()
                body = answer.read(LARGEST + 1)
            if answer.status == http.client.OK and len(body) <= LARGEST:  # as Envoy, which follows no redirection
                self.text = authn.usable_set(body.decode())
        except (OSError, http.client.HTTPException, ValueError):
            pass  # whatever it is, the issuer is away

    def give_up(self) -> None:
        connected = self._connection.sock if self._connection else None
        if self.is_alive() and connected is not None:
            with suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)
