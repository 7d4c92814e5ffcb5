"""What the gateway costs: compiled routes beside a bare one of the same Envoy, few routes and keys beside many.

Every gateway has one worker here, so that it is what is full, and not its callers.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping, Sequence

from bench.gateways import AT, Gateway, Host, Requests, await_answer, document, issuer, plain, rate, site
from bench.report import Report, timed
from bench.world import place
from mawasu.gateway.envoy import compile
from mawasu.gateway.openapi import parse_site

ROUNDS, SECONDS = 9, 2.0
ROUTES, KEYS = 1_000, 10_000
TOKEN, KEY, MANY = 0.85, 0.8, 0.95  # goals: × the throughput of the peer
SECOND = 1_000.0  # ms: goals for compiling, and until a key opens

Calls = dict[str, tuple[int, Requests]]


def measure(quick: bool) -> list[Report]:
    if shutil.which("wrk") is None:
        raise SystemExit("bench gateway needs wrk (apt install wrk): callers in Python are slower than any gateway")
    rounds, seconds, times = (1, 1.0, 1) if quick else (ROUNDS, SECONDS, 5)
    routes, keys = (50, 100) if quick else (ROUTES, KEYS)
    with place() as top, contextlib.closing(Host()) as host, contextlib.closing(Host()) as beside:
        back, bare, nothing = plain(top, host)
        jwks, token = issuer()
        few = Gateway(top / "few", host, back, document(1, jwks), 1)
        many = Gateway(top / "many", beside, back, document(routes, jwks), keys)
        calls = _calls(bare, nothing, few, many, token, routes)
        for port, requests in calls.values():
            await_answer(top, port, requests)
        rates: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(rounds):  # in turns, so that what the machine does meanwhile hits all
            for name, (port, requests) in calls.items():
                rates[name].append(rate(top, port, requests, seconds))
        return [_throughput(rates, routes, keys), _changes(few, many, document(routes, jwks), times, routes, keys)]


def _calls(bare: int, nothing: int, few: Gateway, many: Gateway, token: str, routes: int) -> Calls:
    key, first = {"x-api-key": few.keys[0]}, {"x-api-key": many.keys[0]}
    paths = [f"{AT}/things{number:04}/7" for number in range(routes)]
    everybody = [(paths[number % routes], {"x-api-key": token}) for number, token in enumerate(many.keys)]
    bearer = {"authorization": f"Bearer {token}"}
    return {
        "nothing": (nothing, [(f"{AT}/open", {})]),
        "bare": (bare, [(f"{AT}/open", {})]),
        "bare, token": (bare, [(f"{AT}/open", bearer)]),
        "bare, key": (bare, [(f"{AT}/open", key)]),
        "open": (few.port, [(f"{AT}/open", {})]),
        "token": (few.port, [(f"{AT}/t", bearer)]),
        "key": (few.port, [(f"{AT}/k", key)]),
        "few": (few.port, [(paths[0], key)]),
        "many": (many.port, [(path, first) for path in paths]),
        "last": (many.port, [(paths[-1], first)]),
        "all": (many.port, everybody),
    }


def _throughput(rates: Mapping[str, Sequence[float]], routes: int, keys: int) -> Report:
    report = Report(
        "Throughput of one worker of Envoy", ["requests a second; ratios within one round, median of rounds"]
    )
    said = {
        "nothing": "a bare route of an Envoy without anything: no limits, no log",
        "bare": "a bare route of the gateway's listener",
        "bare, token": "the same, sent the JWT that nobody reads there",
        "bare, key": "the same, sent the API key",
        "open": "compiled, `security: []`",
        "token": "compiled, a JWT (RS256)",
        "key": "compiled, an API key",
        "few": "one template, one key there is",
        "many": f"{routes:,} templates in turn, one of {keys:,} keys",
        "last": f"the last of {routes:,} templates, one of {keys:,} keys",
        "all": f"{routes:,} templates and {keys:,} keys, all in turn",
    }
    for name, what in said.items():
        report.add(what, rates[name], unit="/s")
    # The same request on both sides: its bytes are the caller's, the difference is what is done with them.
    pairs = (
        ("bare", "nothing", None),
        ("open", "bare", None),
        ("token", "bare, token", TOKEN),
        ("key", "bare, key", KEY),
        ("token", "bare", None),
        ("key", "bare", None),
    )
    for name, peer, goal in (*pairs, ("many", "few", MANY), ("last", "few", MANY), ("all", "few", None)):
        ratios = [one / other for one, other in zip(rates[name], rates[peer], strict=True)]
        report.add(f"{said[name]} ÷ {said[peer]}", ratios, unit="×", least=goal)
    return report


def _changes(few: Gateway, many: Gateway, text: str, times: int, routes: int, keys: int) -> Report:
    report = Report("Changes", ["a key is made, and Envoy says that it opens"])
    backed = site(text, many.home.path)
    report.add(
        f"{routes:,} operations compiled", timed(lambda: compile([parse_site(backed)], "/k"), times), limit=SECOND
    )
    for gateway, there in ((few, 1), (many, keys)):
        seconds = timed(lambda gateway=gateway: _another_key(gateway), times)  # type: ignore[misc]
        report.add(f"a key more, beside {there:,}", seconds, limit=SECOND)
    return report


def _another_key(gateway: Gateway) -> None:
    gateway.ring.create("more", ["*"])
    gateway.local.refresh_keys()
