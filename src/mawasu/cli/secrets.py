"""`mawasu secrets`: values that steps are given, encrypted at rest, by environment and step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mawasu.platforms.local.secrets import Secrets

secrets = typer.Typer(help="Set, list and unset secrets.", no_args_is_help=True, rich_markup_mode=None)

Environment = Annotated[str, typer.Option("--environment", "-e", help="Environment, or a pattern such as `*`.")]
Step = Annotated[str, typer.Option("--step", "-s", help="`training`, `api`, or `*` for both.")]


def register(app: typer.Typer) -> None:
    app.add_typer(secrets, name="secrets")


@secrets.command("set", help="Set a secret; its value is read from the terminal or standard input, never an argument.")
def set_secret(name: str, environment: Environment = "*", step: Step = "*") -> None:
    import getpass
    import sys

    from mawasu.cli.output import say

    value = getpass.getpass(f"{name}: ") if sys.stdin.isatty() else sys.stdin.read().rstrip("\n")
    _secrets().set(name, value, environment, step)
    say(f"{name} is set for environment {environment}, step {step}")


@secrets.command("list", help="List names and scopes; values are never shown.")
def list_secrets(as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    import msgspec

    from mawasu.cli.output import emit, table

    found = _secrets().list()
    if as_json:
        emit([msgspec.to_builtins(one) for one in found])
        return
    table(["name", "environment", "step"], [[one.name, one.environment, one.step] for one in found], "no secrets")


@secrets.command("unset", help="Forget a secret.")
def unset(name: str, environment: Environment = "*", step: Step = "*") -> None:
    from mawasu.cli.output import say

    _secrets().unset(name, environment, step)
    say(f"{name} is forgotten for environment {environment}, step {step}")


def _secrets() -> Secrets:
    from mawasu.cli.context import home
    from mawasu.platforms.local.secrets import Secrets

    return Secrets(home().create())
