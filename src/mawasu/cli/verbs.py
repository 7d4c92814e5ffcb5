"""All verbs, in the order of `mawasu --help`."""

from __future__ import annotations

from mawasu.cli import (
    build,
    builds,
    check,
    data,
    docs,
    down,
    gateway,
    gc,
    gcp,
    init,
    keys,
    logs,
    metrics,
    plan,
    predictions,
    reconcile,
    run,
    secrets,
    show,
    status,
    top,
    up,
    verify,
    watch,
)
from mawasu.cli.arguments import Verbs


def register(verbs: Verbs) -> None:
    for verb in (
        init,
        check,
        plan,
        run,
        data,
        up,
        down,
        status,
        builds,
        show,
        logs,
        top,
        metrics,
        predictions,
        gateway,
        keys,
        secrets,
        watch,
        verify,
        gc,
        gcp,
        build,
        reconcile,
        docs,
    ):
        verb.register(verbs)
