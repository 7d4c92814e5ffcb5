"""Tokens: where they come from, how long they are kept, and that a page never waits for one longer than it may."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mawasu.client import Api
from mawasu.client.credentials import Tokens
from mawasu.client.google import AccountToken, IdToken
from mawasu.client.testing import FakeApi
from tests.client.google_double import ACCOUNT, Google, claims_of

AUDIENCE = "https://models.example.com"


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[Google]:
    with Google() as one:
        monkeypatch.setenv("GCE_METADATA_HOST", one.host)
        yield one


def jwt(end: float) -> str:
    """Unsigned: only its end is looked at."""
    return f"e30.{base64.urlsafe_b64encode(json.dumps({'exp': end}).encode()).decode().rstrip('=')}.x"


def key_file(google: Google, tmp_path: Path) -> str:
    path = tmp_path / "key.json"
    path.write_text(json.dumps(google.key_file()))
    return str(path)


def federated(google: Google, tmp_path: Path) -> str:
    subject, path = tmp_path / "token", tmp_path / "caller.json"
    subject.write_text("partner's")
    path.write_text(json.dumps(google.federated(str(subject))))
    return str(path)


def test_on_google_cloud_the_metadata_server_gives_an_id_token(google: Google) -> None:
    assert claims_of(IdToken(AUDIENCE)())["aud"] == AUDIENCE


def test_on_google_cloud_a_machine_may_speak_for_another_account(google: Google) -> None:
    iam = f"http://{google.host}"
    assert claims_of(AccountToken(AUDIENCE, ACCOUNT, iam=iam)())["iss"] == ACCOUNT
    assert claims_of(IdToken(AUDIENCE, ACCOUNT, iam=iam)())["aud"] == AUDIENCE


def test_a_key_file_signs_here_without_asking_anybody(google: Google, tmp_path: Path) -> None:
    claims = claims_of(AccountToken(AUDIENCE, credentials=key_file(google, tmp_path))())
    assert (claims["iss"], claims["sub"], claims["aud"]) == (ACCOUNT, ACCOUNT, AUDIENCE)
    assert 3500 < claims["exp"] - time.time() <= 3600
    assert not google.asked


def test_a_key_file_is_exchanged_for_an_id_token(google: Google, tmp_path: Path) -> None:
    assert claims_of(IdToken(AUDIENCE, credentials=key_file(google, tmp_path))())["aud"] == AUDIENCE
    assert google.asked == ["/token"]


@pytest.mark.parametrize("kind", [AccountToken, IdToken])
def test_an_identity_of_another_cloud_becomes_the_accounts(
    google: Google, tmp_path: Path, kind: type[AccountToken] | type[IdToken]
) -> None:
    source = kind(AUDIENCE, ACCOUNT, federated(google, tmp_path), f"http://{google.host}")
    claims = claims_of(source())
    assert claims["aud"] == AUDIENCE
    assert claims["iss"] == (ACCOUNT if kind is AccountToken else "https://accounts.google.com")
    assert google.asked[0] == "/sts"


def test_another_identity_needs_to_know_whose_token_it_wants(google: Google, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="account="):
        AccountToken(AUDIENCE, credentials=federated(google, tmp_path))()


def test_one_token_serves_many_calls(google: Google) -> None:
    with FakeApi(1) as fake, Api(fake.url, token=IdToken(AUDIENCE)) as api:
        for item in range(5):
            api.predict(item)
        shown = {call.headers["authorization"] for call in fake.calls}
    assert len(google.asked) == 1
    assert len(shown) == 1
    assert claims_of(shown.pop().removeprefix("Bearer "))["aud"] == AUDIENCE


def test_a_token_that_comes_late_costs_a_call_its_own_time_only_and_serves_the_next() -> None:
    come = threading.Event()

    def slow() -> str:
        come.wait(20)
        return jwt(time.time() + 3600)

    with FakeApi(1) as fake, Api(fake.url, token=slow, timeout=0.2, fallback=None) as api:
        began = time.monotonic()
        answer = api.predict({})
        assert time.monotonic() - began < 2
        assert answer.error is not None
        assert (answer.error.code, fake.calls) == ("token", [])
        come.set()
        assert api.predict({}, timeout=10).source == "live"


def test_a_source_that_fails_is_not_asked_by_every_page(caplog: pytest.LogCaptureFixture) -> None:
    asked = []

    def broken() -> str:
        asked.append(1)
        raise PermissionError("no such account")

    with FakeApi(1) as fake, Api(fake.url, token=broken, fallback=None) as api:
        answers = [api.predict(item) for item in range(5)]
        assert api.breaker == "closed"  # that says nothing of the API
    assert [str(one.error) for one in answers] == ["token: PermissionError: no such account"] * 5
    assert len(asked) == 1


def test_a_token_that_the_api_refuses_is_renewed_once() -> None:
    made: list[str] = []

    def source() -> str:
        made.append(jwt(time.time() + 3600 + len(made)))
        return made[-1]

    clock = [1000.0]
    tokens = Tokens(source, lambda: clock[0])
    tokens.got(source())
    assert not tokens.refused(made[0])  # it is brand new: another would be no better
    clock[0] += 60
    assert tokens.refused(made[0])
    assert tokens.token()[0] == ""
    assert tokens.refused("an older one")  # somebody else was quicker


def test_a_token_is_renewed_before_it_ends_and_not_used_at_its_very_end() -> None:
    clock = [1000.0]
    tokens = Tokens(lambda: "", lambda: clock[0])
    tokens.got(jwt(1100.0))
    assert tokens.token() == (jwt(1100.0), False)
    clock[0] = 1081.0
    assert tokens.token() == (jwt(1100.0), True)
    clock[0] = 1091.0
    assert tokens.token() == ("", False)


def test_a_token_that_cannot_be_read_is_kept_for_five_minutes() -> None:
    clock = [0.0]
    tokens = Tokens(lambda: "", lambda: clock[0])
    tokens.got("opaque")
    clock[0] = 289.0
    assert tokens.token()[0] == "opaque"
    clock[0] = 291.0
    assert tokens.token()[0] == ""
