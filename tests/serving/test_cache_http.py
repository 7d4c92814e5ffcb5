"""What HTTP says about reuse, at a handler and at a server of the user's own; and that nobody gets another's answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mawasu.serving.http_cache import Life, Wish, life, matches, wish
from mawasu.serving.spelling import canonical, sorted_query
from mawasu.words import Caching
from tests.serving.replica import RELEASE, Answer, Replica, eventually, request
from tests.serving.test_cache import COUNT, SLOW, ask, status

SITE = """
import http.server, itertools, json, os, time
count = itertools.count(1)
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *args): pass
    def do_GET(self):
        body = b""
        if "content-length" in self.headers:
            body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/healthz":
            return self.reply(200, b"", {})
        path, _, query = self.path.partition("?")
        if os.path.exists("broken"):
            return self.reply(500, b"broken", {})
        if path == "/slow":
            time.sleep(0.3)
        said = dict(pair.split("=", 1) for pair in query.split("&") if "=" in pair)
        headers = {"content-type": "text/plain"}
        for name in ("cache-control", "vary", "etag", "set-cookie", "expires", "age"):
            if name in said:
                headers[name] = said[name].replace("+", " ")
        who = self.headers.get("x-endpoint-api-userinfo") or self.headers.get("authorization") or "nobody"
        text = f"{next(count)} {self.command} {who} {self.headers.get('accept-language')} {body.decode()}".encode()
        if path == "/chunks":
            self.send_response(200); self.send_header("transfer-encoding", "chunked"); self.end_headers()
            self.wfile.write(b"%x\\r\\n%s\\r\\n0\\r\\n\\r\\n" % (len(text), text))
            return
        self.reply(404 if path == "/none" else 200, text, headers)
    do_POST = do_PUT = do_DELETE = do_GET
    def reply(self, status, body, headers):
        self.send_response(status); self.send_header("content-length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers(); self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""

Serve = Callable[..., Replica]


@pytest.fixture
def site(replica: Replica) -> Serve:
    def serve(ttl: float = 60.0, **fields: Any) -> Replica:
        (replica.directory / "site.py").write_text(SITE)
        cache = Caching(ttl, **{"methods": ("GET",), **fields})
        return replica.ready(command="exec python3 -S site.py", deadline=5.0, cache=cache)

    return serve


def get(replica: Replica, target: str = "/", method: str = "GET", **headers: str) -> Answer:
    return ask(replica, "", target, method, **headers)


def number(answer: Answer) -> int:
    return int(answer.body.split()[0])


# ------------------------------------------------------------------------------------------ what callers ask


def test_a_caller_may_ask_for_a_new_answer_which_others_then_get(replica: Replica) -> None:
    replica.ready(COUNT, cache=Caching(60.0))
    assert ask(replica, "{}").json["n"] == 1
    fresh = ask(replica, "{}", Cache_Control="no-cache")
    assert (fresh.json["n"], status(fresh)) == (2, "mawasu; fwd=request; stored")
    assert ask(replica, "{}", Cache_Control="max-age=0").json["n"] in (2, 3)
    assert ask(replica, "{}").json["n"] == ask(replica, "{}").json["n"]


def test_a_caller_may_ask_that_nothing_is_kept(replica: Replica) -> None:
    replica.ready(COUNT, cache=Caching(60.0))
    secret = ask(replica, "{}", Cache_Control="no-store")
    assert (secret.json["n"], status(secret)) == (1, "mawasu; fwd=request")
    assert replica.metric("cache_entries") == 0
    assert ask(replica, "{}").json["n"] == 2


def test_a_caller_may_ask_for_what_is_kept_and_nothing_else(replica: Replica) -> None:
    replica.ready(COUNT, cache=Caching(60.0))
    refused = ask(replica, "{}", Cache_Control="only-if-cached")
    assert (refused.status, refused.headers["mawasu-release"]) == (504, RELEASE)
    assert replica.metric("items_total") == 0
    ask(replica, "{}")
    assert ask(replica, "{}", Cache_Control="only-if-cached").json["n"] == 1


def test_a_caller_may_put_up_with_stale_answers_or_with_none(replica: Replica) -> None:
    replica.ready(COUNT, cache=Caching(0.3))
    ask(replica, "{}")
    eventually(lambda: "ttl=-" in status(ask(replica, "{}", Cache_Control="max-stale, only-if-cached")) or None)
    assert ask(replica, "{}", Cache_Control="max-stale=60").json["n"] == 1
    assert ask(replica, "{}", Cache_Control="min-fresh=60").json["n"] == 2


def test_who_has_the_answer_is_told_so_in_304(site: Serve) -> None:
    replica = site()
    first = get(replica)
    again = get(replica, If_None_Match=f'"other", W/{first.headers["etag"]}')
    assert (again.status, again.body) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert get(replica, If_None_Match='"other"').body == first.body
    assert get(replica, If_None_Match="*", Cache_Control="no-cache").status == 304, "also when it was made anew"


@pytest.mark.parametrize(
    ("wish", "calls"),
    [("max-age=60", 1), ("stale-if-error=60", 1), ("no-transform", 1), ("no-cache", 12), ("no-store", 12)],
)
def test_equal_requests_with_an_equal_wish_share_a_call_unless_they_ask_for_their_own(
    replica: Replica, wish: str, calls: int
) -> None:
    gate = replica.directory / "gate"
    wait = f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)"
    replica.ready(f"import os\n{COUNT}".replace("    return [", f"    {wait}\n    return ["), cache=Caching(60.0))
    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(ask, replica, "{}", Cache_Control=wish) for _ in range(12)]
        eventually(lambda: replica.metric("requests_active") == 13)  # and the one that asks for the metrics
        gate.touch()
        assert {future.result().status for future in asked} == {200}
    assert replica.metric("items_total") == calls


# ------------------------------------------------------------------------------------------ servers of the user's own


def test_of_a_server_only_get_is_kept_unless_it_says_more(site: Serve) -> None:
    replica = site()
    assert [number(get(replica)) for _ in range(3)] == [1] * 3
    for method in ("POST", "PUT", "DELETE"):
        answers = [get(replica, method=method) for _ in range(2)]
        assert number(answers[0]) < number(answers[1])
        assert status(answers[0]) == "mawasu; fwd=method"


def test_posts_are_kept_where_they_are_declared_and_told_apart_by_their_bytes(site: Serve) -> None:
    replica = site(methods=("GET", "POST"))
    numbers = [number(ask(replica, body, "/", "POST")) for body in ('{"a":1}', '{"a":1}', '{ "a":1}')]
    assert numbers == [1, 1, 2]
    assert number(ask(replica, '{"a":1}', "/", "POST", Content_Type="text/csv")) == 3


@pytest.mark.parametrize(
    "header", ["X-Endpoint-API-UserInfo", "Authorization", "Cookie", "X-API-Key", "X-Mawasu-Consumer"]
)
def test_no_caller_gets_the_answer_of_another(site: Serve, header: str) -> None:
    replica = site(warm=9)
    told: list[dict[str, str]] = [{}, {header: "ann"}, {header: "bob"}]
    first = [request(replica.listen, "GET", "/", headers=who).body for who in told]
    assert len(set(first)) == 3
    assert [request(replica.listen, "GET", "/", headers=who).body for who in told] == first
    assert b"ann" not in request(replica.listen, "GET", "/-/top").body
    assert len(request(replica.listen, "GET", "/-/top").json) == 1, "what somebody asked is not asked again for him"


@pytest.mark.parametrize(
    "said",
    ["cache-control=no-store", "cache-control=private", "cache-control=no-cache", "cache-control=max-age=0",
     "vary=accept-language", "vary=*", "set-cookie=a=b", "expires=Thu"],
)  # fmt: skip
def test_a_server_may_say_that_its_answer_is_not_to_be_kept(site: Serve, said: str) -> None:
    replica = site()
    answers = [get(replica, f"/?{said}") for _ in range(2)]
    assert number(answers[0]) < number(answers[1])
    assert "stored" not in status(answers[0])


def test_headers_that_answers_depend_on_are_declared(site: Serve) -> None:
    replica = site(vary=("Accept-Language",))
    japanese, english = get(replica, Accept_Language="ja"), get(replica, Accept_Language="en")
    assert japanese.headers["vary"] == "Accept-Language"
    assert [number(japanese), number(english), number(get(replica, Accept_Language="ja"))] == [1, 2, 1]
    assert number(get(replica, "/?vary=accept-language")) == number(get(replica, "/?vary=accept-language"))


def test_a_server_says_how_long_its_answer_is_good(site: Serve) -> None:
    replica = site()
    answer = get(replica, "/?cache-control=max-age=7&etag=%22mine%22&age=5")
    assert status(answer) == "mawasu; fwd=uri-miss; stored"
    again = get(replica, "/?cache-control=max-age=7&etag=%22mine%22&age=5")
    assert status(again) in ("mawasu; hit; ttl=2", "mawasu; hit; ttl=1")
    assert (again.headers["cache-control"], int(again.headers["age"]) >= 5) == ("max-age=7", True)


def test_errors_and_streams_of_a_server_pass_and_are_not_kept(site: Serve) -> None:
    replica = site()
    for path in ("/none", "/chunks"):
        answers = [get(replica, path) for _ in range(2)]
        assert number(answers[0]) < number(answers[1])
    assert get(replica, "/none").status == 404
    assert "stored" not in status(get(replica, "/chunks"))


def test_a_broken_server_is_covered_by_what_it_said_before(site: Serve) -> None:
    replica = site(0.2, stale_if_error=60.0)
    assert number(get(replica)) == 1
    (replica.directory / "broken").touch()
    answer = eventually(lambda: one if "detail=failed-500" in status(one := get(replica)) else None)
    assert number(answer) == 1
    assert (get(replica, "/never").status, get(replica, "/never").body) == (500, b"broken")


def test_parts_and_conditions_go_to_the_server_itself(site: Serve) -> None:
    replica = site()
    get(replica)
    assert status(get(replica, Range="bytes=0-1")) == "mawasu; fwd=bypass"


def test_callers_with_another_patience_do_not_share_a_call(replica: Replica) -> None:
    replica.ready(SLOW, cache=Caching(60.0), max_batch=1)
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(ask, replica, "{}", Mawasu_Deadline=wait) for wait in ("9000", "8000")]
        assert {future.result().status for future in asked} == {200}
    assert replica.metric("cache_misses_total") == 2


# ------------------------------------------------------------------------------------------ pure


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (b"", Wish()),
        (b"No-Cache", Wish(no_cache=True)),
        (b'max-age="60", min-fresh=5', Wish(max_age=60.0, min_fresh=5.0)),
        (b"max-stale", Wish(max_stale=999999999.0)),
        (b"max-stale=9,stale-if-error=8", Wish(max_stale=9.0, stale_if_error=8.0)),
        (b"max-age=-1, max-age=\xff, foo=bar,,=", Wish()),
    ],
)
def test_wishes_are_read_as_http_writes_them(said: bytes, meant: Wish) -> None:
    assert wish(said) == meant


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (b"public", Life(60, 5, 6)),
        (b"max-age=9", Life(9, 5, 6)),
        (b"max-age=9, s-maxage=8", Life(8, strict=True)),
        (b"max-age=9, must-revalidate", Life(9, strict=True)),
        (b"max-age=9, stale-while-revalidate=1, stale-if-error=0", Life(9, 1, 0)),
        (b"max-age=nine", None),
    ],
)
def test_an_answers_own_word_counts_before_the_setting(said: bytes, meant: Life | None) -> None:
    assert life([(b"cache-control", said)], Life(60, 5, 6), frozenset()) == meant


def test_entity_tags_are_compared_weakly() -> None:
    assert matches(b'"a"', b'W/"a", "b"')
    assert matches(b'W/"a"', b"*")
    assert not matches(b'"a"', b'"ab"')


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_a_canonical_spelling_means_the_same_to_the_worker(value: Any) -> None:
    text = json.dumps(value).encode()
    found = json.loads(canonical(text))
    assert found == json.loads(text)
    assert repr(found).count(".") == repr(value).count("."), "a float stays a float"
    assert canonical(json.dumps(value, indent=3, sort_keys=True).encode()) == canonical(text)


def test_parameters_of_one_name_keep_their_order() -> None:
    assert sorted_query(b"b=2&a=2&a=1&") == b"&a=2&a=1&b=2"


def test_what_is_not_json_stays_as_it_is() -> None:
    assert canonical(b"{no json") == b"{no json"
