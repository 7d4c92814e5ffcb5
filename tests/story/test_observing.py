"""What is pushed can be watched: its metrics, its rates, its prediction log, from the gateway to the terminal."""

from __future__ import annotations

import csv
import io
import urllib.request

from tests.serving.collector import Collector, collecting
from tests.story import texts
from tests.story.world import Mawasu, eventually, free_port


def test_what_is_asked_through_the_gateway_is_counted_traced_and_remembered(own: Mawasu) -> None:
    with collecting() as collector:
        watch(own, collector)


def test_a_new_release_knows_what_is_asked_most_before_it_has_traffic(own: Mawasu) -> None:
    own.up()
    asked = texts.feature().replace("  timeout: 20s", "  cache: {ttl: 60s, warm: 1}\n  timeout: 20s")
    repo = own.repo("sums", {**texts.project(), "mawasu.yaml": asked})
    repo.push()
    own.finished("sums", 1)
    path, often, rarely = "/sums/staging/predict", {"x": 417.25}, {"x": 318.75}
    for body in (often, often, often, rarely):
        assert own.call(path, body=body).status == 200
    old = own.call(path, body=often)
    repo.push_files({"api/handler.py": texts.handler("two")})
    own.finished("sums", 2)
    new = own.call(path, body=often)
    assert new.headers["cache-status"].startswith("mawasu; hit")
    assert new.headers["mawasu-release"] != old.headers["mawasu-release"]
    assert (old.body["says"], new.body["says"]) == ("one", "two"), "it was asked for its own answer"
    assert "fwd=uri-miss" in own.call(path, body=rarely).headers["cache-status"]


def count(port: int, sample: str) -> int:
    page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    (line,) = (line for line in page.splitlines() if line.startswith(sample))
    return int(line.removeprefix(sample))


def watch(own: Mawasu, collector: Collector) -> None:
    port = free_port()
    own.cli("up", "--port", str(own.port), "--metrics", str(port), "--traces", collector.url)
    own.key = own.cli("keys", "create", "tests", "--json").json()["key"]
    asked = texts.feature().replace(
        "  timeout: 20s", "  predictions: {sample: 1, redact: [x]}\n  cache: {ttl: 60s}\n  timeout: 20s"
    )
    repo = own.repo("sums", {**texts.project(), "mawasu.yaml": asked})
    repo.push()
    own.finished("sums", 1)
    path = "/sums/staging/predict"
    whose = f'feature="sums",environment="staging",revision="{own.serving("sums")}",replica="0"'
    asked_well = f'mawasu_requests_total{{{whose},operation="POST /predict",status="200"}} '
    before = count(port, asked_well)
    for number in (1, 2, 2):
        assert own.call(path, body={"x": number}, headers={"mawasu-unit": "visitor"}).status == 200
    assert own.call("/sums/staging/-/metrics").status == 404

    assert count(port, f"mawasu_up{{{whose}}} ") == 1
    assert before > 0, "examples and the contract check"
    assert count(port, asked_well) == before + 3
    assert count(port, f"mawasu_cache_hits_total{{{whose}}} ") >= 1
    assert own.cli("metrics").out.count("mawasu_up{") == 1
    (row,) = own.cli("top", "--json", "--every", "0.2").json()
    assert (row["feature"], row["replicas"], row["workers"], row["rps"]) == ("sums", 1, 1, 0.0)
    assert "sums" in own.cli("top", "--once", "--every", "0.2").out

    name = "0af7651916cd43dd8448eb211c80319c"
    own.call(path, body={"x": 1}, headers={"traceparent": f"00-{name}-b7ad6b7169203331-01"})
    eventually(lambda: len(collector.of(name)) == 2, "the gateway's span and the server's, which knew the answer")

    log = eventually(lambda: rows if len(rows := answers(own)) == 4 else None, "four answers in the log")
    assert [row["cached"] for row in log] == ["False", "False", "True", "True"]
    assert {(row["unit"], row["operation"], row["input"]) for row in log[:3]} == {
        ("visitor", "POST /predict", '{"x":null}')
    }
    assert len({row["id"] for row in log}) == 4
    own.down()
    own.up()
    kept = own.home / "records" / "predictions" / "sums" / "staging"
    eventually(lambda: list(kept.glob("*.parquet")), "Parquet of what was written before")
    assert answers(own) == log


def answers(own: Mawasu) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(own.cli("predictions", "sums", "staging", "--csv").out)))
