"""Names of branches: which are taken, and how any name at all is shown. Standard library only: the hook runs this."""

from __future__ import annotations

import re

LONGEST = 200
"""Characters. A branch becomes part of artifact names, addresses and file names, which end at 255 bytes."""

_ALLOWED = re.compile(r"[A-Za-z0-9._/+-]+")


def safe_branch(name: str) -> str | None:
    """None for a branch name that can be shown and used anywhere, else the reason why not.

    Narrower than git's own rules (git-check-ref-format(1)), which take `$(touch x)`, `<script>` and `--upload-pack=x`.
    """
    if not name:
        return "it is empty"
    if len(name) > LONGEST:
        return f"it is longer than {LONGEST} characters"
    if not _ALLOWED.fullmatch(name):
        return "only letters, digits and . _ / + - may stand in it"
    if name.startswith("-"):
        return "it starts with -"
    if ".." in name:
        return ".. stands in it"
    parts = name.split("/")
    if not all(parts):
        return "/ may only stand between two parts"
    if any(part.startswith(".") for part in parts):
        return "a part of it starts with ."
    if name.endswith(".") or any(part.endswith(".lock") for part in parts):
        return "it ends with . or .lock"
    return None


def shown(name: str, width: int = 80) -> str:
    """Any text, quoted so that a terminal shows it and does nothing else: no controls, no right-to-left override."""
    quoted = ascii(name)
    return quoted if len(quoted) <= width else quoted[: width - 2] + "…" + quoted[-1]
