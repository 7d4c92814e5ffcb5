"""`mawasu secrets`: values that steps are given, encrypted at rest, by environment and step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mawasu.cli.arguments import Verbs

if TYPE_CHECKING:
    from mawasu.platforms.local.secrets import Secrets

Step = Literal["training", "api"]
STEPS: tuple[Step, ...] = ("training", "api")


def register(verbs: Verbs) -> None:
    secrets = verbs.group("secrets", "Set, list and unset secrets.")
    help = "Set a secret; its value is read from the terminal or standard input, never an argument."
    verb = secrets.add("set", set_secret, help)
    verb.add_argument("name")
    verb.add_argument("--environment", "-e", default="*", help="Environment, or a pattern such as `*`.")
    verb.add_argument("--step", "-s", choices=STEPS, help="One step only (default: both).")
    secrets.add("list", list_secrets, "List names and scopes; values are never shown.").json()
    verb = secrets.add("unset", unset, "Forget a secret: everywhere, or in one environment or step.")
    verb.add_argument("name")
    verb.add_argument("--environment", "-e", help="One environment only.")
    verb.add_argument("--step", "-s", choices=STEPS, help="One step only (default: both).")


def set_secret(name: str, environment: str, step: Step | None) -> None:
    import getpass
    import sys

    from mawasu.cli.output import say

    value = getpass.getpass(f"{name}: ") if sys.stdin.isatty() else sys.stdin.read().rstrip("\n")
    _secrets().set(name, value, environment, (step,) if step else STEPS)
    say(f"{name} is set for {step or 'training and api'} in environment {environment}")


def list_secrets(as_json: bool) -> None:
    import msgspec

    from mawasu.cli.output import emit, table

    found = _secrets().list()
    if as_json:
        emit([msgspec.to_builtins(one) for one in found])
        return
    table(["name", "environment", "step"], [[one.name, one.environment, one.step] for one in found], "no secrets")


def unset(name: str, environment: str | None, step: Step | None) -> None:
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
