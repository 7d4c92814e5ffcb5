"""docs/http-contract.md, held to the real thing: a gateway, a server and a model's worker; and who keeps to it."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from bench.redis_server import RedisServer

from mawasu.client import Api
from mawasu.words import Caching, Endpoint
from tests.client.test_client_docs import Site
from tests.gateway.conftest import Stand, standing
from tests.gateway.machinery import Answer, call, limited, site
from tests.serving.replica import RELEASE, Replica

AT = "/flight-delay/production"
LATE = 10.0
CODE = """
import os, time

def predict(model, batch):
    if os.path.exists("broken"):
        raise RuntimeError("a secret place")
    if os.path.exists("slow"):
        time.sleep(1)
    return [{"delay": item["n"]} for item in batch]
"""


class Real(msgspec.Struct):
    stand: Stand
    replica: Replica
    key: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.stand.port}{AT}"

    def ask(self, item: object, path: str = "/predict", method: str = "POST", **headers: str) -> Answer:
        said = item if isinstance(item, bytes) else json.dumps(item).encode()
        told = {"x-api-key": self.key, "content-type": "application/json"}
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return call(self.stand.port, method, AT + path, told | more, said)

    @contextlib.contextmanager
    def being(self, word: str) -> Iterator[None]:
        """The model is `broken` or `slow`."""
        mark = self.replica.directory / word
        mark.touch()
        yield
        mark.unlink()


@pytest.fixture(scope="module")
def real() -> Iterator[Real]:
    with standing() as stand, tempfile.TemporaryDirectory() as directory:
        replica = Replica(Path(directory))
        try:
            replica.ready(CODE, cache=Caching(ttl=600, stale_if_error=3600, vary=("mawasu-unit",)))
            document = json.loads(limited({"reads": 1}, {"/predict": {}, "/few": {"reads": 1}}))
            for path in document["paths"].values():
                path["post"] = path.pop("get") | {"security": [{"key": []}]}
            text, nowhere = json.dumps(document), Endpoint("gone", (f"{directory}/gone",))
            served = site(Endpoint("r", (str(replica.listen),)), text)
            stand.gateway.switch([served, site(nowhere, text, feature="gone")])
            key = stand.keys.create("shop", ["*"])[1]
            stand.gateway.refresh_keys()
            yield Real(stand, replica, key)
        finally:
            replica.close()


def test_an_answer_says_how_long_it_may_be_kept_how_old_it_is_and_whose_it_is(real: Real) -> None:
    first, second = real.ask({"n": 1}), real.ask({"n": 1})
    for answer in (first, second):
        assert (answer.status, answer.body) == (200, '{"delay":1}')
        assert answer.headers["mawasu-release"] == RELEASE
        assert answer.headers["cache-control"] == "private, max-age=600, stale-if-error=3600"
        assert answer.headers["vary"] == "mawasu-unit"
        assert answer.headers["etag"] == first.headers["etag"]
        assert int(answer.headers["age"]) < LATE
    assert first.headers["cache-status"] == "mawasu; fwd=uri-miss; stored"
    assert second.headers["cache-status"].startswith("mawasu; hit; ttl=5")
    assert real.ask({"n": 1}, cache_control="no-cache").headers["cache-status"].startswith("mawasu; fwd=request")


def test_many_items_have_their_answers_in_their_order(real: Real) -> None:
    assert json.loads(real.ask([{"n": 3}, {"n": 1}]).body) == [{"delay": 3}, {"delay": 1}]


def test_a_refusal_is_its_code_and_one_line(real: Real) -> None:
    refusals = {
        400: [real.ask(b"{"), real.ask({"n": 1}, x_api_key="nobody's")],
        401: [call(real.stand.port, "POST", f"{AT}/predict", {}, b"{}")],
        404: [real.ask({"n": 1}, path="/elsewhere")],
        405: [real.ask(b"", method="DELETE")],
        503: [call(real.stand.port, "POST", "/gone/production/predict", {"x-api-key": real.key}, b"{}")],
    }
    with real.being("broken"):
        refusals[500] = [real.ask({"n": "new"})]
    with real.being("slow"):
        refusals[504] = [real.ask({"n": "newer"}, mawasu_deadline="100")]
    real.ask({}, path="/few")
    refusals[429] = [real.ask({}, path="/few")]
    for status, answers in refusals.items():
        for answer in answers:
            assert answer.status == status
            assert "\n" not in answer.message  # which also looks at the code in the body
            assert "secret place" not in answer.body
    assert refusals[429][0].headers["retry-after"] == "60"
    assert "retry-after" not in refusals[503][0].headers
    failed = json.loads(refusals[500][0].body)
    assert failed["id"] in failed["message"]
    assert failed["id"] in real.replica.log.read_text()


def test_the_library_keeps_to_it(real: Real) -> None:
    with Api(real.url, key=real.key, timeout=LATE) as api:
        answers = [api.predict({"n": 10}) for _ in range(2)]
        assert [(one.value, one.source, one.release) for one in answers] == [
            ({"delay": 10}, source, RELEASE) for source in ("live", "cache")
        ]
        assert [api.predict({"n": 10}, unit=unit).source for unit in ("a", "a", "b")] == ["live", "cache", "live"]
        assert [one.value["delay"] for one in api.predict_many([{"n": 12}, {"n": 10}])] == [12, 10]
    with real.being("slow"), Api(real.url, key=real.key, timeout=0.3, fallback=None) as hasty:
        late = hasty.predict({"n": 13})
        assert late.error is not None
        assert late.error.code in ("timeout", "busy", "broken")
    with Api(real.url, key="nobody's", fallback=None) as stranger:
        refused = stranger.predict({"n": 1}).error
        assert refused is not None
        assert (refused.code, refused.status) == ("refused", 400)


def test_a_site_in_php_keeps_to_it(real: Real, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as short, RedisServer(Path(short)) as redis:
        shop = Site(tmp_path, real.url, redis.path, real.key)
        assert real.ask({"n": "first"}).status == 200  # the model is done with what another test left it with
        assert shop.visit({"n": 20}) == {"delay": 20}
        (kept,) = redis.held()
        assert 3600 < int(redis.say("TTL", kept)[1:-2]) <= 4200
        with real.being("broken"):
            assert [shop.visit({"n": n}) for n in (20, 21)] == [{"delay": 20}, {"delay": None}]
