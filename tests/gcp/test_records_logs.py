"""A step's log in a bucket: parts while it runs, all of it at the end; and read as one in a file is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mawasu.executor.logs import BucketLog, FileLog, read_file, read_parts
from mawasu.executor.records import CloudRecords, LocalRecords, Records
from mawasu.executor.tail import tail
from mawasu.google.client import Client
from mawasu.google.storage import Bucket
from mawasu.home import Home
from mawasu.ledger.entries import BuildFinished, BuildPlanned, BuildQueued, StepFinished, StepStarted
from mawasu.words import Commit, Outcome, Push, Result, digest_of
from tests.gcp.front import BUCKET, Front

PREFIX = "logs/delays/000001/train/"
KEY = digest_of(b"key")


@pytest.fixture(params=["home", "bucket"])
def records(request: pytest.FixtureRequest, client: Client, tmp_path: Path) -> Records:
    if request.param == "home":
        return LocalRecords(Home(tmp_path / "home"))
    return CloudRecords(client, BUCKET, tmp_path / "cache")


def parts(bucket: Bucket) -> list[bytes | None]:
    return [bucket.read(found.name) for found in bucket.list(PREFIX)]


def until(condition: object) -> None:
    """Poll a callable until it is true."""
    assert callable(condition)
    waiting = threading.Event()
    for _ in range(500):
        if condition():
            return
        waiting.wait(0.02)
    raise AssertionError("it did not become true")


def test_what_is_written_is_read_from_any_byte(records: Records) -> None:
    assert records.read_log("delays", 1, "data/flights") == b""
    log = records.log("delays", 1, "data/flights")
    log.write("first ü")
    log.write("second \udc80")
    log.close()
    text = "first ü\nsecond \\udc80\n".encode()
    assert records.read_log("delays", 1, "data/flights") == text
    for offset in range(len(text) + 2):
        assert records.read_log("delays", 1, "data/flights", offset) == text[offset:]
    again = records.log("delays", 1, "data/flights")
    again.write("third")
    again.close()
    assert records.read_log("delays", 1, "data/flights", len(text)) == b"third\n"
    assert records.read_log("delays", 2, "data/flights") == b""


def test_parts_and_a_file_are_read_alike(bucket: Bucket, tmp_path: Path) -> None:
    written = [b"a\nb\n", b"c\n", b"dd\nee\n"]
    for number, data in enumerate(written, 1):
        bucket.put(f"{PREFIX}{number:05d}", data)
    (tmp_path / "log").write_bytes(b"".join(written))
    for offset in range(15):
        assert read_parts(bucket, PREFIX, offset) == read_file(tmp_path / "log", offset)


def test_parts_before_the_wanted_byte_are_not_fetched(bucket: Bucket, gcs: Front) -> None:
    for number in range(1, 9):
        bucket.put(f"{PREFIX}{number:05d}", b"12345678\n")
    gcs.seen.clear()
    assert read_parts(bucket, PREFIX, 70) == b"8\n"
    assert read_parts(bucket, PREFIX, 72) == b""
    assert [one.query.get("alt") for one in gcs.seen].count("media") == 1


def test_lines_are_there_while_the_step_runs(bucket: Bucket) -> None:
    log = BucketLog(bucket, PREFIX, first=0.01)
    log.write("begins")
    until(lambda: parts(bucket) == [b"begins\n"])
    log.write("goes on")
    until(lambda: b"".join(part or b"" for part in parts(bucket)) == b"begins\ngoes on\n")
    log.close()


def test_a_step_that_says_nothing_asks_google_nothing(bucket: Bucket, gcs: Front) -> None:
    BucketLog(bucket, PREFIX).close()
    assert gcs.seen == []


def test_lines_of_one_moment_are_one_part(bucket: Bucket) -> None:
    log = BucketLog(bucket, PREFIX, first=60)

    def write() -> None:
        for _ in range(50):
            log.write("x" * 10)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert parts(bucket) == [b"xxxxxxxxxx\n" * 200]
    log.write("too late")
    log.close()


def test_a_log_that_grows_without_end_is_capped_and_says_so(bucket: Bucket) -> None:
    log = BucketLog(bucket, PREFIX, first=60, cap=1000)
    for _ in range(1000):
        log.write("x" * 99)
    log.close()
    assert parts(bucket) == [(b"x" * 99 + b"\n") * 10 + b"[log capped at 0.001 MB]\n"]


def test_lines_that_google_does_not_take_come_with_the_next_ones(bucket: Bucket, gcs: Front) -> None:
    gcs.fail("/upload/*", status=403, times=2)
    log = BucketLog(bucket, PREFIX, first=0.01)
    log.write("first")
    until(lambda: gcs.count("POST", "/upload/*") >= 1)
    log.write("second")
    until(lambda: b"".join(part or b"" for part in parts(bucket)) == b"first\nsecond\n")
    log.close()


def test_a_log_that_cannot_be_written_costs_no_build(bucket: Bucket, gcs: Front) -> None:
    gcs.fail("/upload/*", status=403, times=-1)
    log = BucketLog(bucket, PREFIX, first=0.01)
    log.write("lost")
    log.close()
    gcs.clear()
    assert parts(bucket) == []


def test_two_that_write_one_log_lose_nothing(bucket: Bucket) -> None:
    """A build that was cut off may still be writing when it is resumed elsewhere."""
    logs = [BucketLog(bucket, PREFIX, first=0.005) for _ in range(2)]
    for number in range(20):
        for log in logs:
            log.write(f"{number}")
    for log in logs:
        log.close()
    assert sorted(b"".join(part or b"" for part in parts(bucket)).split()) == sorted(
        str(number).encode() for number in [*range(20), *range(20)]
    )


# ---------------------------------------------------------------------------------------------------- following


def begin(records: Records) -> None:
    ledger = records.ledger("delays")
    ledger.append(BuildQueued(1, Push("p", "main", None, Commit("1" * 40)), "staging"))
    steps = (("data", KEY, False), ("train", KEY, True), ("judge", KEY, True))
    ledger.append(BuildPlanned(1, KEY, steps))


def walk(records: Records, step: str, *lines: str) -> None:
    ledger = records.ledger("delays")
    log = records.log("delays", 1, step)
    ledger.append(StepStarted(1, step, KEY))
    for line in lines:
        log.write(line)
    log.close()
    ledger.append(StepFinished(1, step, KEY, Outcome(Result.OK)))


def test_the_logs_of_a_build_come_in_the_order_of_its_steps(records: Records) -> None:
    begin(records)
    walk(records, "train", "one", "two")
    walk(records, "judge", "three")
    ledger = records.ledger("delays")
    found = [("train", "one"), ("train", "two"), ("judge", "three")]
    assert list(tail(records, ledger, 1, None, live=False)) == found
    assert list(tail(records, ledger, 1, "judge", live=False)) == found[2:]
    ledger.append(BuildFinished(1, Result.OK))
    assert list(tail(records, ledger, 1, None, live=True)) == found


def test_a_build_is_followed_to_its_end(records: Records) -> None:
    begin(records)
    lines: Iterator[tuple[str, str]] = tail(records, records.ledger("delays"), 1, None, live=True)
    found: list[tuple[str, str]] = []
    reader = threading.Thread(target=lambda: found.extend(lines))
    reader.start()
    walk(records, "train", "one", "two")
    walk(records, "judge", "three")
    records.ledger("delays").append(BuildFinished(1, Result.OK))
    reader.join(30)
    assert found == [("train", "one"), ("train", "two"), ("judge", "three")]


def test_a_log_in_a_file_is_one_too(tmp_path: Path) -> None:
    log = FileLog(tmp_path / "log")
    log.write("line")
    assert read_file(tmp_path / "log", 0) == b"line\n"
    log.close()
