"""What a command line may say, in argparse: it is there already, and loads in a tenth of what a framework takes."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

Do = Callable[..., None]


class Verb(argparse.ArgumentParser):
    """The arguments of one verb; they reach its function by their names (`dest`)."""

    def flag(self, *names: str, dest: str, help: str) -> None:
        self.add_argument(*names, dest=dest, action="store_true", help=help)

    def json(self, help: str = "For machines.") -> None:
        self.flag("--json", dest="as_json", help=help)

    def records(self) -> None:
        help = "Read these records, gs://BUCKET, from anywhere (default: $MAWASU_RECORDS, or the home's)."
        self.add_argument("--records", metavar="URL", help=help)


class Verbs:
    """Some verbs, each with what does it."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        parser.set_defaults(do=lambda: _explain(parser))
        self._into = parser.add_subparsers(title="verbs", metavar="VERB", parser_class=Verb)

    def add(self, name: str, do: Do, help: str) -> Verb:
        verb = self._add(name, help)
        verb.set_defaults(do=do)
        return verb

    def group(self, name: str, help: str) -> Verbs:
        """A verb that has verbs of its own."""
        return Verbs(self._add(name, help))

    def _add(self, name: str, help: str) -> Verb:
        return self._into.add_parser(name, help=help, description=help, allow_abbrev=False)


def perform(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> None:
    """Do what the command line says. Leaves with status 2 and the usage for one that is not understood."""
    chosen: dict[str, Any] = vars(parser.parse_args(argv))
    do: Do = chosen.pop("do")
    do(**chosen)


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """The type of a whole number within bounds."""

    def parse(text: str) -> int:
        value = int(text)
        if value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"{value} is not in {least}…{'' if most is None else most}")
        return value

    parse.__name__ = "whole number"  # argparse says it of what is none
    return parse


def seconds(least: float) -> Callable[[str], float]:
    """The type of a time with a lower bound."""

    def parse(text: str) -> float:
        value = float(text)
        if not value >= least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least:g}")
        return value

    parse.__name__ = "number of seconds"
    return parse


def _explain(parser: argparse.ArgumentParser) -> None:
    parser.print_help()
    raise SystemExit(2)
