"""What a server counts of itself, as Prometheus reads it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mawasu.cli.rates import parse, quantile, rates
from mawasu.serving.metrics import Requests, text
from mawasu.words import Caching, Predictions
from tests.docs.pages import ROOT
from tests.gateway.machinery import free_port
from tests.serving.replica import Replica, UnixConnection, eventually, request

DOUBLE = """
def predict(model, batch):
    if batch[0].get("fail"):
        raise ValueError("no")
    return [{"y": 2 * item["x"]} for item in batch]
"""
REFUSAL = "mawasu_status"  # what a handler's own refusals are told by, no metric
OPERATIONS = ("POST /predict", "POST /predict/{id}")


def metrics(replica: Replica) -> str:
    return request(replica.listen, "GET", "/-/metrics").body.decode()


def test_requests_are_counted_by_operation_and_status_and_timed(replica: Replica) -> None:
    replica.ready(DOUBLE, operations=OPERATIONS, labels={"feature": "late", "revision": 'r"1'})
    for target, body in (("/predict", '{"x": 1}'), ("/predict/7/?a=b", '{"x": 1}'), ("/predict/8", '{"fail": 1}')):
        request(replica.listen, "POST", target, body.encode())
    for n in range(3):
        request(replica.listen, "POST", f"/thought/up/{n}", b"not JSON")
    said = metrics(replica)
    labels = r'feature="late",revision="r\"1"'
    for operation, status, count in (
        ("POST /predict", 200, 1),
        ("POST /predict/{id}", 200, 1),
        ("POST /predict/{id}", 500, 1),
        ("other", 400, 3),
    ):
        assert f'mawasu_requests_total{{{labels},operation="{operation}",status="{status}"}} {count}\n' in said
    assert f'mawasu_request_seconds_bucket{{{labels},operation="other",le="+Inf"}} 3\n' in said
    assert f'mawasu_request_seconds_count{{{labels},operation="POST /predict/{{id}}"}} 2\n' in said
    assert "/-/" not in said, "what is asked of the server itself is no request"
    assert 'mawasu_batch_items_bucket{feature="late",revision="r\\"1",le="1"} 3\n' in said
    for name in ("server", "worker"):
        assert 2**20 < replica.metric(f"{name}_memory_bytes") < 2**30
    assert replica.metric("server_memory_bytes") < 80 * 2**20


def test_who_comes_through_the_gateway_finds_no_page_of_the_servers_own(replica: Replica) -> None:
    replica.ready(DOUBLE, cache=Caching(60.0, warm=3))
    for page in ("/-/metrics", "/-/top", "/-/ready"):
        assert request(replica.listen, "GET", page).status == 200
        carried = request(replica.listen, "GET", page, headers={"x-request-id": "7"})
        assert carried.status == 404


def test_the_pages_name_metrics_that_there_are(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAWASU_REDIS_URL", f"unix://{replica.directory}/nobody")
    monkeypatch.setenv("MAWASU_TRACES_URL", f"http://127.0.0.1:{free_port()}/v1/traces")
    predictions = Predictions(1.0, keep=60.0, size=2**20)
    replica.ready(DOUBLE, cache=Caching(60.0), predictions=predictions, spool=str(replica.directory))
    there = {"mawasu_up", *re.findall("^# TYPE ([a-z_]+) ", metrics(replica), re.MULTILINE)}
    for page in ("serving", "observing"):
        named = set(re.findall("mawasu_[a-z_]+[a-z]", (ROOT / f"docs/{page}.md").read_text()))
        assert named
        assert named - {REFUSAL} <= there


def test_a_caller_who_left_is_counted_as_one(replica: Replica) -> None:
    replica.ready("import time\ndef predict(model, batch): time.sleep(1); return batch")
    connection = UnixConnection(replica.listen, 5)
    connection.request("POST", "/", b"{}")
    eventually(lambda: replica.metric("batches_total"))
    connection.close()
    eventually(lambda: 'status="499"} 1' in metrics(replica))


def test_rates_are_those_between_two_readings_and_a_restart_begins_at_nothing(replica: Replica) -> None:
    replica.ready(DOUBLE, cache=Caching(60.0))
    before = parse(metrics(replica))
    for _ in range(4):
        replica.ask({"x": 1})
    replica.ask([{"x": 1}, {"x": 2}, {"x": 3}])
    replica.ask({"fail": 1})
    after = parse(metrics(replica))
    seen = rates([(before, after)], 2.0)
    assert (seen.rps, seen.hits, seen.errors, seen.batch) == (3.0, 0.5, 1 / 6, 5 / 3)
    assert 0 < (seen.p50 or 0) <= (seen.p99 or 0) < 5
    assert rates([(after, after)], 1.0)[:5] == (0.0, None, None, None, None)
    restarted = {**after, ("started_seconds", ()): 0.0}
    assert rates([(restarted, after)], 1.0).rps == rates([({}, after)], 1.0).rps == 6.0


@given(st.lists(st.floats(0.0001, 60.0), min_size=1), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_quantile_of_a_histogram_is_within_19_percent(times: list[float], share: float) -> None:
    requests = Requests()
    for seconds in times:
        requests.saw("POST", b"/", 200, seconds)
    found = quantile(share, parse(text(requests.families(), {}).decode()))
    exact = next(time for n, time in enumerate(sorted(times), 1) if n >= share * len(times))
    assert found is not None
    assert 1 / 1.19 <= found / exact <= 1.19


def test_paths_that_callers_think_up_take_no_room() -> None:
    requests = Requests(["GET /a/{id}"], "/late/production")
    for n in range(5000):
        requests.saw("GET", b"/late/production/a/%d" % n, 200, 0.001)
        requests.saw("GET", b"/b/%d" % n, 404, 0.001)
    assert len(requests._known) <= 1024
    counts = {sample.labels["operation"]: sample.value for sample in requests.families()[0].samples}
    assert counts == {"GET /a/{id}": 5000, "other": 5000}
