"""Revisions on this machine: started, judged, served, replaced and ended, with real processes."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mawasu.errors import BlockedError, CancelledError, PlatformError
from mawasu.platforms.local.process import ensure_running
from mawasu.ports import Services
from mawasu.words import Endpoint, Handler, Health, RevisionStatus
from tests.services.house import House, Lines, alive, eventually
from tests.serving.replica import Answer, request

WHO = """
import os
def load(directory): return directory and open(directory + "/weights").read()
def predict(model, batch): return [[model, os.getpid(), os.environ.get(item.get("name", ""))] for item in batch]
"""


def up(house: House, code: str = WHO, **fields: Any) -> Endpoint:
    spec = house.spec(code, **fields)
    endpoint = house.services.start(spec, Lines())
    house.services.wait_ready(spec.revision, 20, threading.Event())
    return endpoint


def ask(endpoint: Endpoint, body: bytes = b"{}", replica: int = 0) -> Answer:
    return request(Path(endpoint.sockets[replica]), "POST", "/", body)


def fails(endpoint: Endpoint, body: bytes) -> bool:
    """Whether the connection is cut before an answer."""
    try:
        ask(endpoint, body)
    except ConnectionError:
        return True
    return False


def status(house: House, revision: str = "r1") -> RevisionStatus:
    return next(status for status in house.services.running() if status.revision == revision)


def test_a_revision_answers_on_every_replicas_socket(house: House) -> None:
    model = house.trees.add({"weights": "42", "deep/er": "x"})
    endpoint = up(house, model=model, replicas=2)
    answers = [ask(endpoint, replica=number) for number in range(2)]
    assert [answer.json[0] for answer in answers] == ["42", "42"]
    assert answers[0].json[1] != answers[1].json[1]
    assert status(house) == RevisionStatus("r1", Health.READY, 2, 2, 0)


def test_starting_the_same_again_changes_nothing(house: House) -> None:
    first = up(house)
    pid = ask(first).json[1]
    assert up(house) == first
    assert ask(first).json[1] == pid


def test_two_revisions_share_one_copy_of_a_model(house: House) -> None:
    model = house.trees.add({"weights": "1"})
    up(house, model=model, revision="r1")
    up(house, model=model, revision="r2")
    assert len(list(house.home.trees.iterdir())) == 1


def test_secrets_reach_the_worker_and_nothing_that_others_can_read(house: House) -> None:
    endpoint = up(house, secrets={"TOKEN": "s3cret"}, environ={"REGION": "eu"})
    assert ask(endpoint, b'{"name": "TOKEN"}').json[2] == "s3cret"
    assert ask(endpoint, b'{"name": "REGION"}').json[2] == "eu"
    for pid in alive(str(house.home.path)):
        with contextlib.suppress(FileNotFoundError):
            assert b"s3cret" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    files = [path for path in house.home.path.rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()]
    assert [stat.S_IMODE(path.stat().st_mode) for path in files] == [0o600]


def test_a_handler_that_cannot_be_imported_is_refused_early_with_its_line(house: House) -> None:
    house.services.start(house.spec("import nowhere_to_be_found"), Lines())
    began = time.monotonic()
    with pytest.raises(BlockedError, match="No module named 'nowhere_to_be_found'") as caught:
        house.services.wait_ready("r1", 60, threading.Event())
    assert time.monotonic() - began < 20
    assert "\n" not in caught.value.message
    assert "handler.py" in caught.value.hint
    assert status(house).health is Health.FAILING


def test_a_worker_that_never_gets_ready_is_given_up_at_the_timeout(house: House) -> None:
    house.services.start(house.spec("import time\nprint('loading the world')\ntime.sleep(100)"), Lines())
    eventually(lambda: any("loading the world" in line for line in house.services.logs("r1")))
    assert status(house).health is Health.STARTING
    with pytest.raises(BlockedError, match=r"not ready after 0\.2 seconds: loading the world"):
        house.services.wait_ready("r1", 0.2, threading.Event())


def test_a_command_that_is_never_healthy_is_told_what_is_missing(house: House) -> None:
    serve = f"exec {sys.executable} -S -m http.server --bind 127.0.0.1 $PORT"
    house.services.start(house.spec(WHO, handler=Handler(command=serve)), Lines())
    with pytest.raises(BlockedError) as caught:
        house.services.wait_ready("r1", 1, threading.Event())
    assert "`GET /healthz` on $PORT must answer 200" in caught.value.hint


def test_waiting_can_be_cancelled(house: House) -> None:
    house.services.start(house.spec("import time\ntime.sleep(100)"), Lines())
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        house.services.wait_ready("r1", 60, cancel)


def test_a_killed_worker_is_replaced_and_the_other_replica_answers_meanwhile(house: House) -> None:
    endpoint = up(house, replicas=2)
    pid = ask(endpoint).json[1]
    keeper = house.process("r1.0.worker").pid
    os.kill(keeper, signal.SIGKILL)
    assert ask(endpoint, replica=1).status == 200
    eventually(lambda: (answer := ask(endpoint)).status == 200 and answer.json[1] != pid)  # it may answer once more
    assert eventually(lambda: found if (found := status(house)).health is Health.READY else None).restarts == 1


def test_a_lost_process_of_a_worker_costs_nobody_an_answer(house: House) -> None:
    endpoint = up(house, handler=Handler("api.handler:predict", workers=2))
    for number in (signal.SIGKILL, signal.SIGSTOP):
        pid = ask(endpoint).json[1]
        os.kill(pid, number)
        assert ask(endpoint).status == 200
        eventually(lambda pid=pid: not Path(f"/proc/{pid}").exists())  # type: ignore[misc]
    assert status(house).restarts == 0


def test_a_killed_server_is_replaced(house: House) -> None:
    endpoint = up(house)
    pid = ask(endpoint).json[1]
    os.kill(house.process("r1.0.server").pid, signal.SIGKILL)
    eventually(lambda: status(house).ready == 1 and status(house).restarts == 1)
    assert ask(endpoint).json[1] == pid


def test_a_killed_supervisor_costs_a_moment_and_all_is_back(house: House) -> None:
    endpoint = up(house, replicas=2)
    before = ask(endpoint).json[1]
    os.kill(house.supervisor(), signal.SIGKILL)
    eventually(lambda: before not in alive(str(house.home.path)))
    ensure_running(house.home)
    house.services.wait_ready("r1", 20, threading.Event())
    assert ask(endpoint, replica=1).status == 200


def test_a_new_daemon_finds_what_runs(house: House) -> None:
    endpoint = up(house)
    pid = ask(endpoint).json[1]
    again: Services = house.new_services()
    assert [found.revision for found in again.running()] == ["r1"]
    again.grant("r1")
    assert again.start(house.spec(WHO), Lines()) == endpoint
    assert ask(endpoint).json[1] == pid
    again.stop("r1", 1)
    assert house.services.running() == []


def test_stopping_under_load_loses_no_request(house: House) -> None:
    """As behind a gateway: callers use either replica; one of them goes."""
    code = "import time\ndef predict(model, batch): time.sleep(0.005); return batch"
    going, staying = up(house, code, revision="r1"), up(house, code, revision="r2")
    stop = threading.Event()
    statuses: list[int] = []
    served: set[str] = set()

    def call() -> None:
        while not stop.is_set():
            for endpoint in (going, staying):
                with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):  # never accepted: the next
                    statuses.append(ask(endpoint, b'{"x": 1}').status)
                    served.add(endpoint.revision)
                    break

    threads = [threading.Thread(target=call) for _ in range(6)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(statuses) > 50)
    house.services.stop("r1", 10)
    after = len(statuses)
    eventually(lambda: len(statuses) > after + 50)
    stop.set()
    for thread in threads:
        thread.join()
    assert set(statuses) == {200}
    assert served == {"r1", "r2"}


def test_stopping_waits_for_a_slow_answer_and_no_longer_than_told(house: House) -> None:
    slow = "import time\ndef predict(model, batch): print('asked', flush=True); time.sleep(batch[0]['s']); return batch"
    endpoint = up(house, slow)
    answers: list[Answer] = []
    cut_off: list[bool] = []
    caller = threading.Thread(target=lambda: answers.append(ask(endpoint, b'{"s": 0.5}')))
    caller.start()
    eventually(lambda: any("asked" in line for line in house.services.logs("r1")))
    house.services.stop("r1", 10)
    caller.join()
    assert answers[0].json == {"s": 0.5}

    endpoint = up(house, slow, revision="r2")
    cut = threading.Thread(target=lambda: cut_off.append(fails(endpoint, b'{"s": 60}')))
    cut.start()
    eventually(lambda: any("asked" in line for line in house.services.logs("r2")))
    began = time.monotonic()
    house.services.stop("r2", 0.3)
    assert time.monotonic() - began < 5
    cut.join()
    assert cut_off == [True]


def test_nothing_is_left_of_a_stopped_revision_but_its_log(house: House) -> None:
    up(house, replicas=2, revision="r1")
    house.services.stop("r1", 5)
    assert alive(str(house.home.services / "r1")) == []
    assert list(house.home.services.iterdir()) == []
    assert any("is loaded" in line for line in house.services.logs("r1"))
    house.services.stop("r1", 5)


def test_while_a_revision_drains_it_says_so(house: House) -> None:
    slow = "import time\ndef predict(model, batch): print('asked', flush=True); time.sleep(1); return batch"
    endpoint = up(house, slow)
    caller = threading.Thread(target=ask, args=(endpoint,))
    caller.start()
    eventually(lambda: any("asked" in line for line in house.services.logs("r1")))
    stopping = threading.Thread(target=house.services.stop, args=("r1", 10))
    stopping.start()
    eventually(lambda: status(house).health is Health.DRAINING)
    caller.join()
    stopping.join()


def test_more_and_fewer_replicas(house: House) -> None:
    up(house, replicas=1)
    first = house.process("r1.0.worker").pid
    endpoint = up(house, replicas=3)
    assert len(endpoint.sockets) == 3
    up(house, replicas=1)
    assert {found.name for found in house.host.status()} == {"r1.0.server", "r1.0.worker"}
    assert house.process("r1.0.worker").pid == first


def test_any_http_server_is_a_revision_too(house: House) -> None:
    serve = f"cd api && touch healthz && exec {sys.executable} -S -m http.server --bind 127.0.0.1 $PORT"
    endpoint = up(house, handler=Handler(command=serve))
    answer = request(Path(endpoint.sockets[0]), "GET", "/handler.py")
    assert answer.body.decode() == WHO
    assert "mawasu-release" in answer.headers
    house.services.stop("r1", 5)
    assert alive(str(house.home.services / "r1")) == []


def test_a_long_name_still_fits_a_socket(house: House) -> None:
    revision = "callback-preview-" + "x" * 150
    endpoint = up(house, revision=revision)
    assert len(endpoint.sockets[0]) <= 100
    assert status(house, revision).health is Health.READY
    assert any("is loaded" in line for line in house.services.logs(revision))
    house.services.stop(revision, 1)


def test_the_gateway_and_nobody_else_passes_its_directory(house: House) -> None:
    endpoint = up(house)
    house.services.grant("r1")
    assert stat.S_IMODE(Path(endpoint.sockets[0]).parent.stat().st_mode) == 0o700
    with pytest.raises(PlatformError, match="r9 is not running here"):
        house.services.grant("r9")


def test_what_is_written_about_a_revision_can_be_read_again(house: House) -> None:
    spec = house.spec(WHO, environ={"A": "b"}, secrets={"T": "s"})
    house.services.start(spec, Lines())
    written = (house.home.services / "r1" / "spec.json").read_bytes()
    assert msgspec.json.decode(written, type=type(spec)) == msgspec.structs.replace(spec, secrets={})
