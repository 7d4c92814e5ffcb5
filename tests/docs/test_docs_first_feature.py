"""The README's first feature, typed as it stands there: a stranger's home, a free port, real packages."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.docs.pages import ROOT

MARK = "<!-- first-feature:"


class Stranger(NamedTuple):
    """Somebody with an empty home, and `mawasu` on the path."""

    folder: Path
    environ: dict[str, str]
    port: int

    def type(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run shell as typed, but on a free port; what was printed."""
        there = script.replace("mawasu up", f"mawasu up --port {self.port}").replace(":8080", f":{self.port}")
        return subprocess.run(
            ["/bin/bash", "-ec", there],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=160,
        )


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    folder = Path(tempfile.mkdtemp(prefix="mawasu-docs-"))
    home, bin_ = folder / "home", folder / "bin"
    for directory in (home, bin_):
        directory.mkdir()
    (home / ".gitconfig").write_text("[user]\n\tname = A stranger\n\temail = stranger@example.org\n")
    command = bin_ / "mawasu"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "from mawasu.cli import main; main()" "$@"\n')
    command.chmod(0o755)
    left_out = {"MAWASU_HOME", "PYTHONDONTWRITEBYTECODE", "PYTHONWARNINGS"}
    environ = {name: value for name, value in os.environ.items() if name not in left_out}
    environ |= {"HOME": str(home), "PATH": f"{bin_}:{environ['PATH']}", "PYTHONPATH": str(ROOT / "src")}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    who = Stranger(folder, environ, port)
    try:
        yield who
    finally:
        who.type("mawasu down")
        shutil.rmtree(folder)


def commands() -> str:
    """The block of the README that is marked."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition(MARK)[2]
    found = re.search(r"```sh\n(.*?)```", text, re.DOTALL)
    assert found
    return found[1]


def test_the_first_feature_of_the_readme_has_six_commands() -> None:
    assert len(commands().strip().splitlines()) == 6


@pytest.mark.slow
def test_the_first_feature_of_the_readme_is_served_to_whoever_has_a_key(stranger: Stranger) -> None:
    *making, asking = commands().strip().splitlines()
    done = stranger.type("\n".join([*making, asking, asking.replace('-H "x-api-key: $KEY" ', "-w ' %{http_code}' ")]))

    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "build 1 served: staging serves no-show/main/" in said, said
    with_key, without = re.findall(r"\{.*?\}", done.stdout)[-2:]
    assert 0.6 < json.loads(with_key)["no_show"] < 0.7, said
    assert json.loads(without)["code"] == 401
    assert done.stdout.endswith(" 401")

    down = stranger.type("mawasu down && mawasu status")
    assert "mawasu is not up" in down.stdout
