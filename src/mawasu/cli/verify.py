"""`mawasu verify`: every stored object and every link of every ledger."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    app.command("verify", help="Check every object against its digest and every link of the ledgers.")(verify)


def verify(as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    import msgspec

    from mawasu.cli.context import home
    from mawasu.cli.output import emit, say
    from mawasu.cli.progress import progress
    from mawasu.errors import CorruptError
    from mawasu.ledger.verify import verify as check

    with progress("verifying", quiet=as_json) as tick:
        report = check(home(), tick)
    if as_json:
        emit(msgspec.to_builtins(report))
    else:
        for line in report.lines():
            say(line)
    if report.broken:
        raise CorruptError(f"{len(report.broken)} things are broken", "restore them from a backup of records/")
