"""All that tests make lies in one temporary directory, which goes with the run: also what a home puts beside itself
(the short stand-in for its sockets)."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

MADE = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:  # the environment already has the directory of the whole run
        return
    made = Path(tempfile.mkdtemp(prefix="mt-"))
    made.chmod(0o755)  # code in the sandbox is another user
    config.stash[MADE] = made
    os.environ["TMPDIR"] = str(made)
    tempfile.tempdir = None  # look again


def pytest_unconfigure(config: pytest.Config) -> None:
    if MADE in config.stash:
        shutil.rmtree(config.stash[MADE], ignore_errors=True)
