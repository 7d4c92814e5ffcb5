"""The gateway's certificate: two files of somebody else's, taken over into the one that Envoy follows.

Renewals come in many ways (a link that is swapped, a rename, a file written in place, certificate and key one after the
other), and Envoy sees only some of them, half of them half done. So the files are read here, by content, and Envoy is
told of a whole and good pair only. See decisions/0019-tls.md.
"""

from __future__ import annotations

import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mawasu.errors import PlatformError
from mawasu.gateway.certificate import Certificate, Files, examine, served
from mawasu.gateway.edge import CERTIFICATE, secret
from mawasu.platforms.local.envoy import Envoy

Resources = Sequence[dict[str, Any]]


def read(files: Files) -> Resources:
    """What Envoy must be told of a pair that is good now. Raises PlatformError in one line, with the next step."""
    chain, key = _bytes(files.certificate), _bytes(files.key)
    examine(files, chain, key, time.time())
    return secret(chain.decode(), key.decode())


def exposed(files: Files) -> str | None:
    """What to say of a private key that every user of this machine can read."""
    try:
        mode = stat.S_IMODE(Path(files.key).stat().st_mode)
    except OSError:
        return None  # reading it says why
    if not mode & stat.S_IROTH:
        return None
    return f"{files.key} can be read by every user of this machine (mode {mode:04o}) — chmod o-rwx it"


class Taken:
    """What Envoy shows to callers, kept in step with the files."""

    def __init__(self, files: Files, envoy: Envoy) -> None:
        self.files = files
        self._envoy = envoy
        self._fault: str | None = None
        self._refused: Resources | None = None

    def lay_out(self) -> dict[str, str]:
        """Write Envoy's file before it starts; returns the version it must take.

        With files that are not good now, the pair that was served last (Envoy may have crashed) is served again.
        Raises PlatformError when there is none.
        """
        try:
            resources = read(self.files)
        except PlatformError as error:
            kept = self._envoy.read(CERTIFICATE)
            if kept is None:
                raise
            self._fault = str(error)
            resources = kept
        return {CERTIFICATE: self._envoy.write(CERTIFICATE, resources)}

    def changed(self) -> Resources | None:
        """Another good pair than the one that is served; None when there is none, for whatever reason."""
        try:
            found = read(self.files)
        except PlatformError as error:
            self._fault = str(error)
            return None
        if found == self._refused:
            return None
        self._fault = None
        return None if found == self._envoy.read(CERTIFICATE) else found

    def take(self, found: Resources, patience: float) -> None:
        """Show another pair from now on. When Envoy refuses it, the old one is served on."""
        old = self._envoy.read(CERTIFICATE)
        if old is None or self._envoy.bootstrap() is None:
            self._envoy.write(CERTIFICATE, found)
            return
        try:
            self._envoy.tell({CERTIFICATE: found}, patience)
        except PlatformError as error:
            self._envoy.write(CERTIFICATE, old)
            self._fault, self._refused = f"{self.files.certificate}: {error}", found

    def forget(self) -> None:
        """Leave no copy of the private key behind."""
        (self._envoy.directory / CERTIFICATE).unlink(missing_ok=True)

    @property
    def certificate(self) -> Certificate | None:
        """What Envoy was last told to show."""
        kept = self._envoy.read(CERTIFICATE)
        if not kept:
            return None
        return served(kept[0]["tls_certificate"]["certificate_chain"]["inline_string"].encode())

    def warnings(self) -> list[str]:
        """What is wrong now, each in one line with the next step."""
        fault = self._fault and f"{self._fault}; until then the certificate of before is served on"
        shown = self.certificate
        return [line for line in (fault, shown and shown.says(time.time()), exposed(self.files)) if line]


def _bytes(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        hint = "it must be there for the user that mawasu runs as, who may need a group or a copy"
        raise PlatformError(f"cannot read {path}: {error.strerror}", hint) from error
