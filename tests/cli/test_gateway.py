"""`mawasu gateway`: what a checkout, or a home, would answer, told without a daemon."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from mawasu.cli.arguments import perform
from mawasu.cli.main import parser
from mawasu.errors import UsageError
from mawasu.home import Home
from mawasu.platforms.local.gateway import Table
from mawasu.platforms.local.keys import KeyRing
from mawasu.words import Endpoint, Site
from tests.gateway.machinery import Issuer, document

PREDICT = "/no-show/staging/predict"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("MAWASU_HOME", str(tmp_path / "home"))
    for name in ("MAWASU_TOKEN", "MAWASU_KEY"):
        monkeypatch.delenv(name, raising=False)
    return Home()


@pytest.fixture
def checkout(tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `mawasu init` writes, on its branch main, in a home where nothing was ever served."""
    perform(parser(), ["init", str(tmp_path / "checkout"), "--no-lock"])
    (tmp_path / "checkout" / "uv.lock").touch()
    monkeypatch.chdir(tmp_path / "checkout")
    return tmp_path / "checkout"


@pytest.fixture
def served(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Issuer:
    """A home whose gateway serves two sites, though nothing runs; and who issues tokens to it."""
    monkeypatch.chdir(tmp_path)
    issuer = Issuer()
    text = document({"keys": [issuer.jwk]}, t=[{"jwt": []}, {"key": []}])
    table = Table(home.create())
    table.save([Site("flights", name, text, "auth/openapi.yaml", Endpoint(f"r-{name}")) for name in ("a", "b")])
    return issuer


def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    perform(parser(), ["gateway", *words])
    return capsys.readouterr().out


def test_a_checkout_is_explained_where_nothing_is_served(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = told(capsys, "routes").splitlines()
    assert rows[0] == "what this working tree describes"
    assert rows[2].split() == ["POST", PREDICT, "key", "15", "s", "—", "predict"]
    assert f"GET {PREDICT} → 405 The current request" in told(capsys, "test", "get", PREDICT)
    assert "the nearest is /predict" in told(capsys, "test", "post", "/prédict?a=b c", "-e", "staging")
    assert PREDICT.replace("staging", "mine") in told(capsys, "routes", "--environment", "mine")


def test_a_key_is_read_from_standard_input_and_never_shown(
    checkout: Path, home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    public, key = KeyRing(home).create("shop", ["no-show/*"])
    for words in (["--key", "-"], ["--key", "-", "--json"], ["-H", f"X-API-Key: {key}"]):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{key}\n"))
        said = told(capsys, "test", "POST", PREDICT, *words)
        assert f"key {public.id} of shop" in said
        assert not [part for part in key.split(".") if part in said]


def test_what_was_last_served_is_explained_though_nothing_runs(
    served: Issuer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    routes = json.loads(told(capsys, "routes", "--environment", "b", "--json"))
    assert [(one["targets"], one["security"]) for one in routes] == [
        ([{"revision": "r-b", "share": 100.0}], [["jwt"], ["key"]])
    ]
    monkeypatch.setenv("MAWASU_TOKEN", served.token())
    found = json.loads(told(capsys, "test", "GET", "/t", "-f", "flights", "-e", "a", "--json"))
    assert (found["status"], found["alternatives"][0]["met"]) == (200, True)
    assert "reaches the API" in told(capsys, "test", "GET", "/flights/a/t/?x=secret")
    assert "secret" not in told(capsys, "test", "GET", "/flights/a/t/?x=secret")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["routes", "-f", "trains"], "there are: flights/a, flights/b"),
        (["test", "GET", "/t", "-f", "flights"], "say both --feature and --environment, of: flights/a, flights/b"),
        (["test", "GET", "/flights/a/t", "-H", "origin"], "such as --header 'origin: https://example.org'"),
        (
            ["test", "GET", "/flights/a/t", "--key", "-", "--token", "-"],
            "give the other in $MAWASU_KEY or $MAWASU_TOKEN",
        ),
        (["routes", "--tree"], "run `git init` first, or `mawasu init NEW-FOLDER`"),
    ],
)
def test_what_cannot_be_explained_says_the_next_step(served: Issuer, words: list[str], hint: str) -> None:
    with pytest.raises(UsageError) as found:
        perform(parser(), ["gateway", *words])
    assert found.value.hint == hint
