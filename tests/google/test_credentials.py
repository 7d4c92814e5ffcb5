"""Who we are: keys, people, the metadata server, impersonation, and nobody."""

from __future__ import annotations

import json
import logging
import time
import warnings
from pathlib import Path

import pytest

from mawasu.errors import PlatformError
from mawasu.google import credentials as room
from mawasu.google.call import Call
from mawasu.google.client import Client
from tests.google.double.core import Double

LOOK = Call("GET", "run.googleapis.com", "/v2/projects/acme/locations/europe-west1/services/x")
FILE = "GOOGLE_APPLICATION_CREDENTIALS"


BARE = True  # the double without its services: these tests bring what they need


@pytest.fixture(autouse=True)
def service(double: Double) -> None:
    double.kit("run.googleapis.com", "run.projects.locations.services").put(
        "projects/acme/locations/europe-west1/services/x", {}
    )


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "WAIT", 0.001)


def test_a_key_file_is_a_service_account(double: Double, client: Client) -> None:
    client.send(LOOK)
    assert double.requests[0].caller == "mawasu-build@acme.iam.gserviceaccount.com"
    claims = double.identity.verified(client.id_token("https://api.run.app"), "https://api.run.app")
    assert claims["email"] == double.identity.email


def test_an_identity_token_is_asked_for_once_per_audience(double: Double, client: Client) -> None:
    assert client.id_token("https://a") == client.id_token("https://a") != client.id_token("https://b")
    assert double.identity.asked == ["jwt-bearer"] * 2


def test_the_metadata_server_says_who_we_are(double: Double, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FILE)
    client.send(LOOK)
    assert double.requests[0].caller == double.identity.email
    assert double.identity.verified(client.id_token("https://a"), "https://a")["aud"] == "https://a"
    assert "metadata /v1/instance/service-accounts/default/identity" in double.identity.asked


def test_a_person_signs_in_by_gcloud(
    double: Double, client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """gcloud's own file; without a project nor a quota project google-auth would warn the user of our affairs."""
    monkeypatch.delenv(FILE)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    double.identity.user_file(tmp_path / "application_default_credentials.json")
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        client.send(LOOK)
    assert caplog.messages == []
    assert double.requests[0].caller == "ann@example.com"
    assert "x-goog-user-project" not in {name.lower() for name in double.requests[0].headers}


@pytest.mark.parametrize("by", ["file", "environment"])
def test_a_quota_project_goes_with_each_request(
    double: Double, client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, by: str
) -> None:
    quota = "payer" if by == "file" else ""
    monkeypatch.setenv(FILE, str(double.identity.user_file(tmp_path / "user.json", quota_project=quota)))
    if by == "environment":
        monkeypatch.setenv("GOOGLE_CLOUD_QUOTA_PROJECT", "payer")
    client.send(LOOK)
    assert double.requests[0].headers["x-goog-user-project"] == "payer"


def test_a_service_accounts_quota_is_its_own_projects(
    double: Double, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "another")
    client.send(LOOK)
    assert "x-goog-user-project" not in double.requests[0].headers


def test_a_person_has_no_identity_token(
    double: Double, client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(FILE, str(double.identity.user_file(tmp_path / "user.json")))
    began = time.monotonic()
    with pytest.raises(PlatformError, match="no identity token for https://a") as caught:
        client.id_token("https://a")
    assert "impersonate" in caught.value.hint
    assert time.monotonic() - began < 2


def test_a_service_account_may_be_impersonated(
    double: Double, client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    email = "mawasu-build@acme.iam.gserviceaccount.com"
    made = Path(double.identity.user_file(tmp_path / "user.json"))
    url = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{email}:generateAccessToken"
    info = {
        "type": "impersonated_service_account",
        "service_account_impersonation_url": url,
        "source_credentials": json.loads(made.read_text()),
    }
    made.write_text(json.dumps(info))
    monkeypatch.setenv(FILE, str(made))
    client.send(LOOK)
    assert double.requests[0].caller == email
    claims = double.identity.verified(client.id_token("https://a"), "https://a")
    assert (claims["email"], client.id_token("https://a")) == (email, client.id_token("https://a"))
    assert double.identity.asked.count("generateIdToken") == 1


def test_nobody_is_told_how_to_sign_in(double: Double, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FILE)
    double.identity.metadata = False
    with pytest.raises(PlatformError) as caught:
        client.send(LOOK)
    assert caught.value.message == "no Google credentials are to be found here"
    assert "gcloud auth application-default login" in caught.value.hint
    assert double.requests == []


@pytest.mark.parametrize("text", [None, "{", "[]", "{}", '{"type": "else"}', '{"type": "service_account"}'])
def test_a_file_that_is_no_credentials_is_told_by_its_name(
    client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None
) -> None:
    path = tmp_path / "key.json"
    if text is not None:
        path.write_text(text)
    monkeypatch.setenv(FILE, str(path))
    with pytest.raises(PlatformError, match=str(path)):
        client.send(LOOK)


def test_a_key_that_was_deleted_is_told(
    double: Double, client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = double.identity.user_file(tmp_path / "user.json")
    info = json.loads(path.read_text()) | {"refresh_token": "old"}
    path.write_text(json.dumps(info))
    monkeypatch.setenv(FILE, str(path))
    with pytest.raises(PlatformError, match=r"does not take these credentials: invalid_grant.*expired or revoked"):
        client.send(LOOK)


def test_a_cut_sign_in_is_tried_again(double: Double, client: Client) -> None:
    double.faults.cut_before_effect("oauth2.googleapis.com", times=2)
    client.send(LOOK)
    double.faults.cut_before_effect("oauth2.googleapis.com", times=room.TRIES)
    with pytest.raises(PlatformError, match="cannot sign in") as caught:
        client.id_token("https://a")
    assert "network" in caught.value.hint
