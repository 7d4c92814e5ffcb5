"""`mawasu logs`: what the steps of a build wrote, live with -f."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    app.command("logs", help="Print the logs of a build's steps; -f follows it to its end.")(logs)


def logs(
    build: Annotated[int | None, typer.Argument(help="Its number (default: the newest).")] = None,
    step: Annotated[str | None, typer.Option("--step", "-s", help="One step only.")] = None,
    feature: Annotated[str | None, typer.Option("--feature", help="The feature, if there are several.")] = None,
    live: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the build is finished.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    import json

    from mawasu.cli.context import home, ledger
    from mawasu.cli.output import colour, safe, say
    from mawasu.errors import UsageError
    from mawasu.executor.tail import tail

    name, found = ledger(feature)
    number = build if build is not None else max(found.state().builds, default=0)
    if number not in found.state().builds:
        raise UsageError(f"{name} has no build {number}", "`mawasu builds` lists them")
    for where, line in tail(home(), found, name, number, step, live):
        if as_json:
            say(json.dumps({"step": where, "line": line}, ensure_ascii=False))
        else:
            say(f"{colour(where, 'dim')} {safe(line)}")
