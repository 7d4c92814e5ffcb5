"""`mawasu gc`: remove what nothing references."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    app.command("gc", help="Remove stored objects and caches that nothing references. Released models stay.")(gc)


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    import msgspec

    from mawasu.cli.context import home
    from mawasu.cli.output import emit, say
    from mawasu.ledger.collect import collect

    report = collect(home(), dry_run=dry_run)
    if as_json:
        emit(msgspec.to_builtins(report))
    else:
        for line in report.lines():
            say(line)
