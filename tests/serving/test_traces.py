"""Traces from the gateway to the worker: a real Envoy, a server and a worker, and a collector that reads all of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mawasu.gateway.edge import Edge
from mawasu.gateway.tracing import collector as endpoint
from mawasu.serving.otlp import TOGETHER, WAITING, Exporter, Span
from mawasu.serving.tracing import parent
from mawasu.words import Caching, Endpoint
from tests.gateway.conftest import Stand, standing
from tests.gateway.machinery import call, document, free_port, raw, site
from tests.serving.collector import Collector, collecting
from tests.serving.collector import Span as Seen
from tests.serving.replica import RELEASE, Replica, eventually, request

AT = "/sums/staging"
SECRET = "Matsuo-Basho"
CODE = """
import os, time
def predict(model, batch):
    if batch[0].get("die") and not os.path.exists("died"):
        open("died", "w").close()
        os._exit(1)
    time.sleep(sum(item.get("sleep", 0) for item in batch))
    if batch[0].get("fail"):
        raise ValueError("no")
    return [item.get("x", 0) * 2 for item in batch]
"""
STREAM = """
import time
def predict(model, item):
    for number in range(3):
        time.sleep(0.02)
        yield number
"""
ECHO = """
import json, os
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(self.headers.get_all("traceparent") or []).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


class World(msgspec.Struct):
    collector: Collector
    stand: Stand
    replica: Replica
    key: str

    def ask(self, target: str = "/predict", body: str = "{}", **headers: str) -> int:
        sent = {"x-api-key": self.key, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return call(self.stand.port, "POST", f"{AT}{target}", sent, body.encode()).status


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with (
        tempfile.TemporaryDirectory(prefix="mw-") as directory,
        collecting() as collector,
        standing(Edge(traces=endpoint(collector.url))) as stand,
    ):
        replica = traced(Replica(Path(directory)), collector)
        try:
            replica.ready(CODE, **told(cache=Caching(60.0), max_batch=4))
            text = document(predict={"post": {"security": [{"key": []}]}}, open={"post": {"security": []}})
            served = Endpoint("r1", (str(replica.listen),))
            stand.gateway.switch([site(served, text, "sums", "staging")])
            _, key = stand.keys.create("bob", ["*"])
            stand.gateway.refresh_keys()
            yield World(collector, stand, replica, key)
        finally:
            replica.close()


def traced(replica: Replica, collector: Collector) -> Replica:
    replica.environ = {"MAWASU_TRACES_URL": f"{collector.url}/v1/traces"}
    return replica


def told(**more: Any) -> dict[str, Any]:
    labels = {"feature": "sums", "environment": "staging", "revision": "r1", "replica": "0"}
    return {"operations": ("POST /predict", "POST /open"), "labels": labels, **more}


def trace(flags: str = "01") -> tuple[str, str]:
    """A new trace's id, and how its caller says so."""
    name = f"{time.time_ns():032x}"
    return name, f"00-{name}-00f067aa0ba902b7-{flags}"


def whole(collector: Collector, name: str, count: int) -> dict[str, Seen]:
    """The spans of a trace by service and name, once there are so many."""
    spans = eventually(lambda: found if len(found := collector.of(name)) >= count else None)
    assert len(spans) == count
    return {f"{span.service}: {span.name}": span for span in spans}


GATEWAY, SERVER, QUEUE, PREDICT = (
    "mawasu-gateway: POST /sums/staging/predict",
    "sums: POST /predict",
    "sums: queue",
    "sums: predict",
)


def test_a_request_is_one_trace_from_its_caller_to_the_worker(world: World) -> None:
    name, said = trace()
    assert world.ask(body='[{"x": 1, "sleep": 0.05}, {"x": 2}]', traceparent=said) == 200
    spans = whole(world.collector, name, 4)
    gateway, server, queue, predict = (spans[one] for one in (GATEWAY, SERVER, QUEUE, PREDICT))
    assert (gateway.parent, server.parent) == ("00f067aa0ba902b7", gateway.id)
    assert {queue.parent, predict.parent} == {server.id}
    assert gateway.start <= server.start <= queue.start <= queue.end == predict.start < predict.end <= server.end
    assert 0.03e9 < predict.end - predict.start < 5e9, "taken by the server, which may have been kept from its clock"
    assert gateway.attributes["mawasu.revision"] == "r1"
    assert server.attributes == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "url.path": "/predict",
        "http.route": "/predict",
        "http.response.status_code": 200,
        "mawasu.cache": "miss",
    }
    assert server.resource == {
        "service.namespace": "mawasu",
        "service.name": "sums",
        "service.version": RELEASE,
        "deployment.environment.name": "staging",
        "mawasu.feature": "sums",
        "mawasu.environment": "staging",
        "mawasu.revision": "r1",
        "mawasu.replica": "0",
        "mawasu.release": RELEASE,
    }
    assert predict.attributes == {"mawasu.batch_items": 2, "mawasu.batch_requests": 1}
    assert not any(span.failed for span in spans.values())


def test_a_trace_shows_that_the_cache_answered_and_that_the_model_failed(world: World) -> None:
    hit, said = trace()
    assert [world.ask(body='{"x": 77}'), world.ask(body='{"x": 77}', traceparent=said)] == [200, 200]
    fails, of_it = trace()
    assert world.ask(body='{"fail": 1}', traceparent=of_it) == 500
    assert whole(world.collector, hit, 2)[SERVER].attributes["mawasu.cache"] == "hit"
    server = whole(world.collector, fails, 4)[SERVER]
    assert (server.failed, server.attributes["error.type"]) == (True, "500")


def test_a_trace_shows_the_worker_that_was_lost_and_the_one_that_answered(world: World) -> None:
    name, said = trace()
    assert world.ask(body='{"die": 1, "x": 3}', traceparent=said) == 200
    whole(world.collector, name, 6)
    by = [[span for span in world.collector.of(name) if span.name == what] for what in ("queue", "predict")]
    (first, second), (lost, answered) = (sorted(spans, key=lambda span: span.start) for spans in by)
    assert (lost.failed, answered.failed) == (True, False)
    assert first.end == lost.start <= lost.end <= second.start <= second.end == answered.start


def test_who_sends_no_traceparent_begins_a_trace_and_who_says_not_sampled_is_in_none(world: World) -> None:
    silent, said = trace("00")
    before = len(world.collector.spans)
    assert world.ask(traceparent=said, body='{"x": 105}') == 200
    assert world.ask(body='{"x": 106}') == 200, "sent after it, so collected after it"
    spans = eventually(lambda: new if len(new := world.collector.spans[before:]) >= 4 else None)
    assert len({span.trace for span in spans}) == 1
    assert [span.parent for span in spans if span.service == "mawasu-gateway"] == [""]
    assert not world.collector.of(silent)


def test_no_key_no_token_and_no_query_is_in_any_span(world: World) -> None:
    before = len(world.collector.bodies)
    port = world.stand.port
    query = f"?key={SECRET}&access_token={SECRET}&q={SECRET}"
    headers = {
        "x-api-key": SECRET,
        "authorization": f"Bearer {SECRET}",
        "cookie": f"mawasu-unit={SECRET}",
        "referer": f"http://page/?token={SECRET}",
        "x-client-trace-id": SECRET,
        "x-envoy-decorator-operation": SECRET,
        "mawasu-unit": SECRET,
    }
    for kind in (
        "application/json",
        "application/grpc",
        "Application/GRPC",
        "application/grpc+x",
        "application/grpc-web",
    ):
        sent = headers | {"content-type": kind}
        for path in (f"{AT}/open{query}", f"{AT}/predict{query}", f"/none/{SECRET}{query}", f"{AT}/open/{query}"):
            call(port, "POST", path, sent, f'{{"x": "{SECRET}", "fail": 1}}'.encode())
        for line in (f"GET http://me:{SECRET}@here/{query}", f"GET {AT}/open#{SECRET}", f"GET //{SECRET}@x/{query}"):
            raw(port, f"{line} HTTP/1.1\r\nhost: me:{SECRET}@x\r\ncontent-type: {kind}\r\n\r\n".encode())
    name, said = trace()
    assert world.ask(f"/predict{query}", body='{"x": 1}', traceparent=said, tracestate="a=b") == 200
    assert len(whole(world.collector, name, 4)) == 4
    said_all = b"".join(world.collector.bodies[before:])
    assert said_all.count(b"/open") > 6
    assert SECRET.encode() not in said_all


def test_a_collector_that_hangs_costs_no_answer_anything_and_what_is_lost_is_counted(world: World) -> None:
    lost, sent = (world.replica.metric(f"spans_{what}_total") for what in ("dropped", "sent"))
    world.collector.open.clear()
    try:
        took = []
        many = json.dumps([{}] * 2000)  # 500 batches: a thousand spans
        for number in range(WAITING // 1000 + 3):
            began = time.monotonic()
            assert world.ask(body=f'{{"x": {number}}}') == 200
            took.append(time.monotonic() - began)
            assert world.ask(f"/predict?n={number}", body=many) == 200
        assert world.replica.metric("spans_dropped_total") > lost
        assert max(took) < 0.5
    finally:
        world.collector.open.set()
    eventually(lambda: world.replica.metric("spans_sent_total") > sent)
    name, said = trace()
    assert world.ask(body='{"x": "new"}', traceparent=said) == 200
    assert whole(world.collector, name, 4)


def test_an_answer_in_pieces_ends_its_span_with_the_last_one_and_what_waits_is_sent_before_the_server_leaves(
    replica: Replica,
) -> None:
    with collecting() as collector:
        traced(replica, collector).ready(STREAM, **told())
        name, said = trace()
        assert request(replica.listen, "POST", "/predict", b"{}", {"traceparent": said}).body == b"0\n1\n2\n"
        assert replica.server is not None
        replica.server.terminate()
        assert replica.server.wait(10) == 0
        spans = {span.name: span for span in collector.of(name)}
    server, predict = spans["POST /predict"], spans["predict"]
    assert server.end - predict.end > 0.03e9, "the worker's span ends with the first piece"


def test_an_api_command_is_told_of_the_servers_span(replica: Replica) -> None:
    (replica.directory / "echo.py").write_text(ECHO)
    with collecting() as collector:
        traced(replica, collector).start(command=f"{sys.executable} echo.py", **told())
        name, said = trace()
        headers = {"traceparent": said}
        eventually(replica.is_ready)
        (got,) = request(replica.listen, "GET", "/who", None, headers).json
        replica.close()
        assert got in [f"00-{name}-{span.id}-01" for span in collector.of(name)]


def test_a_connection_that_the_collector_closed_meanwhile_loses_nothing_and_a_refusal_is_counted() -> None:
    span = Span("0" * 31 + "1", "0" * 15 + "1", "", "x", 1, "1", "2")
    with collecting() as collector:
        collector.once = True
        exporter = Exporter(f"{collector.url}/v1/traces", {"service.name": "x"})
        for sent in (1, 2, 3):
            for _ in range(TOGETHER):
                exporter.put(span)
            eventually(lambda: exporter.sent == sent * TOGETHER)  # noqa: B023
        collector.status = 503
        exporter.put(span)
        exporter.close()
        assert (exporter.sent, exporter.dropped) == (3 * TOGETHER, 1)
    nobody = Exporter(f"http://127.0.0.1:{free_port()}/v1/traces", {})
    nobody.put(span)
    nobody.close()
    assert (nobody.sent, nobody.dropped) == (0, 1)


def test_envoy_takes_a_collector_that_is_reached_by_tls() -> None:
    with standing(Edge(traces=endpoint("https://[::1]:4318/otlp"))) as stand:
        assert call(stand.port, "GET", "/").status == 404


def test_who_does_not_ask_for_traces_imports_nothing_of_them() -> None:
    rooms = ", ".join(f"mawasu.serving.{name}" for name in ("server", "handler", "proxy", "cached", "predictions"))
    program = f"import sys, {rooms}\nprint([name for name in sys.modules if re.search('otlp|tracing|opentel', name)])"
    done = subprocess.run([sys.executable, "-c", f"import re\n{program}"], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


GOOD = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("value", "known"),
    [
        (GOOD, True),
        (GOOD[:-2] + "03", True),
        ("cc" + GOOD[2:] + "-more", True),
        (GOOD[:-2] + "00", False),
        (GOOD + "-more", False),
        ("ff" + GOOD[2:], False),
        (GOOD.upper(), False),
        (re.sub("0af7[^-]*", "0" * 32, GOOD), False),
        (re.sub("b7ad[^-]*", "0" * 16, GOOD), False),
        (GOOD + "\n", False),
        (GOOD[:-1], False),
        ("", False),
    ],
)
def test_a_traceparent_is_read_as_w3c_writes_it(value: str, known: bool) -> None:
    expected = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331") if known else None
    assert parent(value.encode()) == expected
