"""A long ledger: reading what is true now, and appending to it, beside what the disk does at best."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from bench.report import Report, timed
from bench.world import MAWASU, environment, place, run
from mawasu.home import Home
from mawasu.ledger.entries import (
    AnyBody,
    BuildFinished,
    BuildPlanned,
    BuildQueued,
    Entry,
    ReleaseRegistered,
    StepFinished,
    StepStarted,
    Switched,
    SwitchIntended,
    encode,
)
from mawasu.ledger.ledger import Ledger
from mawasu.ledger.shelf import DirectoryShelf, entry_path
from mawasu.words import Commit, Digest, Outcome, Push, Result, digest_of

FEATURE = "long"
STEPS = ("data/points", "train", "evaluate", "judge", "register", "start", "examples", "grant", "switch", "drain")
GOAL = 500.0  # ms


def bodies(build: int) -> list[AnyBody]:
    """What one build of everything leaves in a ledger: 25 entries."""
    keys = {step: digest_of(f"{step} {build}".encode()) for step in STEPS}
    release, revision = digest_of(f"release {build}".encode()), f"long-{build}-abcdef"
    push = Push("long", "main", Commit(f"{build - 1:040x}"), Commit(f"{build:040x}"))
    planned = tuple((step, key, True) for step, key in keys.items())
    found: list[AnyBody] = [
        BuildQueued(build, push, "staging"),
        BuildPlanned(build, digest_of(f"plan {build}".encode()), planned, release),
    ]
    for step, key in keys.items():
        found.append(StepStarted(build, step, key))
        if step == "register":
            found.append(
                ReleaseRegistered(
                    build, release, f"long/main/{build:07x}", push.new or "", "main", {"model": keys["train"]}, keys
                )
            )
        if step == "switch":
            found += [
                SwitchIntended(build, "staging", release, revision),
                Switched(build, "staging", release, revision),
            ]
        outputs = {"MAWASU_MODEL": keys["train"]} if step == "train" else {}
        found.append(StepFinished(build, step, key, Outcome(Result.OK, outputs, 0.1)))
    return [*found, BuildFinished(build, Result.SERVED, "staging serves it", seconds=1.0)]


def generate(home: Home, count: int) -> None:
    """Write the entries as appends would, but without one fsync each: 100,000 of those are not what is measured."""
    previous: Digest | None = None
    number, build = 0, 0
    made: set[Path] = set()
    while number < count:
        build += 1
        for body in bodies(build)[: count - number]:
            number += 1
            data = encode(Entry(number, previous, 1.0e9 + number, body))
            path = entry_path(home.ledger, FEATURE, number)
            if path.parent not in made:
                path.parent.mkdir(parents=True)
                made.add(path.parent)
            path.write_bytes(data)
            previous = digest_of(data)


def append_times(home: Home, times: int) -> list[float]:
    """Milliseconds of one append, in a process that has the ledger open."""
    ledger = Ledger(DirectoryShelf(home.ledger, FEATURE, home.checkpoints))
    key = digest_of(b"a key")
    build = max(ledger.state().builds, default=0)
    if not build:
        ledger.append(BuildQueued(build := 1, Push("long", "main", None, Commit("0" * 40)), "staging"))
    return timed(lambda: ledger.append(StepStarted(build, "train", key)), times)


def raw_times(directory: Path, data: bytes, times: int) -> list[float]:
    """What the same promise costs at least: a new file with these bytes, synced, and its directory synced."""
    count = iter(range(times))

    def once() -> None:
        fd = os.open(directory / f"raw-{next(count)}", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.write(fd, data)
        os.fsync(fd)
        os.close(fd)
        fd = os.open(directory, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)

    return timed(once, times)


def read_all(home: Home) -> float:
    """Milliseconds to open and read every entry's file, doing nothing with it: what no fold could beat."""
    began = time.perf_counter()
    shards = sorted(path for path in (home.ledger / FEATURE).iterdir() if path.name.isdigit())
    for shard in shards:
        with os.scandir(shard) as entries:
            for entry in entries:
                fd = os.open(entry.path, os.O_RDONLY)
                os.read(fd, 1 << 16)
                os.close(fd)
    return (time.perf_counter() - began) * 1000


def measure(quick: bool) -> list[Report]:
    sizes = (0, 200, 1_000) if quick else (0, 10_000, 100_000)
    runs = 2 if quick else 7
    writes = 5 if quick else 100
    status = Report(f"A ledger of {sizes[-1]:,} entries")
    cost = Report("Appending one entry, durably", ["no fixed order of disk accesses: read the medians"])
    with place() as top:
        environ = environment(top)
        raw = top / "raw"
        raw.mkdir()
        for size in sizes:
            home = Home(top / "m").create()
            generate(home, size)
            if size == sizes[-1]:
                _status(status, home, environ, runs)
            cost.add(f"append after {size:,}", append_times(home, writes))
            shutil.rmtree(home.path)
        data = encode(Entry(1, digest_of(b""), 1.0e9, StepStarted(1, "train", digest_of(b"a key"))))
        cost.add("ceiling: new file, fsync, fsync of its directory", raw_times(raw, data, writes))
    return [status, cost]


def _status(report: Report, home: Home, environ: dict[str, str], runs: int) -> None:
    def status() -> None:
        run([MAWASU, "status"], home.path, environ)

    report.add("mawasu status, first time (no checkpoint yet)", timed(status, 1))
    report.add("mawasu status", timed(status, runs), limit=GOAL)
    report.add("ceiling: reading all its files, and nothing else", [read_all(home) for _ in range(runs)])
