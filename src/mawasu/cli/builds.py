"""`mawasu builds`: what the pushes of a feature caused."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    app.command("builds", help="List the builds of a feature, newest first.")(builds)


def builds(
    feature: Annotated[str | None, typer.Argument(help="The feature (not needed if there is one).")] = None,
    number: Annotated[int, typer.Option("-n", help="How many.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    from mawasu.cli.context import ledger
    from mawasu.cli.output import ago, emit, table
    from mawasu.words import short

    name, found = ledger(feature)
    state = found.state()
    rows = [state.builds[one] for one in sorted(state.builds, reverse=True)[:number]]
    if as_json:
        emit([as_value(build) for build in rows])
        return
    table(
        ["build", "branch", "commit", "environment", "result", "when", "reason"],
        [
            [
                build.number,
                build.push.branch,
                short(build.push.new or "deleted"),
                build.environment or "—",
                build.result or "building",
                ago(build.finished or build.queued),
                build.reason,
            ]
            for build in rows
        ],
        f"no builds of {name} yet",
    )


def as_value(build: object) -> object:
    """A build as JSON values."""
    import msgspec

    return msgspec.to_builtins(build)
