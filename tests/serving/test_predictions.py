"""The prediction log: what is in it, what is not, and that no crash and no slow disk costs anybody anything."""

from __future__ import annotations

import csv
import io
import json
import os
import resource
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mawasu.cli.predictions import predictions
from mawasu.errors import UsageError
from mawasu.home import Home
from mawasu.platforms.local.predictions import SCHEMA, collect, latest
from mawasu.platforms.local.spool import spool_of
from mawasu.serving.predictions import sampled
from mawasu.serving.recorder import LARGE, Line, without
from mawasu.words import Caching, Digest, Handler, Image, Predictions, Resources, ServiceSpec, Source, Tree
from tests.serving.replica import RELEASE, Replica, UnixConnection, eventually, request

ECHO = """
def predict(model, batch):
    if batch[0].get("fail"):
        raise ValueError("no")
    return [{"y": 2 * item["x"], "who": {"name": item.get("name")}} for item in batch]
"""
SITE = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self): self.reply(2)
    def do_HEAD(self): self.reply(100)
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != "/chunks": return self.reply(2)
        self.send_response(200); self.send_header("Transfer-Encoding", "chunked"); self.end_headers()
        self.wfile.write(b"2\\r\\n{}\\r\\n0\\r\\n\\r\\n")
    def reply(self, size):
        self.send_response(200); self.send_header("Content-Length", str(size)); self.end_headers()
        if size == 2: self.wfile.write(b"{}")
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
SECRET = "Matsuo-Basho"

Serve = Callable[..., Home]


@pytest.fixture
def serve(replica: Replica, tmp_path: Path) -> Serve:
    """Start the replica so that it remembers its answers in a home."""

    def start(code: str = ECHO, cache: Caching | None = None, command: str = "", **fields: Any) -> Home:
        home = Home(tmp_path / "home").create()
        rules = Predictions(**{"sample": 1.0, **fields})
        digest = Digest(RELEASE)
        handler = Handler("api:predict", predictions=rules)
        image, source = Image(digest, ""), Source("", "", Tree({}))
        spec = ServiceSpec("r1", "late", "staging", digest, source, image, handler, None, Resources())
        replica.ready(
            code,
            command=command,
            cache=cache,
            operations=("POST /predict/{id}",),
            labels={"revision": "r1", "replica": "0"},
            predictions=rules,
            spool=str(spool_of(home, spec)),
        )
        return home

    return start


def ask(replica: Replica, body: str, target: str = "/predict/7", **headers: str) -> int:
    """As the gateway hands it on."""
    sent = {"x-request-id": "n", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return request(replica.listen, "POST", target, body.encode(), sent).status


def known(home: Home, count: int) -> list[Line]:
    return eventually(lambda: found if len(found := latest(home, "late", "staging", 100)) == count else None)


def stop(replica: Replica) -> None:
    assert replica.server is not None
    replica.server.terminate()
    assert replica.server.wait(10) == 0


def files(home: Home) -> list[Path]:
    return sorted((home.predictions / "late" / "staging").glob("*.parquet"))


def collected(home: Home) -> list[Path]:
    collect(home)
    return files(home)


def test_an_answer_is_remembered_with_all_that_later_questions_need(replica: Replica, serve: Serve) -> None:
    home = serve(cache=Caching(60.0))
    assert replica.ask({"x": 9}).status == 200, "an example: nobody's"
    for _ in range(2):
        assert ask(replica, '{"x": 2}', "/predict/7?a=b", x_request_id="id-1", mawasu_unit="visitor") == 200
    first, second = known(home, 2)
    assert (first.id, first.unit, first.operation, first.status) == ("id-1", "visitor", "POST /predict/{id}", 200)
    assert (first.revision, first.release, first.query) == ("r1", RELEASE, '{"a":"b"}')
    assert (first.input, first.output) == ('{"x":2}', '{"y":4,"who":{"name":null}}')
    assert (first.cached, second.cached) == (False, True)
    assert 0 < first.seconds < 10
    stop(replica)
    collect(home)
    (file,) = files(home)
    assert pq.read_schema(file).equals(SCHEMA, check_metadata=True)
    assert latest(home, "late", "staging", 100) == [first, second]
    assert not list((home.predictions / "late" / "staging" / "spool").iterdir())


def test_short_answers_of_a_server_of_the_users_own_are_remembered_too(replica: Replica, serve: Serve) -> None:
    (replica.directory / "site.py").write_text(SITE)
    home = serve(command="exec python3 -S site.py")
    assert ask(replica, "{}", "/predict/7") == 200
    assert ask(replica, "{}", "/chunks") == 200
    (line,) = known(home, 1)
    assert (line.operation, line.input, line.status) == ("POST /predict/{id}", "{}", 200)
    with closing(UnixConnection(replica.listen, 10)) as connection:
        connection.request("HEAD", "/long", headers={"x-request-id": "n"})
        assert connection.getresponse().headers["content-length"] == "100"
    assert replica.metric("predictions_skipped_total") == 2


def test_a_redacted_value_is_nowhere_on_the_disk(replica: Replica, serve: Serve) -> None:
    home = serve(redact=("name", "token"))
    nested = json.dumps({"x": 1, "name": SECRET, "more": [{"name": {"first": SECRET}}]})
    assert ask(replica, nested, f"/predict/1?token={SECRET}&to%6ben={SECRET}&a=1") == 200
    assert ask(replica, json.dumps([{"x": 1, "name": SECRET}])) == 200
    assert ask(replica, json.dumps({"fail": 1, "name": SECRET})) == 500
    assert ask(replica, f'{{"name": "{SECRET}"') == 400
    lines = known(home, 4)
    assert lines[0].input == '{"x":1,"name":null,"more":[{"name":null}]}'
    assert (lines[0].output, lines[0].query) == ('{"y":2,"who":{"name":null}}', '{"token":null,"a":"1"}')
    assert [line.output for line in lines[2:]] == [None, None]

    def everything() -> bytes:
        return b"".join(path.read_bytes() for path in home.path.rglob("*") if path.is_file())

    assert SECRET.encode() not in everything()
    stop(replica)
    collect(home)
    assert SECRET.encode() not in everything()
    assert SECRET not in repr(pq.read_table(files(home)[0]).to_pylist())


def test_what_a_killed_server_had_handed_over_is_there(replica: Replica, serve: Serve) -> None:
    home = serve()
    assert ask(replica, '{"x": 1}') == 200
    known(home, 1)
    collect(home)
    assert not files(home), "it is written to"
    assert replica.server is not None
    (recorder,) = children(replica.server.pid)
    os.kill(replica.server.pid, signal.SIGKILL)
    os.kill(recorder, signal.SIGKILL)
    replica.server.wait()
    (spool,) = (home.predictions / "late" / "staging" / "spool").iterdir()
    with spool.open("ab") as file:
        file.write(b'{"at": 17000')  # as a power loss leaves it
    eventually(lambda: collected(home))
    assert [line.input for line in latest(home, "late", "staging", 10)] == ['{"x":1}']


def test_a_recorder_that_hangs_or_dies_slows_no_answer_and_what_is_lost_is_counted(
    replica: Replica, serve: Serve
) -> None:
    home = serve("def predict(model, batch): return batch")
    assert ask(replica, "{}") == 200
    known(home, 1)
    assert replica.server is not None
    (recorder,) = children(replica.server.pid)
    os.kill(recorder, signal.SIGSTOP)
    body = json.dumps({"x": "y" * 60_000})
    eventually(lambda: ask(replica, body) == 200 and replica.metric("predictions_dropped_total"))
    assert replica.metric("server_memory_bytes") < 80 * 2**20
    os.kill(recorder, signal.SIGKILL)
    eventually(lambda: children(replica.server.pid if replica.server else 0) not in ([], [recorder]))
    before = replica.metric("predictions_written_total")
    eventually(lambda: ask(replica, '{"after": 1}') == 200 and replica.metric("predictions_written_total") > before)
    eventually(lambda: any(line.input == '{"after":1}' for line in latest(home, "late", "staging", 10)))
    assert ask(replica, json.dumps({"x": "y" * 70_000})) == 200
    assert replica.metric("predictions_skipped_total") == 1


def test_a_large_spool_becomes_parquet_while_the_next_is_written(replica: Replica, serve: Serve) -> None:
    home = serve("def predict(model, batch): return batch")
    body = json.dumps({"x": "y" * 60_000})
    assert {ask(replica, body) for _ in range(LARGE // 120_000 + 10)} == {200}
    first = eventually(lambda: collected(home))
    assert ask(replica, '{"after": 1}') == 200
    eventually(lambda: latest(home, "late", "staging", 1)[0].input == '{"after":1}')
    assert collected(home) == first, "the one after it is open"
    stop(replica)
    assert len(collected(home)) == 2


def test_a_disk_that_takes_no_more_costs_rows_and_no_answer(replica: Replica, serve: Serve) -> None:
    """A recorder that may write files of 3,000 bytes only, as on a disk that is full."""
    home = serve("def predict(model, batch): return batch")
    assert ask(replica, '{"before": 1}') == 200
    known(home, 1)
    assert replica.server is not None
    (recorder,) = children(replica.server.pid)
    resource.prlimit(recorder, resource.RLIMIT_FSIZE, (3000, 3000))
    assert {ask(replica, json.dumps({"x": "y" * 5000})) for _ in range(20)} == {200}
    eventually(lambda: "File too large" in replica.server_log.read_text())
    eventually(lambda: children(replica.server.pid if replica.server else 0) not in ([], [recorder]))
    before = replica.metric("predictions_written_total")
    eventually(lambda: ask(replica, '{"after": 1}') == 200 and replica.metric("predictions_written_total") > before)
    eventually(lambda: any(line.input == '{"after":1}' for line in latest(home, "late", "staging", 10)))
    stop(replica)
    assert collected(home)
    assert '{"before":1}' in [line.input for line in latest(home, "late", "staging", 10)]


def test_the_log_has_a_bound_in_bytes_and_in_time(replica: Replica, serve: Serve) -> None:
    home = serve(size=6000, keep=3600.0)
    place = home.predictions / "late" / "staging"
    for number, size in ((1, 3000), (2, 3000), (3, 2000)):
        (place / f"{number:020}-r0-0-1.parquet").write_bytes(b"x" * size)
    os.utime(place / f"{2:020}-r0-0-1.parquet", (0, 0))
    collect(home)
    assert [file.name[19] for file in files(home)] == ["3"]


def test_nothing_is_written_while_nobody_comes_for_it(replica: Replica, serve: Serve) -> None:
    home = serve(size=1000)
    spool = home.predictions / "late" / "staging" / "spool"
    (spool / "old.jsonl").write_bytes(b"x" * 1000)
    assert ask(replica, '{"x": 1}') == 200
    eventually(lambda: "1000 bytes wait" in replica.server_log.read_text())
    assert [path.name for path in spool.iterdir()] == ["old.jsonl"]


@given(st.lists(st.binary(min_size=1), min_size=1, unique=True), st.floats(0, 1))
def test_who_is_in_a_small_sample_is_in_every_larger_one(units: list[bytes], share: float) -> None:
    for unit in units:
        assert not sampled(unit, share) or sampled(unit, min(1.0, share + 0.1))
        assert sampled(unit, 1.0)
        assert not sampled(unit, 0.0)


def test_a_sample_has_its_share_of_units_and_takes_no_side_in_an_experiment() -> None:
    units = [b"visitor-%d" % number for number in range(20_000)]
    taken = [unit for unit in units if sampled(unit, 0.1)]
    assert 1850 < len(taken) < 2150


def test_what_is_no_json_is_not_remembered() -> None:
    assert without(b"\xff\x00", frozenset()) is None
    assert without(b"[" * 100_000, frozenset()) is None
    assert without(b'{"a": 1e400}', frozenset("b")) in (None, '{"a":null}')


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_the_last_answers_are_read_at_the_terminal(
    replica: Replica, serve: Serve, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = serve()
    monkeypatch.setenv("MAWASU_HOME", str(home.path))
    for number in range(3):
        assert ask(replica, f'{{"x": {number}}}') == 200
    known(home, 3)
    predictions("late", "staging", 2, as_csv=False, as_json=False)
    assert [line.split()[-2] for line in capsys.readouterr().out.splitlines()] == ["INPUT", '{"x":1}', '{"x":2}']
    predictions("late", "staging", 20, as_csv=True, as_json=False)
    read = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["output"] for row in read] == [f'{{"y":{2 * n},"who":{{"name":null}}}}' for n in range(3)]
    predictions("late", "staging", 1, as_csv=False, as_json=True)
    assert json.loads(capsys.readouterr().out)[0]["status"] == 200
    with pytest.raises(UsageError, match="late/production has no prediction log"):
        predictions("late", "production", 1, as_csv=False, as_json=True)
