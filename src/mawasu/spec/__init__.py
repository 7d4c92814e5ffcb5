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
    name: object = None
    if (root := parse(text).root) is not None:
        node = root.get("feature")
        name = node.value if node else None
    else:
        line = re.search(
            r"""^feature\s*:\s*(["']?)([a-z0-9-]+)\1\s*(#.*)?$""", text.removeprefix("\ufeff"), re.MULTILINE
        )
        name = line[2] if line else None
    return name if isinstance(name, str) and re.fullmatch(units.NAME, name) else None
