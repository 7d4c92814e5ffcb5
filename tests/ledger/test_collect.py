"""Collection removes what nothing references, and never anything else, whatever happens meanwhile."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path

import pytest

from mawasu.errors import CorruptError
from mawasu.home import Home
from mawasu.ledger.collect import DAY, Report, collect
from mawasu.ledger.entries import BuildFinished, Collected, EnvironmentGone, StepFinished
from mawasu.ledger.ledger import Ledger
from mawasu.ledger.shelf import DirectoryShelf
from mawasu.ledger.verify import verify
from mawasu.store.artifacts import find, name_artifact
from mawasu.store.directory import DirectoryStore
from mawasu.words import Digest, Outcome, Result
from tests.ledger.ledger_tools import digest, finished_step, queued, run_python, whole_build, with_fault

SWEEP = """
import sys
from mawasu.home import Home
from mawasu.ledger.collect import collect
print(len(collect(Home(sys.argv[1])).objects))
"""

PUBLISH = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.ledger.ledger_tools import whole_build
from mawasu.home import Home
from mawasu.ledger.ledger import Ledger
from mawasu.ledger.shelf import DirectoryShelf
from mawasu.store.directory import DirectoryStore
home = Home(sys.argv[1])
store, ledger = DirectoryStore(home.store), Ledger(DirectoryShelf(home.ledger, "flight-delay", home.checkpoints))
for build in range(1, 13):
    tree, plan = store.put_tree(Path(sys.argv[3]) / f"{build}"), store.put_bytes(b"plan %d" % build)
    for body in whole_build(build, "main", "staging", tree, plan):
        ledger.append(body)
"""


class Made:
    """A home, and what tests do in it."""

    def __init__(self, path: Path) -> None:
        self.home = Home(path / "home")
        self.store = DirectoryStore(self.home.store)
        self.ledger = Ledger(DirectoryShelf(self.home.ledger, "flight-delay", self.home.checkpoints))
        self.path = path

    def put(self, text: str) -> Digest:
        return self.store.put_bytes(text.encode())

    def model(self, text: str) -> Digest:
        (self.path / text).mkdir()
        (self.path / text / "weights").write_text(text)
        return self.store.put_tree(self.path / text)

    def build(
        self, number: int, branch: str, environment: str, model: Digest, key: str = "", runs: bool = True
    ) -> None:
        for body in whole_build(number, branch, environment, model, self.put("plan"), key=key, runs=runs):
            self.ledger.append(body)

    def age(self) -> None:
        """Let everything that is stored be two days old."""
        for top in ("blobs", "named"):
            for path in (self.home.store / top).rglob("*"):
                os.utime(path, (time.time() - 2 * DAY,) * 2)

    def collect(self, previews: float = 30 * DAY) -> Report:
        """Collect with all objects old, and see that nothing needed is missing."""
        self.age()
        report = collect(self.home, previews=previews)
        assert verify(self.home).faults == ()
        return report


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def test_an_empty_home_has_nothing_to_collect(made: Made) -> None:
    assert collect(made.home, in_use=()) == Report(False)


def test_what_nothing_references_goes_and_the_rest_stays(made: Made) -> None:
    model, junk, tree = made.model("good"), made.put("junk"), made.model("orphan")
    made.build(1, "main", "staging", model)
    report = made.collect()
    assert set(report.objects) == {junk, tree, digest("orphan")}
    assert report.freed > len("junk" + "orphan")
    assert not made.store.has(junk)
    made.store.write_tree(model, made.path / "out")
    assert made.collect().objects == ()


def test_every_past_model_of_a_stable_environment_stays(made: Made) -> None:
    models = [made.model(f"model {number}") for number in range(4)]
    for number, model in enumerate(models, 1):
        made.build(number, "main", "staging", model)
    assert made.collect(previews=-1000).objects == ()
    assert all(made.store.has(model) for model in models)


def test_what_a_failed_step_wrote_goes(made: Made) -> None:
    output = made.put("half a model")
    made.ledger.append(queued(1))
    failed = Outcome(Result.FAILED, {"model": output})
    made.ledger.append(StepFinished(1, "train", digest("key"), failed))
    assert made.collect().objects == (), "the build still runs"
    made.ledger.append(BuildFinished(1, Result.FAILED))
    assert made.collect().objects == (output,)


def test_a_young_object_stays_until_it_is_old(made: Made) -> None:
    young = made.put("about to be named by an entry")
    assert collect(made.home).objects == ()
    made.age()
    assert made.put("about to be named by an entry") == young
    assert collect(made.home).objects == ()
    made.age()
    assert collect(made.home).objects == (young,)


def test_an_object_from_the_future_stays(made: Made) -> None:
    """The clock was set back after it was put."""
    path = made.home.store / "blobs" / "sha256"
    made.put("junk")
    (blob,) = path.glob("*/*")
    os.utime(blob, (time.time() + 3600,) * 2)
    assert collect(made.home, grace=0).objects == ()


def test_what_a_fact_or_a_plan_or_a_named_object_mentions_stays(made: Made) -> None:
    fact, snapshot, pinned, kept = made.put("fact"), made.put("snapshot"), made.put("pinned"), made.put("kept")
    plan = made.put(f'{{"data": "{snapshot}"}}')
    for body in whole_build(1, "main", "staging", made.model("m"), plan):
        made.ledger.append(body)
    predictions = Outcome(Result.OK, {}, 0.0, "", "", {"predictions": fact})
    made.ledger.append(StepFinished(1, "evaluate", digest("e"), predictions))
    made.store.create("snapshots/flights", pinned.encode())
    made.age()
    assert collect(made.home, keep=[kept]).objects == ()
    assert made.collect().objects == (kept,)


def test_what_only_a_deleted_preview_wrote_goes_after_its_time(made: Made) -> None:
    model = made.model("tried")
    made.build(1, "try", "preview-try", model)
    assert made.collect(previews=-1000).objects == (), "the preview is there"
    made.ledger.append(EnvironmentGone("preview-try", "branch deleted"))
    assert made.collect().objects == (), "it went just now"
    report = made.collect(previews=-1000)
    assert model in report.objects
    assert len(report.objects) == 2
    assert report.outdated == {"flight-delay": Collected((digest("key 1"),), (digest(f"release of {model}"),))}
    assert made.ledger.state().done == {}
    assert made.collect(previews=-1000) == Report(False)


def test_what_was_merged_from_a_deleted_preview_stays(made: Made) -> None:
    model = made.model("tried and merged")
    made.build(1, "try", "preview-try", model, key="same")
    made.build(2, "main", "staging", model, key="same", runs=False)
    made.ledger.append(EnvironmentGone("preview-try", "branch deleted"))
    assert made.collect(previews=-1000) == Report(False)
    assert digest("same") in made.ledger.state().done


def test_a_step_that_a_new_build_is_about_to_reuse_stays(made: Made) -> None:
    model = made.model("tried")
    made.build(1, "try", "preview-try", model, key="same")
    made.ledger.append(EnvironmentGone("preview-try", "branch deleted"))
    for body in whole_build(2, "main", "staging", model, made.put("plan"), key="same", runs=False)[:2]:
        made.ledger.append(body)
    made.collect(previews=-1000)
    assert made.store.has(model)
    assert digest("same") in made.ledger.state().done


def test_what_a_dirty_run_wrote_goes_after_its_time(made: Made) -> None:
    output = made.put("from a working tree")
    made.ledger.append(queued(1, dirty=True))
    made.ledger.append(finished_step(1, "key", output))
    assert made.collect(previews=-1000).objects == (), "it still runs"
    made.ledger.append(BuildFinished(1, Result.SERVED))
    assert made.collect(previews=-1000).objects == (output,)


def test_a_rehearsal_says_the_same_and_changes_nothing(made: Made) -> None:
    made.build(1, "try", "preview-try", made.model("tried"))
    made.ledger.append(EnvironmentGone("preview-try", "branch deleted"))
    made.put("junk")
    made.age()
    said = collect(made.home, previews=-1000, dry_run=True)
    assert made.ledger.state().done
    did = collect(made.home, previews=-1000)
    assert (said.objects, said.freed, said.outdated) == (did.objects, did.freed, did.outdated)
    assert len(did.objects) == 3


def test_the_name_of_what_is_gone_is_free_again(made: Made) -> None:
    junk, good = made.put("junk"), made.model("good")
    made.build(1, "main", "staging", good)
    name_artifact(made.store, "flight-delay", "try", "c1", "model", junk)
    name_artifact(made.store, "flight-delay", "main", "c2", "model", good)
    assert made.collect().names == ("names/flight-delay/try/c1/model",)
    assert find(made.store, "flight-delay/main/c2/model") == good
    assert name_artifact(made.store, "flight-delay", "try", "c1", "model", made.put("new"))


def test_a_damaged_ledger_or_manifest_stops_it_before_anything_goes(made: Made) -> None:
    model, junk = made.model("good"), made.put("junk")
    made.build(1, "main", "staging", model)
    made.age()
    path = made.home.store / "blobs" / "sha256" / model[7:9] / model[9:]
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b" ")
    with pytest.raises(CorruptError):
        collect(made.home)
    assert made.store.has(junk)


def test_killed_in_the_middle_of_a_sweep_a_rerun_converges(made: Made) -> None:
    model = made.model("good")
    made.build(1, "main", "staging", model)
    for number in range(6):
        made.put(f"junk {number}")
    made.model("orphan")
    made.age()
    run = run_python(SWEEP, made.home.path, before=with_fault("?unlink,unlinkat", "signal=KILL", 4))
    assert run.stdout == ""
    left = {digest for digest, _ in made.store.objects()}
    assert len(left) == 3 + 5
    assert not any(made.store.is_tree(digest) for digest in left - {model}), "manifests went first"
    assert len(made.collect().objects) == 5
    assert made.collect() == Report(False)


def test_nothing_that_is_being_published_is_removed(made: Made, tmp_path: Path) -> None:
    """One process stores models and names them in the ledger while collections run without a pause.

    All that it stores lies there already, old and referenced by nothing: what it puts and what they remove is the same.
    """
    for build in range(1, 13):
        (tmp_path / f"{build}").mkdir()
        for number in range(3):
            (tmp_path / f"{build}" / f"{number}").write_text(f"{number} of {build}")
        made.store.put_tree(tmp_path / f"{build}")
    made.age()
    errors: list[str] = []

    def publish() -> None:
        errors.append(run_python(PUBLISH, made.home.path, Path(__file__).parent, tmp_path).stderr)

    publisher = threading.Thread(target=publish)
    publisher.start()
    assert made.ledger.wait(1, 30)
    removed = 0
    while publisher.is_alive():
        removed += len(collect(made.home).objects)
    publisher.join()
    assert errors == [""]
    assert removed > 0, "there was something to fight for"
    assert made.ledger.state().number == 12 * 8
    assert verify(made.home).faults == ()


def test_the_cache_is_left_alone_unless_the_caller_knows_what_is_in_use(made: Made) -> None:
    (made.home.workspaces / "job").mkdir(parents=True)
    assert collect(made.home).paths == ()
    assert collect(made.home, in_use=()).paths == (made.home.workspaces / "job",)
    assert list(made.home.workspaces.iterdir()) == []


def test_workspaces_and_trees_in_use_stay_and_the_others_go(made: Made) -> None:
    model = made.model("served")
    made.build(1, "main", "staging", model)
    served = made.home.trees / model[7:]
    made.store.write_tree(model, served)
    other, used, free = made.home.trees / ("0" * 64), made.home.workspaces / "used", made.home.workspaces / "free"
    for path in (other, used, free / "locked"):
        path.mkdir(parents=True)
    (free / "locked" / "file").write_text("")
    (free / "locked").chmod(0o500)
    (free / "link").symlink_to(made.path)
    held = made.home.workspaces / "held"
    held.mkdir()
    fd = os.open(held, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        report = collect(made.home, in_use=[used])
    finally:
        os.close(fd)
    assert set(report.paths) == {other, free}
    assert served.is_dir()
    assert used.is_dir()
    assert held.is_dir()
    assert sorted(path.name for path in made.home.workspaces.iterdir()) == ["held", "used"]
    assert made.path.is_dir()


def test_what_killed_writers_left_goes(made: Made) -> None:
    script = """
import os, sys
from pathlib import Path
from mawasu.store.directory import DirectoryStore
store = DirectoryStore(Path(sys.argv[1]))
store._area.publish = lambda *_: os._exit(9)
store.put_bytes(b"never named")
"""
    run_python(script, made.home.store)
    (left,) = (made.home.store / "tmp").iterdir()
    assert collect(made.home, dry_run=True).paths == (left,)
    assert collect(made.home).paths == (left,)
    assert not left.exists()
