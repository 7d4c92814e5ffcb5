"""The demo's pushes, on one machine and on Google's double: the same keys, verdicts and reuse, training job and all.

`make demo-both` runs it: two demos take minutes. What it shows is held in every run by tests/gcp/test_story.py, with a
small feature.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from demo import run as demo

from tests.gcp.story import GCP, Google, google
from tests.gcp.test_story import verdicts


class Both(demo.Demo):
    """The demo, each of whose pushes goes to both."""

    world: Google
    compared: int = 0

    def push(self, branch: str, title: str, expect: str) -> None:
        super().push(branch, title, expect)
        self.world.push(branch)
        here = json.loads(self.mawasu("show", "--json", quiet=True))
        there, plan = self.world.build("flight-delay"), self.world.plan("flight-delay")
        assert [(one.name, one.key, one.reused) for one in plan.steps] == [
            (one["name"], one["key"], one.get("reused")) for one in here["plan"]["steps"]
        ], title
        assert (there.result, plan.gate) == (here["build"]["result"], here["plan"]["gate"]), title
        assert verdicts(there) == _told(here["build"]), title
        self.compared += 1


def _told(build: Any) -> list[Any]:
    outcomes = [step["outcome"] for step in build["steps"] if step.get("outcome")]
    return [one["facts"]["verdict"] for one in outcomes if "verdict" in one.get("facts", {})]


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Both]:
    work = Path(tempfile.mkdtemp(prefix="md-"))  # short: sockets lie below it
    work.chmod(0o755)
    made = Both(work, demo.free_port())
    try:
        with google(tmp_path, monkeypatch) as world:
            made.world = world
            demo.prepare(made)
            with (made.repo / "mawasu.yaml").open("a") as file:
                file.write("\n" + GCP)
            subprocess.run(["git", "commit", "-qam", "Google Cloud"], cwd=made.repo, env=made.environ, check=True)
            world.repo = made.repo
            world.apply()
            yield made
    finally:
        made.mawasu("down", quiet=True)
        shutil.rmtree(work)


@pytest.mark.timeout(600)
def test_the_demo_goes_the_same_way_on_both(both: Both) -> None:
    demo.story(both)
    assert both.compared == 7
