"""All verbs, in the order of `mawasu --help`."""

from __future__ import annotations

import typer

from mawasu.cli import (
    builds,
    check,
    data,
    docs,
    down,
    gc,
    init,
    keys,
    logs,
    plan,
    run,
    secrets,
    show,
    status,
    up,
    verify,
    watch,
)


def register(app: typer.Typer) -> None:
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
        keys,
        secrets,
        watch,
        verify,
        gc,
        docs,
    ):
        verb.register(app)
