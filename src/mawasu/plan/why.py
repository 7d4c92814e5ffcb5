"""Why a step runs, in the words of who pushed."""

from __future__ import annotations

from collections.abc import Mapping

SHOWN = 3
"""How many changes a line names before it counts the rest."""


def why_it_runs(inputs: Mapping[str, str], before: Mapping[str, str] | None) -> str:
    """Name what differs between a step's inputs now and in an earlier plan (None: there is none)."""
    if before is None:
        return "runs for the first time"
    changed = [name for name, value in inputs.items() if before.get(name) != value]
    gone = [name for name in before if name not in inputs]
    own = [_changed(name, name in before) for name in changed if not name.startswith("step ")]
    own += [f"{name} is gone" for name in gone if not name.startswith("step ")]
    if not own:
        own = [f"{name.removeprefix('step ')} is another one" for name in [*changed, *gone]]
    if not own:
        return "runs because no earlier build finished it"
    rest = len(own) - SHOWN
    return "runs because " + ", ".join(own[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _changed(name: str, known: bool) -> str:
    return f"{name} changed" if known else f"{name} is new"
