"""The ledger in a bucket: one order, whoever writes; nothing lost, nothing twice; few requests however long."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mawasu.errors import CorruptError, PlatformError
from mawasu.google.storage import Bucket
from mawasu.ledger import checkpoints
from mawasu.ledger.cloud import CloudShelf, features
from mawasu.ledger.entries import AnyBody, BuildFinished, BuildQueued, Entry, encode
from mawasu.ledger.fold import State, apply_into
from mawasu.ledger.ledger import Ledger
from mawasu.ledger.shelf import relative
from mawasu.words import Push, Result, digest_of
from tests.gcp.front import Front
from tests.ledger.ledger_tools import digest, queued, run_python, whole_build

APPEND = """
import sys
from mawasu.google.client import Client
from mawasu.google.storage import Bucket
from mawasu.ledger import checkpoints
from mawasu.ledger.cloud import CloudShelf
from mawasu.ledger.entries import BuildQueued
from mawasu.ledger.ledger import Ledger
from mawasu.words import Push
ledger = Ledger(CloudShelf(Bucket(Client(first_wait=0.001), "records"), "delays"))
for number in range(int(sys.argv[2])):
    print(ledger.append(BuildQueued(number, Push(sys.argv[1], "main", None, None), "")).number, flush=True)
"""


@pytest.fixture
def ledger(bucket: Bucket) -> Ledger:
    return Ledger(CloudShelf(bucket, "delays"))


def again(bucket: Bucket, cache: Path | None = None) -> Ledger:
    return Ledger(CloudShelf(bucket, "delays", cache))


def name(number: int) -> str:
    return f"ledger/delays/{relative(number)}"


def pushed(ledger: Ledger, who: str) -> list[int]:
    """Numbers of the builds that `who` queued, in the order of the ledger."""
    bodies = (entry.body for entry in ledger.entries())
    return [body.build for body in bodies if isinstance(body, BuildQueued) and body.push.project == who]


def chained(bucket: Bucket, ledger: Ledger) -> int:
    """How many entries there are, each of which holds the digest of the bytes of the one before."""
    entries = list(ledger.entries())
    for before, after in itertools.pairwise(entries):
        data = bucket.read(name(before.number))
        assert data is not None
        assert after.previous == digest_of(data)
    return len(entries)


def generate(gcs: Front, count: int) -> State:
    """A ledger of many entries, written at once: the state of all of them."""
    state, build, bodies = State(), 0, list[AnyBody]()
    while state.number < count:
        if not bodies:
            build += 1
            bodies = whole_build(build, "main", "staging", digest(f"m{build}"), digest(f"p{build}"))
        entry = Entry(state.number + 1, state.head, float(state.number), bodies.pop(0))
        data = encode(entry)
        apply_into(state, entry, digest_of(data))
        gcs.lay(name(entry.number), data)
    return state


def test_entries_come_back_in_order_and_hold_each_others_digests(bucket: Bucket, ledger: Ledger) -> None:
    assert ledger.state() == State()
    assert features(bucket) == []
    bodies = whole_build(1, "main", "staging", digest("m"), digest("p"))
    written = [ledger.append(body) for body in bodies]
    assert list(again(bucket).entries()) == written
    assert list(again(bucket).entries(3)) == written[2:]
    assert chained(bucket, ledger) == len(bodies)
    assert again(bucket).state() == ledger.state()
    assert features(bucket) == ["delays"]


def test_two_threads_that_write_at_once_lose_nothing_and_write_nothing_twice(bucket: Bucket) -> None:
    def write(who: str) -> None:
        mine = again(bucket)
        for number in range(50):
            mine.append(BuildQueued(number, Push(who, "main", None, None), ""))

    threads = [threading.Thread(target=write, args=(who,)) for who in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger = again(bucket)
    assert chained(bucket, ledger) == 100
    assert pushed(ledger, "a") == pushed(ledger, "b") == list(range(50))


@pytest.mark.usefixtures("machine")
def test_two_processes_that_write_at_once_lose_nothing(bucket: Bucket) -> None:
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(run_python, APPEND, who, 50) for who in "ab"]
    numbers = [int(line) for run in runs for line in run.result().stdout.split()]
    assert sorted(numbers) == list(range(1, 101)), runs[0].result().stderr
    ledger = again(bucket)
    assert chained(bucket, ledger) == 100
    assert pushed(ledger, "a") == pushed(ledger, "b") == list(range(50))


def test_an_append_whose_answer_is_lost_is_written_once(bucket: Bucket, ledger: Ledger, gcs: Front) -> None:
    for number in (1, 2, 3):
        gcs.cut_after_effect("/upload/*", times=number)
        assert ledger.append(queued(number)).number == number
    assert [build.number for build in ledger.state().builds.values()] == [1, 2, 3]
    assert chained(bucket, again(bucket)) == 3


def test_an_append_that_lost_its_answer_and_its_number_takes_the_next(bucket: Bucket, gcs: Front) -> None:
    one, other = again(bucket), again(bucket)
    one.append(queued(1))
    beaten: list[int] = []

    def meanwhile(state: State) -> None:
        if not beaten:
            beaten.append(other.append(queued(2)).number)
            gcs.fail("/upload/*", status=503)

    assert one.append(queued(3), meanwhile).number == 3
    assert beaten == [2]
    assert chained(bucket, again(bucket)) == 3


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_google_delays_an_append(bucket: Bucket, ledger: Ledger, gcs: Front, status: int) -> None:
    gcs.fail(status=status, times=4)
    assert ledger.append(queued(1)).number == 1
    assert chained(bucket, again(bucket)) == 1


def test_an_append_that_cannot_be_written_leaves_the_earlier_ones(bucket: Bucket, ledger: Ledger, gcs: Front) -> None:
    ledger.append(queued(1))
    gcs.fail("/upload/*", status=503, times=100)
    with pytest.raises(PlatformError):
        ledger.append(queued(2))
    gcs.clear()
    assert ledger.append(queued(2)).number == 2


def test_order_is_the_sequence_when_the_clock_is_set_back(
    bucket: Bucket, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ledger.append(queued(1))
    monkeypatch.setattr("mawasu.ledger.ledger.time.time", lambda: first.time - 3600)
    ledger.append(BuildFinished(1, Result.SERVED))
    assert [entry.number for entry in again(bucket).entries()] == [1, 2]
    assert not again(bucket).state().open


def test_an_edited_entry_breaks_the_link_of_the_next(bucket: Bucket, ledger: Ledger) -> None:
    for number in range(1, 6):
        ledger.append(queued(number))
    data = bucket.read(name(3))
    assert data is not None
    bucket.put(name(3), data.replace(b"staging", b"stating"))
    where = f"entry 4 of delays does not follow entry 3.*gs://records/{name(3)}"
    with pytest.raises(CorruptError, match=where):
        again(bucket).state()


def test_a_missing_entry_is_not_written_a_second_time(bucket: Bucket, ledger: Ledger) -> None:
    for number in range(1, 6):
        ledger.append(queued(number))
    bucket.delete(name(3))
    opened = again(bucket)
    for _ in range(2):
        with pytest.raises(CorruptError, match="entry 3 of delays is missing, but 4 is there"):
            opened.append(queued(6))
    assert bucket.read(name(3)) is None


def test_a_waiter_is_woken_by_its_own_process_and_finds_what_others_wrote(bucket: Bucket, ledger: Ledger) -> None:
    assert not ledger.wait(1, 0.01)
    for writer in (ledger, again(bucket)):
        number = ledger.state().number + 1
        thread = threading.Thread(target=writer.append, args=(queued(number),))
        thread.start()
        assert ledger.wait(number, 10)
        thread.join()


# ---------------------------------------------------------------------------------------------------- checkpoints


def test_opening_a_long_ledger_takes_few_requests(bucket: Bucket, gcs: Front, tmp_path: Path) -> None:
    expected = generate(gcs, 2000)
    checkpoints.save(CloudShelf(bucket, "delays").checkpoints, expected)
    gcs.seen.clear()
    assert again(bucket).state() == expected
    assert len(gcs.seen) <= 6, [one.path for one in gcs.seen]
    again(bucket, tmp_path).state()
    gcs.seen.clear()
    assert again(bucket, tmp_path).state() == expected
    assert gcs.count("GET", "*/checkpoints/*") == 0, "what is here is not fetched"
    gcs.seen.clear()
    ledger = again(bucket, tmp_path)
    ledger.append(queued(9000))
    before = len(gcs.seen)
    ledger.append(queued(9001))
    assert len(gcs.seen) - before == 2, "one look for what others wrote, and one entry"


def test_entries_that_no_checkpoint_folds_are_all_read(bucket: Bucket, gcs: Front) -> None:
    gcs.page = 50
    expected = generate(gcs, 200)
    assert again(bucket).state() == expected
    assert gcs.count("GET", "*/o/ledger/*") == 200
    assert again(bucket).state() == expected


def test_a_ledger_that_grows_leaves_checkpoints_for_the_next(bucket: Bucket, ledger: Ledger, gcs: Front) -> None:
    for number in range(1, 71):
        ledger.append(queued(number))
    kept = [found.name.rpartition("/")[2][:12] for found in bucket.list("checkpoints/delays/")]
    assert kept == ["000000000032", "000000000064"]
    gcs.seen.clear()
    assert again(bucket).state() == ledger.state()
    assert len(gcs.seen) <= 12


def test_a_changed_checkpoint_is_passed_over(bucket: Bucket, gcs: Front) -> None:
    expected = generate(gcs, 40)
    again(bucket).state()
    (found,) = bucket.list("checkpoints/")
    data = bucket.read(found.name)
    assert data is not None
    bucket.put(found.name, data[:-1] + bytes([data[-1] ^ 1]))
    assert again(bucket).state() == expected


def test_who_may_only_read_opens_a_ledger_and_keeps_checkpoints_here(
    bucket: Bucket, gcs: Front, tmp_path: Path
) -> None:
    expected = generate(gcs, 40)
    gcs.fail("/upload/*", status=403, times=100)
    assert again(bucket, tmp_path).state() == expected
    gcs.seen.clear()
    assert again(bucket, tmp_path).state() == expected
    assert len(gcs.seen) <= 6
    assert gcs.count("P*") == 0
