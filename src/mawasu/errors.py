"""What can go wrong, said once: a stable code, one line, a hint, an exit status.

Every expected error is a `MawasuError`; whoever stands at the boundary of a process prints `str(error)` and
leaves with `error.exit_status`. Anything else is a bug and keeps its traceback.
"""

from __future__ import annotations


class MawasuError(Exception):
    """An expected error: `code` is stable, `message` says place and cause, `hint` the next step."""

    code = "error"
    exit_status = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} — {self.hint}" if self.hint else self.message


class UsageError(MawasuError):
    """The command was called in a way or a place where it cannot work."""

    code = "usage"
    exit_status = 2


class SpecError(MawasuError):
    """A file that describes a feature has faults; `faults` holds all of them, in the order of the file."""

    code = "spec"
    exit_status = 3

    def __init__(self, faults: tuple[object, ...], hint: str = "") -> None:
        super().__init__("\n".join(str(fault) for fault in faults), hint)
        self.faults = faults


class StepError(MawasuError):
    """A step of a build did not succeed: the user's code, data or package is at fault."""

    code = "step"
    exit_status = 4


class BlockedError(MawasuError):
    """The gate, an example or the contract check said no; the old release serves on."""

    code = "blocked"
    exit_status = 5


class CorruptError(MawasuError):
    """Stored bytes are not what their digest says, or a link of the ledger is broken."""

    code = "corrupt"
    exit_status = 6


class PlatformError(MawasuError):
    """The machine or a server on it did not do what was asked (disk full, port taken, Envoy refused)."""

    code = "platform"
    exit_status = 7


class CancelledError(MawasuError):
    """The work was given up on purpose: superseded by a newer push, or stopped by its owner."""

    code = "cancelled"
    exit_status = 8
