"""`mawasu logs`: what the steps of a build wrote, live with -f."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mawasu.ledger.ledger import Ledger


def register(app: typer.Typer) -> None:
    app.command("logs", help="Print the logs of a build's steps; -f follows it to its end.")(logs)


def logs(
    build: Annotated[int | None, typer.Argument(help="Its number (default: the newest).")] = None,
    step: Annotated[str | None, typer.Option("--step", "-s", help="One step only.")] = None,
    feature: Annotated[str | None, typer.Option("--feature", help="The feature, if there are several.")] = None,
    live: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the build is finished.")] = False,
    environment: Annotated[
        str | None, typer.Option("--environment", "-e", help="What serves this environment, instead of a build.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    import json

    from mawasu.cli.context import home, ledger
    from mawasu.cli.output import colour, safe, say
    from mawasu.errors import UsageError
    from mawasu.executor.tail import tail

    name, found = ledger(feature)
    if environment is not None:
        for line in _served(found, environment):
            say(json.dumps({"step": environment, "line": line}, ensure_ascii=False) if as_json else safe(line))
        return
    number = build if build is not None else max(found.state().builds, default=0)
    if number not in found.state().builds:
        raise UsageError(f"{name} has no build {number}", "`mawasu builds` lists them")
    for where, line in tail(home(), found, name, number, step, live):
        if as_json:
            say(json.dumps({"step": where, "line": line}, ensure_ascii=False))
        else:
            say(f"{colour(where, 'dim')} {safe(line)}")


def _served(ledger: Ledger, environment: str) -> list[str]:
    """What the processes of an environment's revision wrote last: tracebacks of the handler among it."""
    from mawasu.cli.context import services
    from mawasu.errors import UsageError

    known = ledger.state().environments
    if environment not in known:
        raise UsageError(f"no environment `{environment}`", "there are " + (", ".join(known) or "none yet: push first"))
    serving = known[environment].serving
    if serving is None:
        raise UsageError(f"{environment} serves nothing", "`mawasu status` says why")
    return services().logs(serving.revision)
