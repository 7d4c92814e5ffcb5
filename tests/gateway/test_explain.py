"""What is explained is what happens: whatever the explanation says, a real Envoy is asked too."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterator

import msgspec
import pytest

from mawasu.gateway.asked import Request, path_of
from mawasu.gateway.explain import Explanation, explain
from mawasu.gateway.forms import Served
from mawasu.gateway.openapi import parse_site
from mawasu.gateway.verify import Known
from tests.gateway.case_world import AT, World, a_world, bearer, by_secret, by_stranger, edited, get, key, renamed
from tests.gateway.cases import Asked, asked
from tests.gateway.conftest import Stand
from tests.gateway.machinery import Answer, raw

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
    *itertools.product(["/both", "/either"], TOKENS, [KEYS[1], KEYS[3], KEYS[5]]),
    *itertools.product(["/both", "/either"], [nothing, GOOD, LATE], KEYS),
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


@pytest.mark.parametrize(
    "sent",
    ["a%zz", "%61%2d%2E%5f", "a|b", "{a}", "%41%5b", "a^b`", "[a]", "%c3%a9", "a%20b%2b", 'a"<>', "%", "%4", "a;b=c,d"],
)
def test_a_path_is_normalised_as_envoy_does(sent: str, world: World) -> None:
    raw(world.stand.port, get(f"/things/{sent}")(world))
    assert f"{AT}{world.backend.seen[-1].line.split(' ')[1]}" == path_of(f"{AT}/things/{sent}")


@pytest.mark.parametrize(
    "sent", ["/things/..", "/things/.", "/things/a//../b", "/pub/x;a/../y", "/%2e%2e/open", "/x/.."]
)
def test_dots_lead_where_envoy_follows_them(sent: str, world: World) -> None:
    data = get(sent)(world)
    assert explained(world, data).status == raw(world.stand.port, data).status
