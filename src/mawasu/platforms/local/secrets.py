"""Values that code needs and git must not hold: encrypted at rest, given out by environment and step."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from mawasu.errors import CorruptError, StepError, UsageError
from mawasu.home import Home
from mawasu.platforms.local.files import locked, replace
from mawasu.words import Value

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

Step = Literal["training", "api"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_ENVIRONMENT = re.compile(r"[a-z0-9*][a-z0-9*-]{0,62}")
_PREVIEW = "preview"


class Scope(Value, frozen=True, order=True):
    """Which runs a secret is for: an environment's name or a pattern of names with `*`, and a step.

    A preview is named `preview-<slug>`, and only a pattern that starts with `preview` opens to it: `*` does not.
    """

    name: str
    environment: str = "*"
    step: Step = "training"


class _Sealed(Value, frozen=True):
    scope: Scope
    nonce: bytes
    value: bytes


class Secrets:
    """The secrets of a home. AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce each; the scope is
    authenticated with the value, so that no value can be moved to a wider one. The key, `secret.key`, is its owner's
    only and does not lie among the records: a backup of these tells nothing.
    """

    def __init__(self, home: Home) -> None:
        self._file = home.secrets / "secrets.json"
        self._lock = home.secrets / ".lock"
        self._key = home.path / "secret.key"

    def set(self, name: str, value: str, environment: str = "*", steps: Sequence[Step] = ("training", "api")) -> None:
        """Keep a value, replacing that of the same scope. Raises UsageError for a name that is none."""
        if not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} is no name for a secret", "it becomes a variable: use letters, digits and _")
        if not _ENVIRONMENT.fullmatch(environment):
            raise UsageError(f"{environment!r} is no environment", "use its name, or a pattern with *")
        if not value or "\0" in value:
            raise UsageError(
                f"the value of {name} is empty or holds a NUL", "pipe it in: `mawasu secrets set NAME < file`"
            )
        scopes = [Scope(name, environment, step) for step in steps]
        with locked(self._lock):
            kept = [one for one in self._read() if one.scope not in scopes]
            self._write([*kept, *(self._seal(scope, value) for scope in scopes)])

    def unset(self, name: str, environment: str | None = None, step: Step | None = None) -> int:
        """Forget the values of a name, all or those of one environment (pattern) or step; how many there were."""
        with locked(self._lock):
            before = self._read()
            kept = [
                one
                for one in before
                if one.scope.name != name
                or (environment is not None and one.scope.environment != environment)
                or (step is not None and one.scope.step != step)
            ]
            self._write(kept)
        return len(before) - len(kept)

    def list(self) -> Sequence[Scope]:
        """What is set, without values."""
        return sorted(one.scope for one in self._read())

    def resolve(self, names: Sequence[str], environment: str, step: Step, preview: bool) -> Mapping[str, str]:
        """The values a step gets. Of several scopes the environment's own name wins, then the longest pattern.

        Raises StepError that names all that are missing, CorruptError when a value cannot be decrypted.
        """
        found = {name: self._find(name, environment, step, preview) for name in names} if names else {}
        missing = [name for name, sealed in found.items() if sealed is None]
        if missing:
            where = _PREVIEW if preview else environment
            raise StepError(
                f"no secret {', '.join(missing)} for {step} in {environment}",
                f"`mawasu secrets set {missing[0]} --environment {where} --step {step}`",
            )
        return {name: self._open(sealed) for name, sealed in found.items() if sealed is not None}

    def _find(self, name: str, environment: str, step: Step, preview: bool) -> _Sealed | None:
        fitting = [
            one
            for one in self._read()
            if (one.scope.name, one.scope.step) == (name, step) and _opens(one.scope.environment, environment, preview)
        ]
        return max(
            fitting, key=lambda one: (one.scope.environment == environment, len(one.scope.environment)), default=None
        )

    def _seal(self, scope: Scope, value: str) -> _Sealed:
        nonce = os.urandom(12)
        return _Sealed(scope, nonce, self._cipher().encrypt(nonce, value.encode(), msgspec.json.encode(scope)))

    def _open(self, sealed: _Sealed) -> str:
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher().decrypt(sealed.nonce, sealed.value, msgspec.json.encode(sealed.scope)).decode()
        except InvalidTag as error:
            raise CorruptError(
                f"the secret {sealed.scope.name} in {self._file} cannot be decrypted",
                f"set it again, or restore {self._key} and the file from one backup",
            ) from error

    def _cipher(self) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if not self._key.exists():
            if self._file.exists() and self._read():
                raise CorruptError(
                    f"{self._key} is gone, and with it every secret", "restore it, or unset and set them"
                )
            replace(self._key, AESGCM.generate_key(256))
        return AESGCM(self._key.read_bytes())

    def _read(self) -> Sequence[_Sealed]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=tuple[_Sealed, ...])
        except FileNotFoundError:
            return ()
        except msgspec.MsgspecError as error:
            raise CorruptError(f"{self._file} cannot be read: {error}", "restore it from a backup") from error

    def _write(self, sealed: Sequence[_Sealed]) -> None:
        replace(self._file, msgspec.json.encode(sorted(sealed, key=lambda one: one.scope)))


def _opens(pattern: str, environment: str, preview: bool) -> bool:
    """Whether a scope's environment covers this one."""
    if preview:
        return pattern == _PREVIEW or (pattern.startswith(_PREVIEW) and fnmatch.fnmatchcase(environment, pattern))
    return fnmatch.fnmatchcase(environment, pattern)
