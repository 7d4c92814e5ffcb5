"""Revisions that share one site: by weight, and whoever is a unit stays where it is."""

from __future__ import annotations

import http.client
import json
import math
import uuid
from collections.abc import Mapping
from http.cookies import SimpleCookie
from typing import Any

import msgspec
import pytest

from mawasu.errors import UsageError
from mawasu.gateway import splits
from mawasu.gateway.envoy import compile
from mawasu.gateway.openapi import parse_site
from mawasu.words import Endpoint, Share, Site, Split, Unit
from tests.gateway.conftest import Stand
from tests.gateway.machinery import Issuer, call, document, site

AT = "/flight-delay/production"
ISSUER, OTHER = Issuer(), Issuer("https://other.example")
SIGMAS = 4.5
"""How far a share may be off its weight: once in 150,000 runs by chance. Most units are the same in every run."""

Units = Mapping[str, Mapping[str, str]]
"""The headers of each unit's requests, by its name."""


def described() -> str:
    either: Any = [{"jwt": []}, {"other": []}]
    operations: dict[str, Any] = {"t": [{"jwt": []}], "either": either, "k": [{"key": []}], "maybe": [{"jwt": []}, {}]}
    text = json.loads(document({"keys": [ISSUER.jwk]}, open=[], both=[{"key": [], "jwt": []}], **operations))
    schemes = text["components"]["securitySchemes"]
    schemes["other"] = schemes["jwt"] | {"x-google-issuer": OTHER.name, "x-mawasu-jwks": {"keys": [OTHER.jwk]}}
    return json.dumps(text)


TEXT = described()


def two(old: Endpoint, new: Endpoint, percent: float, unit: Unit, salt: str) -> Site:
    """A site of `old` that gives `percent` of its units to `new`."""
    shares = (Share(new, round(percent * 100)),)
    return msgspec.structs.replace(site(old, TEXT), split=Split(unit, salt, shares))


class Pair:
    """Two revisions of one site, `old` being the site's own."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        self.old, self.new = stand.backend("old"), stand.backend("new")

    def split(self, percent: float, unit: Unit, salt: str = "first") -> None:
        self.stand.gateway.switch([two(self.old.endpoint(), self.new.endpoint(), percent, unit, salt)])

    def met(self, units: Units, path: str = "/open") -> dict[str, str]:
        """Who answers each unit."""
        return {name: body for name, (body, _) in self.answers(units, path).items()}

    def answers(self, units: Units, path: str = "/open") -> dict[str, tuple[str, str]]:
        """Who answers each unit, and the cookie that it is given."""
        connection = http.client.HTTPConnection("127.0.0.1", self.stand.port, timeout=10)
        before = self.arrived()
        found: dict[str, tuple[str, str]] = {}
        for name, headers in units.items():
            connection.request("GET", AT + path, headers=dict(headers))
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            found[name] = answer.read().decode(), answer.headers.get("set-cookie", "")
        connection.close()
        arrived = [now - then for now, then in zip(self.arrived(), before, strict=True)]
        assert arrived == [sum(body == says for body, _ in found.values()) for says in ("old", "new")]
        return found

    def arrived(self) -> list[int]:
        return [len(backend.seen) for backend in (self.old, self.new)]


@pytest.fixture(scope="module")
def pair(stand: Stand) -> Pair:
    return Pair(stand)


def of_new(met: Mapping[str, str]) -> set[str]:
    return {name for name, says in met.items() if says == "new"}


def is_about(count: int, percent: float, of: int) -> bool:
    """Within what a binomial distribution allows."""
    share = percent / 100
    return abs(count - share * of) <= SIGMAS * math.sqrt(of * share * (1 - share))


def persons(count: int, issuer: Issuer = ISSUER, **claims: Any) -> Units:
    return {f"p{i}": bearer(issuer, sub=f"p{i}", **claims) for i in range(count)}


def bearer(issuer: Issuer = ISSUER, **claims: Any) -> dict[str, str]:
    return {"authorization": f"Bearer {issuer.token(**claims)}"}


def users(count: int) -> Units:
    return {f"u{i}": {"x-user": f"u{i}"} for i in range(count)}


USER = Unit("header", "x-user")


def test_shares_follow_the_weights_and_nobody_moves_back(pair: Pair) -> None:
    units, unit = persons(2000), Unit("consumer")
    moved: set[str] = set()
    for percent in (20, 40, 100):
        pair.split(percent, unit)
        now = of_new(pair.met(units, "/t"))
        assert is_about(len(now), percent, len(units)), f"{len(now)} of {len(units)}, not {percent} %"
        assert moved <= now, "somebody moved back"
        moved = now


def test_a_unit_stays_when_other_revisions_take_their_places(pair: Pair) -> None:
    units = users(300)
    pair.split(30, USER)
    before = pair.met(units)
    named = [msgspec.structs.replace(one.endpoint(), revision=f"{one.says}-2") for one in (pair.old, pair.new)]
    pair.stand.gateway.switch([two(named[0], named[1], 30, USER, "first")])
    assert pair.met(units) == before


def test_a_split_outlives_the_gateway(pair: Pair) -> None:
    pair.split(50, USER)
    units = users(100)
    before = pair.met(units)
    pair.stand.gateway.stop(drain=0)
    pair.stand.gateway.start()
    assert pair.met(units) == before


def test_two_salts_share_out_independently(pair: Pair) -> None:
    units = users(2000)
    found: list[set[str]] = []
    for salt in ("first", "second"):
        pair.split(50, USER, salt)
        found.append(of_new(pair.met(units)))
    one, other = found
    rest, others = units.keys() - one, units.keys() - other
    chi_squared = 0.0
    for row in (one, rest):
        for column in (other, others):
            due = len(row) * len(column) / len(units)
            chi_squared += (len(row & column) - due) ** 2 / due
    assert chi_squared < 15.1  # one degree of freedom: once in 10,000


def test_the_hash_is_the_one_that_is_written_down(pair: Pair) -> None:
    """XXH64 of `salt::u0`, `salt::u1`, … modulo 10,000: another Envoy must not shuffle whoever is in an experiment."""
    pair.split(50, USER, "a-salt")
    assert "".join(says[0] for says in pair.met(users(40)).values()) == KNOWN


KNOWN = "oononnnnonnnoonnnnonoonoooonnnonnnoonnoo"


def test_what_a_caller_writes_moves_no_verified_unit(pair: Pair) -> None:
    pair.split(50, Unit("claim", "account"))
    units = {f"a{i}": bearer(account=f"a{i}") for i in range(200)}
    plain = pair.met(units, "/t")
    assert set(plain.values()) == {"old", "new"}
    names = ("mawasu.who", "mawasu.unit", "x-mawasu-unit", "x-mawasu-consumer", "x-endpoint-api-userinfo", "account")
    for turn in range(2):
        forged = dict.fromkeys(names, f"a{turn}") | {"cookie": f"mawasu-unit={uuid.UUID(int=turn)}"}
        assert pair.met({name: {**forged, **headers} for name, headers in units.items()}, "/t") == plain


def test_who_has_no_unit_meets_the_sites_own_revision(pair: Pair) -> None:
    nobody: Units = {f"n{i}": {} for i in range(30)}
    for unit in (Unit("consumer"), Unit("claim", "account"), USER):
        pair.split(100, unit)
        assert set(pair.met(nobody).values()) == {"old"}
        assert set(pair.met(nobody, "/maybe").values()) == {"old"}
    assert pair.met({"empty": {"x-user": ""}}) == {"empty": "old"}
    pair.split(100, Unit("claim", "account"))
    assert pair.met({"another claim": bearer(), "mine": bearer(account=7)}, "/t") == {
        "another claim": "old",
        "mine": "new",
    }


def test_an_answer_of_a_split_by_a_header_says_that_it_depends_on_it(pair: Pair) -> None:
    pair.split(50, USER)
    for headers in ({"x-user": "u0"}, {"x-user": "u2"}, {}):
        assert call(pair.stand.port, "GET", f"{AT}/open", headers).headers["vary"] == "x-user"


def test_a_consumer_is_one_unit_with_every_key_and_token_it_has(pair: Pair) -> None:
    ring = pair.stand.keys
    made = {f"c{i}": [ring.create(f"c{i}", ["*"])[1] for _ in range(2)] for i in range(40)}
    pair.stand.gateway.refresh_keys()
    pair.split(50, Unit("consumer"))
    first, second = [{name: {"x-api-key": keys[turn]} for name, keys in made.items()} for turn in range(2)]
    met = pair.met(first, "/k")
    assert set(met.values()) == {"old", "new"}
    assert pair.met(second, "/k") == met

    tokens = [{name: bearer(sub=name, jti=str(turn)) for name in made} for turn in range(2)]
    people = pair.met(tokens[0], "/t")
    assert pair.met(tokens[1], "/either") == people
    # A person through a program is the person.
    assert pair.met({name: {**first["c0"], **token} for name, token in tokens[0].items()}, "/both") == people
    assert people != met, "c1 of an issuer is not the program c1"
    assert pair.met({name: bearer(OTHER, sub=name) for name in made}, "/either") not in (people, met)


def test_a_browser_gets_a_cookie_with_its_first_answer_and_stays(pair: Pair) -> None:
    pair.split(20, Unit("cookie"))
    first = pair.answers({f"b{i}": {} for i in range(600)})
    assert is_about(sum(says == "new" for says, _ in first.values()), 20, len(first))
    given = {name: SimpleCookie(cookie)["mawasu-unit"] for name, (_, cookie) in first.items()}
    assert len({cookie.value for cookie in given.values()}) == len(given)
    for cookie in given.values():
        assert (cookie["path"], cookie["httponly"], cookie["samesite"], cookie["secure"]) == (AT, True, "Lax", "")

    back = {name: {"cookie": f"a=b; mawasu-unit={cookie.value}; c"} for name, cookie in given.items()}
    again = pair.answers(back)
    assert again == {name: (says, "") for name, (says, _) in first.items()}
    pair.split(40, Unit("cookie"))
    assert of_new({name: says for name, (says, _) in again.items()}) <= of_new(pair.met(back))


def test_a_cookie_that_is_not_ours_is_replaced(pair: Pair) -> None:
    pair.split(50, Unit("cookie"))
    bad = ("", "mawasu-unit=", "mawasu-unit=7", f"mawasu-units={uuid.UUID(int=7)}", f"x=mawasu-unit={uuid.UUID(int=7)}")
    answers = pair.answers({text: {"cookie": text} for text in bad})
    assert all(cookie for _, cookie in answers.values())


def test_with_tls_the_cookie_is_secure() -> None:
    served = parse_site(two(Endpoint("old", ("/a",)), Endpoint("new", ("/b",)), 50, Unit("cookie"), "s"))
    assert "; Secure" not in str(compile([served], "/keys").routes)
    assert "; Secure" in str(compile([served], "/keys", secure=True).routes)


@pytest.mark.parametrize(
    ("unit", "salt", "weights", "cause"),
    [
        (USER, "s", (), "the shares of a split are []"),
        (USER, "s", (6000, 4001), "the shares of a split are [6000, 4001]"),
        (USER, "s", (-1,), "the shares of a split are [-1]"),
        (USER, r"\1", (1,), r"'\\1' is no salt"),
        (USER, "", (1,), "'' is no salt"),
        (Unit("claim", "a)%REQ(x)%"), "s", (1,), "'a)%REQ(x)%' is no name for a unit of kind claim"),
        (Unit("header", "x_user"), "s", (1,), "'x_user' is no name for a unit of kind header"),
        (Unit("header"), "s", (1,), "'' is no name for a unit of kind header"),
        (Unit("cookie", "mine"), "s", (1,), "'mine' is no name for a unit of kind cookie"),
    ],
)
def test_a_split_that_cannot_be_held_is_refused(unit: Unit, salt: str, weights: tuple[int, ...], cause: str) -> None:
    shares = tuple(Share(Endpoint(f"r{i}", ("/s",)), weight) for i, weight in enumerate(weights))
    with pytest.raises(UsageError) as caught:
        splits.check(Split(unit, salt, shares))
    assert caught.value.message == cause
