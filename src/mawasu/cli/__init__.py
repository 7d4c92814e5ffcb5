"""The command line: one file per verb; the only printer."""

from mawasu.cli.main import main

__all__ = ["main"]
