"""The composition of all verbs, and the one error boundary. What is heavy is imported by the verb that needs it."""

from __future__ import annotations

import sys

import typer

from mawasu.errors import MawasuError

app = typer.Typer(
    name="mawasu",
    help="git push a branch, get a trained, judged and served model behind an authenticated gateway.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # rich costs 90 ms of `mawasu --help`
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit status: 0 fine, 1 error, 2 usage, 3 faulty mawasu.yaml, 4 a step failed, 5 blocked, 6 corrupt, "
    "7 machine, 8 cancelled. `mawasu docs` has the manual.",
)


def main() -> None:
    """Entry point of the command."""
    from mawasu.cli import verbs

    verbs.register(app)
    try:
        app()
    except MawasuError as error:
        from mawasu.cli.output import print_error

        print_error(error)
        sys.exit(error.exit_status)
    except BrokenPipeError:  # `mawasu builds | head`
        sys.stderr.close()
        sys.exit(0)


if __name__ == "__main__":
    main()
