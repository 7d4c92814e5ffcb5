"""What is explained is what happens: whatever the explanation says, a real Envoy is asked too."""

from __future__ import annotations

import functools
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mawasu.gateway import tokens
from mawasu.gateway.asked import Request, path_of
from mawasu.gateway.explain import Charge, Explanation, Target, carrying, explain
from mawasu.gateway.forms import Served
from mawasu.gateway.openapi import parse_site
from mawasu.gateway.verify import Known
from mawasu.words import Endpoint, PublicKey, Share, Split, Unit
from tests.gateway.case_world import AT, World, a_world, bearer, by_secret, by_stranger, edited, get, key, renamed
from tests.gateway.cases import Asked, asked
from tests.gateway.conftest import Stand
from tests.gateway.machinery import Answer, Issuer, call, document, limited, raw, site

Made = Callable[[World], str]


@pytest.fixture(scope="module")
def world(stand: Stand) -> Iterator[World]:
    with a_world(stand) as made:
        yield made


@functools.cache
def known(stand: Stand) -> tuple[list[Served], Known]:
    return [parse_site(site) for site in stand.gateway._table.load()], Known(stand.keys.list(), 0)


def understood(data: bytes) -> Request:
    """The bytes of a request as one."""
    first, *lines = data.decode("latin-1").partition("\r\n\r\n")[0].split("\r\n")
    method, target, _ = first.split(" ")
    pairs = (line.partition(":") for line in lines)
    return Request(method, target, tuple((name, value.strip(" ")) for name, _, value in pairs))


def explained(world: World, data: bytes) -> Explanation:
    sites, now = known(world.stand)
    return explain(understood(data), sites, msgspec.structs.replace(now, now=time.time()))


def said(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.message if answer.status != 200 else ""


@pytest.mark.parametrize("case", asked(), ids=lambda case: f"{case.row}: {case.sent}")
def test_a_case_is_explained_as_envoy_answers_it(case: Asked, world: World) -> None:
    data = case.send(world)
    found = explained(world, data)

    assert (found.status, found.message) == said(raw(world.stand.port, data))
    assert found.status == case.status
    assert found.why


def nothing(world: World) -> str:
    return ""


TOKENS: list[Made] = [
    nothing,
    lambda w: w.issuer.token(),
    lambda w: w.issuer.token(exp=1),
    lambda w: w.issuer.token(exp=1, aud="buses"),
    lambda w: w.issuer.token(exp=None, aud="buses"),
    lambda w: w.issuer.token(exp=None),
    lambda w: w.issuer.token(iss="https://evil", exp=1),
    lambda w: w.issuer.token(aud=["x", "flights"], nbf=int(time.time()) + 99),
    lambda w: w.issuer.token(aud=7),
    lambda w: w.issuer.token(exp="soon"),
    lambda w: w.issuer.token(exp=-5),
    lambda w: w.issuer.token(sub=7),
    lambda w: w.issuer.token({"crit": ["x"]}, aud="buses"),
    lambda w: w.issuer.token({"crit": ["x"]}),
    lambda w: w.issuer.token({"alg": "RS256"}),
    lambda w: w.issuer.token({"alg": 7}),
    lambda w: w.issuer.token({"kid": ""}),
    lambda w: w.issuer.sign("[]", w.issuer.claims()),
    lambda w: w.issuer.sign('{"alg":"ES256"}', "7"),
    lambda w: w.issuer.token()[:-2] + "!!",
    lambda w: "a.b",
    edited,
    by_secret(b"x"),
    by_stranger(),
    key("good"),
]
GOOD, LATE = TOKENS[1], TOKENS[2]
NAMES = ("good", "any", "other", "revoked", "expired", "rotated out", "renewed", "in its grace")
KEYS: list[Made] = [nothing, *map(key, NAMES), renamed, lambda w: "short", GOOD]
TOGETHER = [
    *itertools.product(["/open", "/t", "/maybe", "/elsewhere"], TOKENS, KEYS[:2]),
    *itertools.product(["/k"], [nothing, GOOD], KEYS),
    *itertools.product(["/both", "/either", "/keyed", "/person"], TOKENS, [KEYS[1], KEYS[3], KEYS[5]]),
    *itertools.product(["/both", "/either", "/keyed", "/person"], [nothing, GOOD, LATE], KEYS),
]


def test_whatever_credentials_come_to_whatever_operation_they_are_explained(world: World) -> None:
    wrong = []
    for path, token, secret in TOGETHER:
        headers = {"authorization": bearer(token)} if token is not nothing else {}
        headers |= {"x-api-key": secret} if secret is not nothing else {}
        data = get(path, **headers)(world)
        found, answer = explained(world, data), raw(world.stand.port, data)
        if (found.status, found.message) != said(answer):
            wrong.append((path, TOKENS.index(token), KEYS.index(secret), found.status, found.message, said(answer)))
    assert not wrong


def test_a_back_end_outside_is_explained_as_allowed_or_not(world: World) -> None:
    described = {"get": {"security": [], "x-google-backend": {"address": "https://b.example", "disable_auth": True}}}
    away = site(Endpoint("away", ("/nowhere.sock",)), document(t=described), "away", "staging")
    asked, here = Request("GET", "/away/staging/t"), world.stand.gateway._table.load()
    world.stand.gateway.switch([*here, away])
    try:
        found = explain(asked, [parse_site(away)], Known((), 0))
        assert (found.status, found.message) == said(call(world.stand.port, "GET", asked.target))
    finally:
        world.stand.gateway.switch(here)
    assert found.why == "b.example is none of the back ends of `mawasu up --back-ends`"
    found = explain(asked, [parse_site(away)], Known((), 0, ("b.example",)))
    assert found.status == 200
    assert found.route
    assert found.route.targets == (Target("https://b.example", 100),)


@pytest.mark.parametrize(
    "sent",
    ["a%zz", "%61%2d%2E%5f", "a|b", "{a}", "%41%5b", "a^b`", "[a]", "%c3%a9", "a%20b%2b", 'a"<>', "%", "%4", "a;b=c,d"],
)
def test_a_path_is_normalised_as_envoy_does(sent: str, world: World) -> None:
    raw(world.stand.port, get(f"/things/{sent}")(world))
    assert f"{AT}{world.backend.seen[-1].line.split(' ')[1]}" == path_of(f"{AT}/things/{sent}")


@pytest.mark.parametrize(
    "sent",
    [
        "/things/..",
        "/things/.",
        "/things/a//../b",
        "/pub/x;a/../y",
        "/%2e%2e/open",
        "/x/..",
        "/.;/open",
        "/x/..;y",
        "/.;a/b;c",
    ],
)
def test_dots_lead_where_envoy_follows_them(sent: str, world: World) -> None:
    data = get(sent)(world)
    assert explained(world, data).status == raw(world.stand.port, data).status


PARTS = (
    *(
        "/",
        "//",
        "\\",
        ".",
        "..",
        ";",
        "%2e",
        "%2E",
        "%2f",
        "%5c",
        "%00",
        "%3b",
        "%c0%af",
        "%252f",
        "%zz",
        "%",
        "?",
        "#",
    ),
    *("admin", "%61dmin", "pub", "x", "open", "things", "special", "a", "*", "{"),
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(PARTS), min_size=1, max_size=8).map("".join))
def test_whatever_path_is_asked_for_it_is_explained_and_what_is_closed_stays_so(world: World, sent: str) -> None:
    data = get(f"/{sent}")(world)
    found = explained(world, data)
    assert raw(world.stand.port, data).status == found.status
    if found.status == 200:
        line = world.backend.seen[-1].line
        segments = line.split()[1].partition("?")[0].strip("/").split("/")
        assert segments[0] in ("open", "things", "pub"), line
        assert not [one for one in segments if one.replace("%2e", ".").partition(";")[0] in (".", "..")], line


HERE = "/flight-delay/production"
MINUTES = 600_000.0  # any time


def why(text: str, *headers: tuple[str, str], keys: Sequence[PublicKey] = (), at: float = MINUTES) -> Explanation:
    served = parse_site(site(Endpoint("r", ("/s",)), text))
    return explain(Request("GET", f"{HERE}/t", headers), [served], Known(keys, at))


def with_token(issuer: Issuer, text: str = "", **claims: Any) -> Explanation:
    token = issuer.token(**{"exp": MINUTES + 600} | claims)
    return why(text or document({"keys": [issuer.jwk]}, t=[{"jwt": []}]), ("Authorization", f"Bearer {token}"))


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"exp": MINUTES - 180}, "jwt: it expired 3 min ago (1970-01-07 22:37:00 UTC)"),
        ({"nbf": MINUTES + 7200}, "jwt: it is valid only in 2 h (1970-01-08 00:40:00 UTC)"),
        ({"aud": "buses"}, "jwt: its audience is buses, wanted flights or trains"),
        ({"aud": None}, "jwt: its audience is nobody, wanted flights or trains"),
        ({"iss": "https://evil"}, "jwt: its issuer is https://evil, wanted https://issuer.example"),
        (
            {"iss": "https://issuer.example/"},
            "jwt: its issuer is https://issuer.example/, wanted https://issuer.example: "
            "nearly the same, and not the same",
        ),
        ({"exp": None}, "jwt: it never expires (no exp), and must"),
    ],
)
def test_why_a_token_is_refused(claims: dict[str, Any], said: str) -> None:
    assert with_token(Issuer(), **claims).why == said


def test_a_token_of_another_scheme_of_the_site_is_told_by_its_name() -> None:
    issuer = Issuer("https://other.example")
    text = json.loads(document({"keys": [issuer.jwk]}, t=[{"jwt": []}]))
    schemes = text["components"]["securitySchemes"]
    schemes["partner"] = schemes["jwt"] | {"x-google-issuer": issuer.name}
    assert with_token(issuer, json.dumps(text)).why.endswith("; partner would take it, and is not asked for here")


def test_a_key_set_that_is_elsewhere_is_not_looked_up_and_the_explanation_says_so() -> None:
    issuer = Issuer()
    text = json.loads(document({"keys": [issuer.jwk]}, t=[{"jwt": []}]))
    scheme = text["components"]["securitySchemes"]["jwt"]
    del scheme["x-mawasu-jwks"]
    scheme["x-google-jwks_uri"] = "https://issuer.example/keys"
    found = with_token(issuer, json.dumps(text))
    assert found.status == 200
    assert found.unsure == "the signature of the token was not checked: its keys are at https://issuer.example/keys"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("revoked", "key: there is no key {} here: it was revoked, or made elsewhere"),
        ("ended", "key: key {} of bob was replaced, and its grace ended 2 min ago"),
        ("over", "key: key {} of bob expired 0 s ago"),
        ("narrow", "key: key {} of bob opens other/*, not flight-delay/production"),
        ("good", "key: key {} of bob"),
    ],
)
def test_what_a_key_opens_is_told_by_its_id_and_consumer_alone(state: str, said: str) -> None:
    made, ends = (MINUTES - 60, MINUTES - 0.5) if state == "over" else (MINUTES, None)
    public, token = tokens.make("bob", ["other/*" if state == "narrow" else "*"], made, ends)
    kept = {"revoked": [], "ended": [tokens.ending(public, MINUTES - 120)]}.get(state, [public])
    found = why(document(t=[{"key": []}]), ("x-api-key", token), keys=kept)
    assert found.why == said.format(public.id)
    assert token not in str(found)


def test_a_quota_is_told_with_who_is_charged() -> None:
    public, token = tokens.make("bob", ["*"], MINUTES)
    text = limited({"calls": 60}, {"/t": {"calls": 2}})
    found = why(text, ("x-api-key", token), keys=[public])
    assert found.route
    assert found.route.charges == (Charge("calls-limit", 2, 60),)
    assert found.payer == "the consumer bob"
    assert why(text).payer == "the caller's address"


def test_a_path_that_is_not_there_is_told_the_nearest() -> None:
    served = parse_site(site(Endpoint("r", ("/s",)), document(flights=[], trains=[])))
    known = Known((), MINUTES)
    assert explain(Request("GET", f"{HERE}/flight"), [served], known).why.endswith("; the nearest is /flights")
    assert explain(Request("GET", "/flights"), [served], known).why.endswith(f"served here: {HERE}")
    assert explain(Request("POST", f"{HERE}/flights"), [served], known).why == "/flights has GET"


def test_a_split_is_told_with_its_unit() -> None:
    split = Split(Unit("claim", "sub"), "salt", (Share(Endpoint("new", ("/n",)), 2500),))
    served = parse_site(msgspec.structs.replace(site(Endpoint("old", ("/o",)), document(t=[])), split=split))
    found = explain(Request("GET", f"{HERE}/t"), [served], Known((), MINUTES)).route
    assert found
    assert (found.targets, found.unit) == ((Target("old", 75), Target("new", 25)), "claim sub")


@pytest.mark.parametrize(
    ("scheme", "sent"),
    [
        ({"x-google-jwt-locations": [{"query": "t"}]}, "?t="),
        ({"x-google-jwt-locations": [{"cookie": "t"}]}, "cookie"),
        ({"x-google-jwt-locations": [{"header": "t", "value_prefix": "Own "}]}, "t"),
        ({}, "authorization"),
    ],
)
def test_a_credential_is_put_where_the_document_wants_it(scheme: dict[str, Any], sent: str) -> None:
    issuer = Issuer()
    text = json.loads(document({"keys": [issuer.jwk]}, t=[{"jwt": []}]))
    text["components"]["securitySchemes"]["jwt"] |= scheme
    sites = [parse_site(site(Endpoint("r", ("/s",)), json.dumps(text)))]
    request = carrying(Request("GET", f"{HERE}/t"), sites, token=issuer.token())
    assert sent in request.target or request.headers[0][0] == sent
    assert explain(request, sites, Known((), time.time())).status == 200
