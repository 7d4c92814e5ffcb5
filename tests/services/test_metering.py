"""All replicas of a machine on one page, and what an operator reads from it."""

from __future__ import annotations

import os
import signal
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mawasu.cli import rates, top
from mawasu.daemon.exporter import Exporter
from mawasu.errors import UsageError
from mawasu.platforms.local.metering import merged, read
from tests.services.house import House, Lines, eventually
from tests.serving.replica import request

ECHO = "def predict(model, batch): return batch"


def up(house: House, revision: str, replicas: int = 1) -> list[Path]:
    spec = house.spec(ECHO, revision, replicas=replicas, operations=("POST /predict",))
    endpoint = house.services.start(spec, Lines())
    house.services.wait_ready(revision, 20, threading.Event())
    return [Path(socket) for socket in endpoint.sockets]


def test_a_machines_replicas_are_one_page_for_prometheus(house: House) -> None:
    first, second = up(house, "r1", replicas=2)
    for socket, times in ((first, 2), (second, 3)):
        for _ in range(times):
            assert request(socket, "POST", "/predict", b"{}").status == 200
    exporter = Exporter(house.home, 0)
    exporter.start()
    try:
        at = f"http://127.0.0.1:{exporter.port}"
        page = urllib.request.urlopen(f"{at}/metrics", timeout=5).read().decode()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{at}/", timeout=5)
        with pytest.raises(UsageError, match="--metrics"):
            Exporter(house.home, exporter.port)
    finally:
        exporter.stop()
    for replica, count in ((0, 2), (1, 3)):
        whose = f'feature="late",environment="staging",revision="r1",replica="{replica}"'
        assert f"mawasu_up{{{whose}}} 1\n" in page
        assert f'mawasu_requests_total{{{whose},operation="POST /predict",status="200"}} {count}\n' in page
    families = list(text_string_to_metric_families(page))
    assert len({family.name for family in families}) == len(families) > 10
    assert not [family.name for family in families if family.type == "unknown"]


def test_a_server_that_hangs_is_told_and_hides_nobody(house: House) -> None:
    up(house, "r1", replicas=2)
    pid = house.process("r1.1.server").pid
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        page = merged(read(house.home))
        assert time.monotonic() - began < 5
    finally:
        os.kill(pid, signal.SIGCONT)
    assert 'replica="0"} 1\n' in page
    assert 'replica="1"} 0\n' in page


def test_top_follows_a_switch(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAWASU_HOME", str(house.home.path))
    (old,) = up(house, "r1")
    reading = top.readings(0.1)
    stop = threading.Event()
    callers = []

    def call(socket: Path) -> None:
        while not stop.is_set():
            request(socket, "POST", "/predict", b"{}")

    def start(socket: Path) -> None:
        callers.append(threading.Thread(target=call, args=(socket,)))
        callers[-1].start()

    def rows() -> dict[str, dict[str, object]]:
        return {row["revision"]: row for row in next(reading)}

    try:
        start(old)
        eventually(lambda: rows()["r1"]["rps"])
        (new,) = up(house, "r2")
        start(new)
        eventually(lambda: all(rows().get(revision, {}).get("rps") for revision in ("r1", "r2")))
        assert rows()["r2"]["p99"]
        stop.set()
        for caller in callers:
            caller.join()
        house.services.stop("r1", drain=5)
        eventually(lambda: list(rows()) == ["r2"])
    finally:
        stop.set()
    assert all(len(top.cells(row)) == len(top.HEADERS) for row in next(reading))
    assert rates.parse("") == {}
