"""`mawasu secrets`: values that steps are given, encrypted at rest, by environment and step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from mawasu.platforms.local.secrets import Secrets

secrets = typer.Typer(help="Set, list and unset secrets.", no_args_is_help=True, rich_markup_mode=None)

Environment = Annotated[str, typer.Option("--environment", "-e", help="Environment, or a pattern such as `*`.")]
Step = Annotated[Literal["training", "api"] | None, typer.Option("--step", "-s", help="One step only (default: both).")]


def register(app: typer.Typer) -> None:
    app.add_typer(secrets, name="secrets")


@secrets.command("set", help="Set a secret; its value is read from the terminal or standard input, never an argument.")
def set_secret(name: str, environment: Environment = "*", step: Step = None) -> None:
    import getpass
    import sys

    from mawasu.cli.output import say

    value = getpass.getpass(f"{name}: ") if sys.stdin.isatty() else sys.stdin.read().rstrip("\n")
    _secrets().set(name, value, environment, (step,) if step else ("training", "api"))
    say(f"{name} is set for {step or 'training and api'} in environment {environment}")


@secrets.command("list", help="List names and scopes; values are never shown.")
def list_secrets(as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    import msgspec

    from mawasu.cli.output import emit, table

    found = _secrets().list()
    if as_json:
        emit([msgspec.to_builtins(one) for one in found])
        return
    table(["name", "environment", "step"], [[one.name, one.environment, one.step] for one in found], "no secrets")


@secrets.command("unset", help="Forget a secret: everywhere, or in one environment or step.")
def unset(
    name: str,
    environment: Annotated[str | None, typer.Option("--environment", "-e", help="One environment only.")] = None,
    step: Step = None,
) -> None:
    from mawasu.cli.output import say
    from mawasu.errors import UsageError

    gone = _secrets().unset(name, environment, step)
    if not gone:
        raise UsageError(f"there is no secret {name} of that scope", "`mawasu secrets list` shows what there is")
    say(f"{name} is forgotten ({gone} value{'' if gone == 1 else 's'})")


def _secrets() -> Secrets:
    from mawasu.cli.context import home
    from mawasu.platforms.local.secrets import Secrets

    return Secrets(home().create())
