"""The files that a `mawasu.yaml` names and mawasu itself reads: their faults are found before anything runs."""

from __future__ import annotations

from collections.abc import Callable

from mawasu.errors import SpecError
from mawasu.executor.commit import CommitOf
from mawasu.executor.deploy import examples_of
from mawasu.gateway.openapi import parse as parse_openapi

CheckApi = Callable[[str, str], object]
"""An OpenAPI document's text and path: raises SpecError for what the platform's gateway cannot hold."""


def faults_of(at: CommitOf, check_api: CheckApi = parse_openapi) -> list[object]:
    """Every fault of data.lock, the examples and the OpenAPI document, in this order."""
    found: list[object] = []

    def collect(read: Callable[[], object]) -> None:
        try:
            read()
        except SpecError as error:
            found.extend(error.faults)

    collect(at.locked)
    collect(lambda: examples_of(at))
    if at.feature.auth is not None:
        openapi = at.feature.auth.openapi
        collect(lambda: check_api(at.text(openapi), openapi))
    return found
