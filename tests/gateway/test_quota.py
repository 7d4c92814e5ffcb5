"""Quotas: so many calls in a minute for each consumer, whatever connection, address or thread they come by."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from mawasu.gateway import listener
from mawasu.words import Site
from tests.gateway.conftest import Stand
from tests.gateway.machinery import Answer, Backend, Issuer, call, limited, site

AT = "/flight-delay/production"
ISSUER = Issuer()


class Sites(msgspec.Struct):
    """A site of which `/one` costs 1 read, `/five` 5 reads, `/both` a read and a write, `/free` nothing."""

    stand: Stand
    served: Site
    backend: Backend
    key: Callable[[str], str]

    def get(self, path: str, **headers: str) -> Answer:
        return call(
            self.stand.port, "GET", AT + path, {name.replace("_", "-"): value for name, value in headers.items()}
        )

    def statuses(self, calls: int, path: str, **headers: str) -> list[int]:
        return [self.get(path, **headers).status for _ in range(calls)]


@pytest.fixture(scope="module")
def sites(stand: Stand) -> Sites:
    costs = {"/one": {"reads": 1}, "/five": {"reads": 5}, "/both": {"reads": 1, "writes": 1}, "/free": {}}
    text = limited({"reads": 10, "writes": 3}, costs, {"keys": [ISSUER.jwk]})
    backend = stand.backend("limited")
    served = site(backend.endpoint(), text)
    stand.gateway.switch([served])

    def key(consumer: str) -> str:
        token = stand.keys.create(consumer, ["*"])[1]
        stand.gateway.refresh_keys()
        return token

    return Sites(stand, served, backend, key)


def test_one_call_more_than_the_quota_is_refused_and_no_back_end_sees_it(sites: Sites) -> None:
    key = sites.key("burst")
    assert sites.statuses(10, "/one", x_api_key=key) == [200] * 10
    before = len(sites.backend.seen)
    refused = sites.get("/one", x_api_key=key)
    assert (refused.status, refused.message) == (429, listener.SPENT)
    assert refused.message.startswith("RESOURCE_EXHAUSTED:")
    assert refused.headers["retry-after"] == "60"
    assert len(sites.backend.seen) == before


def test_what_one_consumer_spends_no_other_pays(sites: Sites) -> None:
    first, second = sites.key("spender"), sites.key("saver")
    assert sites.statuses(11, "/one", x_api_key=first)[-1] == 429
    assert sites.get("/one", x_api_key=second).status == 200


def test_two_keys_of_one_consumer_share_its_quota(sites: Sites) -> None:
    first, second = sites.key("two"), sites.key("two")
    assert sites.statuses(10, "/one", x_api_key=first) == [200] * 10
    assert sites.get("/one", x_api_key=second).status == 429


def test_an_operation_takes_what_it_costs(sites: Sites) -> None:
    key = sites.key("costly")
    assert sites.statuses(3, "/five", x_api_key=key) == [200, 200, 429]


def test_operations_are_charged_to_the_same_limit(sites: Sites) -> None:
    key = sites.key("shared")
    assert sites.statuses(2, "/five", x_api_key=key) == [200, 200]
    assert sites.get("/one", x_api_key=key).status == 429


def test_the_first_limit_that_is_spent_refuses(sites: Sites) -> None:
    key = sites.key("writer")
    assert sites.statuses(4, "/both", x_api_key=key) == [200, 200, 200, 429]
    assert sites.get("/one", x_api_key=key).status == 200


def test_what_costs_nothing_is_never_refused(sites: Sites) -> None:
    key = sites.key("free")
    assert sites.statuses(11, "/one", x_api_key=key)[-1] == 429
    assert sites.statuses(20, "/free", x_api_key=key) == [200] * 20


def test_tokens_count_for_their_subject_however_often_they_are_renewed(sites: Sites) -> None:
    def bearer(subject: str, serial: int) -> str:
        return "Bearer " + ISSUER.token(sub=subject, jti=str(serial))

    answers = [sites.get("/one", authorization=bearer("ann", serial)).status for serial in range(11)]
    assert answers == [200] * 10 + [429]
    assert sites.get("/one", authorization=bearer("bea", 0)).status == 200


def test_callers_without_a_name_are_told_apart_by_address_and_cannot_forge_it(sites: Sites) -> None:
    answers = [sites.get("/one", x_forwarded_for=f"203.0.113.{n}").status for n in range(11)]
    assert answers == [200] * 10 + [429]


def test_a_refused_caller_spends_nothing(sites: Sites) -> None:
    key = sites.key("victim")
    for _ in range(11):
        assert sites.get("/one", x_api_key=key[:-4] + "AAAA").status == 400
    assert sites.get("/one", x_api_key=key).status == 200


def test_a_switch_that_leaves_the_limits_alone_gives_nobody_more(sites: Sites) -> None:
    key = sites.key("patient")
    assert sites.statuses(11, "/one", x_api_key=key)[-1] == 429
    sites.stand.gateway.switch([sites.served])
    sites.key("somebody else")
    assert sites.get("/one", x_api_key=key).status == 429
