"""text of `mawasu.yaml` → `Feature`: parse, validate, complete. Pure: no files, clocks, processes, network.

The annotated examples under `spec/examples/` are the manual of the file.
"""

from __future__ import annotations

import re

from mawasu.errors import SpecError
from mawasu.spec import units
from mawasu.spec.complete import complete
from mawasu.spec.faults import Fault
from mawasu.spec.feature import Feature
from mawasu.spec.parse import Document, parse
from mawasu.spec.validate import validate

__all__ = ["Document", "Fault", "Feature", "complete", "feature_name", "load", "parse", "validate"]


def load(text: str, *, file: str = "mawasu.yaml", root: str = "", paths: frozenset[str] | None = None) -> Feature:
    """The feature that the text describes. Raises SpecError with all its faults.

    `file` is how faults name the text; `root` the directory of the file in its repository ("" for the top); `paths`
    the files below that directory, relative to it: with them, a path that names nothing is a fault.
    """
    document = parse(text, file=file)
    if faults := validate(document, paths):
        raise SpecError(faults)
    return complete(document, root=root)


def feature_name(text: str) -> str | None:
    """The feature's name, though the rest be faulty or no YAML at all: a failed build is recorded under it."""
    for line in text.removeprefix("\ufeff").splitlines():
        found = re.match(r"""feature\s*:\s*(["']?)([^\s"']+)\1\s*(#.*)?$""", line)
        if found:
            return found[2] if re.fullmatch(units.NAME, found[2]) else None
    return None
