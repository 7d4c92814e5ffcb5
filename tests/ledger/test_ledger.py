"""The ledger on disk: one order, whoever writes; nothing lost, nothing twice; and quick however long."""

from __future__ import annotations

import itertools
import threading
import time
from pathlib import Path

import pytest

from mawasu.errors import BlockedError, CorruptError
from mawasu.ledger import checkpoints
from mawasu.ledger.entries import AnyBody, BuildFinished, BuildQueued, Entry, encode
from mawasu.ledger.fold import State, apply, unfinished
from mawasu.ledger.ledger import Ledger
from mawasu.ledger.shelf import DirectoryShelf, entry_path, features
from mawasu.ledger.table import Table
from mawasu.words import Result, digest_of
from tests.ledger.ledger_tools import (
    digest,
    finished_step,
    queued,
    run_python,
    whole_build,
    with_fault,
    with_small_disk,
)

APPEND = """
import sys
from pathlib import Path
from mawasu.errors import PlatformError
from mawasu.ledger.entries import BuildQueued
from mawasu.ledger.ledger import Ledger
from mawasu.ledger.shelf import DirectoryShelf
from mawasu.words import Push
home, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
ledger = Ledger(DirectoryShelf(home / "ledger", "flight-delay", home / "checkpoints"))
print("started", flush=True)
try:
    for number in range(count):
        push = Push(name, "main", None, None)
        entry = ledger.append(BuildQueued(number, push, ""))
        print(entry.number, flush=True)
except PlatformError as error:
    print("REFUSED", error, flush=True)
"""


class Place:
    """A home with one ledger that can be opened anew."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ledger = path / "ledger"
        self.checkpoints = path / "checkpoints"

    def open(self) -> Ledger:
        return Ledger(DirectoryShelf(self.ledger, "flight-delay", self.checkpoints))

    def entry(self, number: int) -> Path:
        return entry_path(self.ledger, "flight-delay", number)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def fill(ledger: Ledger, count: int) -> None:
    for number in range(1, count + 1):
        ledger.append(queued(number))


def rewrite(path: Path, old: bytes, new: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(old, new))


def test_opening_a_ledger_touches_nothing(place: Place) -> None:
    assert place.open().state() == State()
    assert list(place.open().entries()) == []
    assert list(place.path.iterdir()) == []
    assert features(place.ledger) == []


def test_entries_come_back_in_order_and_hold_each_others_digests(place: Place) -> None:
    bodies = whole_build(1, "main", "staging", digest("m"), digest("p"))
    written = [place.open().append(body) for body in bodies]
    assert list(place.open().entries()) == written
    assert [entry.number for entry in written] == list(range(1, len(bodies) + 1))
    for before, after in itertools.pairwise(written):
        assert after.previous == digest_of(place.entry(before.number).read_bytes())
    assert features(place.ledger) == ["flight-delay"]


def test_entries_can_be_read_from_any_number(place: Place) -> None:
    fill(place.open(), 5)
    assert [entry.number for entry in place.open().entries(4)] == [4, 5]
    assert list(place.open().entries(6)) == []


def test_the_state_is_the_fold_of_all_entries(place: Place) -> None:
    ledger = place.open()
    for body in whole_build(1, "main", "staging", digest("m"), digest("p")):
        ledger.append(body)
    state = State()
    for entry in ledger.entries():
        state = apply(state, entry)
    assert ledger.state() == state == place.open().state()


def test_a_state_in_hand_is_not_changed_by_later_entries(place: Place) -> None:
    ledger = place.open()
    fill(ledger, 2)
    before = ledger.state()
    builds = dict(before.builds)
    ledger.append(BuildFinished(1, Result.SERVED))
    assert before.number == 2
    assert before.builds == builds
    assert ledger.state().builds[1].result is Result.SERVED


def test_a_ledger_sees_what_another_wrote(place: Place) -> None:
    one, other = place.open(), place.open()
    fill(one, 3)
    assert other.state().number == 3
    other.append(BuildFinished(1, Result.FAILED))
    assert one.state().builds[1].result is Result.FAILED
    assert one.append(BuildFinished(2, Result.FAILED)).number == 5


def test_a_guard_sees_the_newest_state_and_can_withdraw(place: Place) -> None:
    one, other = place.open(), place.open()
    fill(one, 1)
    one.state()
    other.append(BuildFinished(1, Result.SUPERSEDED))

    def unless_finished(state: State) -> None:
        if not unfinished(state):
            raise BlockedError("build 1 is over")

    with pytest.raises(BlockedError):
        one.append(BuildFinished(1, Result.SERVED), unless_finished)
    assert one.state().number == 2


def test_a_guard_is_asked_again_when_another_writer_was_first(place: Place) -> None:
    one, other = place.open(), place.open()
    seen: list[int] = []

    def meddle(state: State) -> None:
        seen.append(state.number)
        if len(seen) < 3:
            other.append(queued(len(seen)))

    assert one.append(queued(9), meddle).number == 3
    assert seen == [0, 1, 2]


def test_a_waiter_is_woken_by_its_own_process_and_finds_what_others_wrote(place: Place) -> None:
    ledger, other = place.open(), place.open()
    assert not ledger.wait(1, 0.05)
    for writer in (ledger, other):
        number = ledger.state().number + 1
        thread = threading.Thread(target=writer.append, args=(queued(number),))
        thread.start()
        assert ledger.wait(number, 10)
        thread.join()


def test_threads_that_write_at_once_lose_nothing(place: Place) -> None:
    ledger = place.open()

    def write(name: int) -> None:
        for number in range(10):
            ledger.append(finished_step(name, f"{name} {number}", digest("m")))
            assert ledger.state().number >= number

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(place.open().state().done) == 40


def test_processes_that_write_at_once_lose_nothing_and_write_nothing_twice(place: Place) -> None:
    outputs: dict[str, list[str]] = {}

    def run(name: str) -> None:
        outputs[name] = run_python(APPEND, place.path, name, 60).stdout.split()[1:]

    threads = [threading.Thread(target=run, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = list(place.open().entries())
    assert len(entries) == 180
    for name, numbers in outputs.items():
        mine = [entry for entry in entries if isinstance(entry.body, BuildQueued) and entry.body.push.project == name]
        assert [str(entry.number) for entry in mine] == numbers
        assert [entry.body.build for entry in mine if isinstance(entry.body, BuildQueued)] == list(range(60))


def test_killed_at_any_fsync_acknowledged_entries_are_there_and_a_restart_goes_on(place: Place) -> None:
    for when in range(1, 16, 2):
        home = Place(place.path / f"{when}")
        run = run_python(APPEND, home.path, "a", 4, before=with_fault("fsync,fdatasync", "signal=KILL", when))
        assert run.stdout.startswith("started"), run.stderr
        acknowledged = len(run.stdout.split()) - 1
        durable = list(home.open().entries())
        assert acknowledged <= len(durable) <= acknowledged + 1
        assert [entry.number for entry in durable] == list(range(1, len(durable) + 1))
        assert home.open().append(queued(9)).number == len(durable) + 1
    assert acknowledged == 4, "the last kill came after the last fsync"


def test_an_fsync_that_fails_fails_the_entry_and_leaves_earlier_ones(place: Place) -> None:
    fill(place.open(), 3)
    earlier = [place.entry(number).read_bytes() for number in (1, 2, 3)]
    for when in (4, 5):
        run = run_python(APPEND, place.path, "a", 1, before=with_fault("fsync,fdatasync", "error=EIO", when))
        assert "REFUSED cannot write entry" in run.stdout, run
        assert "input/output error" in run.stdout
    assert [place.entry(number).read_bytes() for number in (1, 2, 3)] == earlier
    assert place.open().append(queued(9)).number in (4, 5)


def test_a_full_disk_is_said_clearly_and_earlier_entries_stand(place: Place) -> None:
    disk = place.path / "disk"
    disk.mkdir()
    script = (
        APPEND
        + "print(len(list(Ledger(DirectoryShelf(home / 'ledger', 'flight-delay', home / 'checkpoints')).entries())))"
    )
    run = run_python(script, disk, "a" * 20_000, 100, before=with_small_disk(disk, 500_000))
    *acknowledged, refusal, found = run.stdout.splitlines()[1:]
    assert "REFUSED cannot write entry" in refusal
    assert "no space left" in refusal
    assert int(found) == len(acknowledged) > 5


def test_an_edited_entry_breaks_the_link_of_the_next(place: Place) -> None:
    fill(place.open(), 5)
    rewrite(place.entry(3), b'"environment":"staging"', b'"environment":"stating"')
    with pytest.raises(CorruptError, match="entry 4 of flight-delay does not follow entry 3"):
        place.open().state()
    with pytest.raises(CorruptError):
        list(place.open().entries())


def test_an_entry_that_is_no_json_is_named(place: Place) -> None:
    fill(place.open(), 2)
    rewrite(place.entry(2), b"{", b"[")
    with pytest.raises(CorruptError, match="entry 2 of flight-delay cannot be read"):
        place.open().append(queued(3))


def test_a_missing_entry_is_not_written_a_second_time(place: Place) -> None:
    fill(place.open(), 5)
    place.entry(3).unlink()
    ledger = place.open()
    for _ in range(2):
        with pytest.raises(CorruptError, match="entry 3 of flight-delay is missing"):
            ledger.append(queued(6))
    assert not place.entry(3).exists()


def test_order_is_the_sequence_when_the_clock_is_set_back(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = place.open()
    first = ledger.append(queued(1))
    monkeypatch.setattr(time, "time", lambda: first.time - 3600)
    second = place.open().append(BuildFinished(1, Result.SERVED))
    assert second.time < first.time
    assert [entry.number for entry in place.open().entries()] == [1, 2]
    assert unfinished(place.open().state()) == []


# ---------------------------------------------------------------------------------------------------- checkpoints


def generate(place: Place, count: int) -> State:
    """A ledger of many entries, written without the ledger's care for the disk: the state of all of them."""
    state, build = State(), 0
    bodies: list[AnyBody] = []
    while state.number < count:
        if not bodies:
            build += 1
            bodies = whole_build(build, "main", "staging", digest(f"m{build}"), digest(f"p{build}"))
        entry = Entry(state.number + 1, state.head, float(state.number), bodies.pop(0))
        state = apply(state, entry)
        path = place.entry(entry.number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(entry))
    return state


def kept_checkpoints(place: Place) -> list[Path]:
    return sorted((place.checkpoints / "flight-delay").glob("*.msgpack"))


def test_a_checkpoint_stands_for_the_entries_it_folds(place: Place) -> None:
    expected = generate(place, 600)
    assert place.open().state() == expected
    (checkpoint,) = kept_checkpoints(place)
    for number in range(1, 600):
        place.entry(number).unlink()
    state = place.open().state()
    assert isinstance(state.builds, Table)
    assert state == expected
    assert checkpoint.name.startswith("000000000600-")


def test_a_ledger_opened_from_a_checkpoint_goes_on(place: Place) -> None:
    generate(place, 300)
    place.open().state()
    ledger = place.open()
    ledger.append(queued(1000))
    ledger.append(BuildFinished(1000, Result.FAILED))
    state = State()
    for entry in ledger.entries():
        state = apply(state, entry)
    assert ledger.state() == state == place.open().state()


def test_two_checkpoints_are_kept(place: Place) -> None:
    generate(place, 300)
    ledger = place.open()
    ledger.state()
    ledger._saved = -1000
    for number in (1000, 1001, 1002):
        ledger.append(queued(number))
        ledger._saved = -1000
    assert [path.name[:12] for path in kept_checkpoints(place)] == ["000000000302", "000000000303"]


@pytest.mark.parametrize("fault", ["flipped", "cut", "foreign", "other rules"])
def test_a_bad_checkpoint_is_passed_over(place: Place, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = generate(place, 300)
    place.open().state()
    (path,) = kept_checkpoints(place)
    data = bytearray(path.read_bytes())
    if fault == "flipped":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif fault == "cut":
        path.write_bytes(data[:-10])
    elif fault == "foreign":
        path.rename(path.with_name(f"000000000299-{'0' * 64}.msgpack"))
    else:
        monkeypatch.setattr(checkpoints, "rules", lambda: b"of another version")
    state = place.open().state()
    assert not isinstance(state.builds, Table)
    assert state == expected


def test_a_ledger_whose_checkpoints_cannot_be_written_works(place: Place) -> None:
    expected = generate(place, 300)
    place.checkpoints.write_text("a file in the way")
    assert place.open().state() == expected


def test_appending_costs_the_same_however_long_the_ledger_is(place: Place) -> None:
    """Counted, not timed: what one append asks of the operating system does not grow, and lists no directory."""
    generate(place, 2500)
    place.open().state()
    trace = place.path / "trace"
    before = ["strace", "-f", "-qq", "-o", str(trace), "-e", "trace=%file,getdents64,read,write,fsync"]
    run = run_python(APPEND, place.path, "a", 5, before=before)
    assert run.stdout.split()[-1] == "2505", run
    lines = trace.read_text().splitlines()
    acknowledged = [at for at, line in enumerate(lines) if " write(1," in line]
    one = lines[acknowledged[-2] : acknowledged[-1]]
    assert len(one) < 20, one
    assert not any("getdents" in line for line in one)


def test_importing_the_ledger_needs_nothing_heavy() -> None:
    modules = run_python("import sys, mawasu.ledger.ledger; print(*sys.modules)").stdout.split()
    assert "mawasu.ledger.ledger" in modules
    assert not {"pydantic", "httpx", "numpy", "pyarrow", "asyncio"} & set(modules)
