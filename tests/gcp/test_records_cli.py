"""`mawasu status`, `builds`, `show` and `logs` on the records of a bucket: from anywhere, as of a home."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from mawasu.executor.records import CloudRecords, LocalRecords, Records
from mawasu.google.client import Client
from mawasu.home import Home
from mawasu.ledger.entries import BuildFinished, StepFinished, StepStarted
from mawasu.plan import Gate, Plan, Step, StepKind
from mawasu.words import Outcome, Result
from tests.gcp.front import BUCKET, HOST, Front
from tests.ledger.ledger_tools import digest, queued, whole_build

URL = f"gs://{BUCKET}"


@pytest.fixture
def home(machine: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that has nothing but credentials."""
    monkeypatch.setenv("MAWASU_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MAWASU_RECORDS", raising=False)
    return tmp_path / "home"


def mawasu(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", "from mawasu.cli.main import main; main()", *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def said(*words: str) -> str:
    done = mawasu(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write(records: Records, feature: str = "delays") -> None:
    """A build that serves and one that failed in training, with logs."""
    ledger = records.ledger(feature)
    train = Step(StepKind.TRAIN, "train", digest("key 1"), {"command": "c"}, "its command is new")
    plan = records.store.put_bytes(
        msgspec.json.encode(Plan(feature, "staging", False, (train,), Gate.FIRST, None, False))
    )
    for body in whole_build(1, "main", "staging", digest("model"), plan):
        ledger.append(body)
    ledger.append(queued(2))
    for body in whole_build(2, "main", "staging", digest("model 2"), plan)[1:2]:
        ledger.append(body)
    for build, lines in ((1, ["epoch 1"]), (2, ["epoch 1", "Killed"])):
        log = records.log(feature, build, "train")
        for line in lines:
            log.write(line)
        log.close()
    key = digest("key 2")
    ledger.append(StepStarted(2, "train", key))
    ledger.append(StepFinished(2, "train", key, Outcome(Result.OUT_OF_MEMORY, seconds=3.0)))
    ledger.append(BuildFinished(2, Result.FAILED, "train: out of memory", "raise resources.memory", 4.0))


@pytest.fixture
def filled(home: Path, client: Client, tmp_path: Path) -> Path:
    write(CloudRecords(client, BUCKET, tmp_path / "cache"))
    return home


def ageless(text: str) -> str:
    """Between two readings a second may have passed."""
    return re.sub(r"\d+ s ago", "lately", text)


def test_a_bucket_tells_what_a_home_tells(filled: Path, tmp_path: Path) -> None:
    write(LocalRecords(Home(filled)))
    for words in (["builds"], ["show", "1"], ["show"], ["logs"], ["logs", "1", "-s", "train"], ["logs", "-f", "1"]):
        assert ageless(said(*words, "--records", URL)) == ageless(said(*words))
    assert "its command is new" in said("show", "1", "--records", URL)
    shown = json.loads(said("show", "1", "--json", "--records", URL))
    assert shown["plan"]["steps"][0]["name"] == "train"
    assert shown["release"]["parts"] == {"model": digest("model")}


def test_the_environment_variable_says_where_to_look(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAWASU_RECORDS", URL)
    assert "out of memory" in said("builds")
    assert said("logs", "2").splitlines() == ["train epoch 1", "train Killed"]


def test_status_says_what_the_ledger_knows_and_not_more(filled: Path) -> None:
    text = said("status", "--records", URL)
    assert text.splitlines()[0] == f"by the records in {URL}; they do not tell how the services are"
    assert "failed" in text
    assert "build 2: train: out of memory" in text
    assert "down" not in text
    value = json.loads(said("status", "--records", URL, "--json"))
    (row,) = value["environments"]
    assert value["records"] == URL
    assert (row["feature"], row["environment"], row["state"]) == ("delays", "staging", "failed")
    assert row["revision"] == "revision-1"


def test_several_features_are_asked_for_by_name(filled: Path, client: Client, tmp_path: Path) -> None:
    write(CloudRecords(client, BUCKET, tmp_path / "cache"), "fares")
    done = mawasu("builds", "--records", URL)
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "mawasu: which feature? there are delays, fares")
    assert "out of memory" in said("builds", "fares", "--records", URL)
    assert mawasu("builds", "other", "--records", URL).stderr.startswith("mawasu: no feature `other`")
    assert len(json.loads(said("status", "--json", "--records", URL))["environments"]) == 2


def test_what_a_service_printed_is_where_google_keeps_it(filled: Path) -> None:
    done = mawasu("logs", "-e", "staging", "--records", URL)
    assert done.returncode == 2
    assert "Cloud Logging" in done.stderr
    assert "revision-1" in done.stderr


def test_an_empty_bucket_has_no_features_yet(home: Path) -> None:
    assert "nothing has been pushed yet" in said("status", "--records", URL)
    assert "there are none yet" in mawasu("builds", "--records", URL).stderr


def test_reading_again_takes_checkpoints_from_this_machine(filled: Path, client: Client, tmp_path: Path) -> None:
    ledger = CloudRecords(client, BUCKET, tmp_path / "cache").ledger("delays")
    for number in range(3, 40):
        ledger.append(queued(number))
    said("builds", "--records", URL)
    assert list((filled / "cache" / "buckets" / BUCKET / "delays").glob("*.msgpack"))
    assert not (filled / "records").exists()


@pytest.mark.parametrize(
    "url", ["records", "gs:/records", "gs://", "gs://records/path", "gs://Records", "s3://records"]
)
def test_what_is_no_bucket_is_refused(home: Path, url: str) -> None:
    done = mawasu("status", "--records", url)
    assert done.returncode == 2
    assert "is no bucket" in done.stderr
    assert "gs://BUCKET" in done.stderr


def test_a_bucket_that_is_not_there_is_said(home: Path) -> None:
    done = mawasu("status", "--records", "gs://nowhere")
    assert done.returncode == 7
    assert done.stderr.splitlines()[0] == "mawasu: there is no bucket gs://nowhere"
    assert "`mawasu gcp apply`" in done.stderr


def test_who_may_not_read_is_told_which_role_lets_them(home: Path, machine: Front) -> None:
    machine.double.faults.deny(HOST, "storage.objects.list", BUCKET)
    done = mawasu("status", "--records", URL)
    assert done.returncode == 7
    assert "no permission to read in gs://records" in done.stderr
    assert "roles/storage.objectViewer on gs://records" in done.stderr


def test_without_credentials_it_is_said_how_to_sign_in(
    home: Path, machine: Front, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(machine.double.identity, "metadata", False)
    done = mawasu("builds", "--records", URL)
    assert done.returncode == 7
    assert "no Google credentials" in done.stderr
    assert "gcloud auth application-default login" in done.stderr


def test_verify_looks_at_a_bucket(filled: Path) -> None:
    done = mawasu("verify", "--records", URL)
    assert done.returncode == 6
    assert f"{digest('model')}, the model of release" in done.stdout, "these builds stored none"
    assert "1 objects" in done.stdout
    assert "13 ledger entries read" in done.stdout


def test_a_changed_entry_is_named(filled: Path, machine: Front) -> None:
    machine.lay("ledger/delays/000000000/000000000002.json", b"{}")
    done = mawasu("builds", "--records", URL)
    assert done.returncode == 6
    assert "entry 2 of delays cannot be read (gs://records/ledger/delays/" in done.stderr
