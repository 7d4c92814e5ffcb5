"""The composition of all verbs, and the one error boundary. What is heavy is imported by the verb that needs it."""

from __future__ import annotations

import argparse
import sys

from mawasu import __version__
from mawasu.cli import verbs
from mawasu.cli.arguments import Verbs, perform
from mawasu.errors import MawasuError

_ABOUT = "git push a branch, get a trained, judged and served model behind an authenticated gateway."
_EPILOG = (
    "Exit status: 0 fine, 1 error, 2 usage, 3 faulty mawasu.yaml, 4 a step failed, 5 blocked, 6 corrupt, "
    "7 machine, 8 cancelled. `mawasu docs` has the manual."
)


def parser() -> argparse.ArgumentParser:
    """All of the command line."""
    found = argparse.ArgumentParser("mawasu", description=_ABOUT, epilog=_EPILOG, allow_abbrev=False)
    found.add_argument("--version", action="version", version=f"mawasu {__version__}", help="Which mawasu this is.")
    verbs.register(Verbs(found))
    return found


def main() -> None:
    """Entry point of the command."""
    try:
        perform(parser())
    except MawasuError as error:
        from mawasu.cli.output import print_error

        print_error(error)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        sys.exit(130)  # as a shell tells it: 128 + SIGINT
    except BrokenPipeError:  # `mawasu builds | head`
        sys.stderr.close()
        sys.exit(0)


if __name__ == "__main__":
    main()
