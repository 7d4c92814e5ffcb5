"""All faults of a parsed `mawasu.yaml` at once. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mawasu.spec import presence, references
from mawasu.spec.faults import Fault, dotted, in_order
from mawasu.spec.kinds import BAD, Place
from mawasu.spec.language import MAWASU_YAML
from mawasu.spec.parse import Document, Node
from mawasu.spec.references import Finding


def validate(document: Document, paths: frozenset[str] | None = None) -> tuple[Fault, ...]:
    """The faults in the order of the file, none when it is good.

    `paths` are the files of the repository from the feature's root; None leaves out what only they can tell.
    """
    if document.root is None:
        return document.faults
    faults = list(document.faults)
    values = MAWASU_YAML.read(document.root, Place(document.file, faults))
    if values is BAD:
        return in_order(faults)
    found = list(references.findings(document.root, values))
    if paths is not None:
        found += presence.findings(values, paths)
    return in_order([*faults, *placed(document.file, document.root, found)])


def placed(file: str, root: Node, found: Iterable[Finding]) -> Iterator[Fault]:
    """Findings with their line and column; those of a value that is not there are what should hold it."""
    for finding in found:
        node, missing = root, False
        for step in finding.path:
            inner = node.get(step)
            missing = inner is None
            if inner is None:
                break
            node = inner
        place = node.key_place if finding.on_key and not missing else node.place
        yield Fault(file, *place, dotted(finding.path), finding.message, finding.hint)
