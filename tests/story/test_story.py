"""The whole way, told from outside: git pushes, the command, callers of the gateway."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from tests.story import texts
from tests.story.world import Mawasu, Repo, eventually


def shown(build: Any) -> dict[str, str]:
    """Step → why it ran or was reused, of a `mawasu show --json`."""
    return {step["name"]: step["why"] for step in build["plan"]["steps"]}


def merge(repo: Repo, source: str, into: str) -> str:
    """Merge a branch as GitHub does, with a merge commit, and push it."""
    exists = repo.git("rev-parse", "-q", "--verify", into, check=False).status == 0
    repo.git("checkout", "-q", *([] if exists else ["-b"]), into)
    repo.git("merge", "-q", "--no-ff", "-m", f"merge {source}", source)
    return repo.push(into)


def test_a_branch_is_tried_in_a_preview_and_its_very_bytes_reach_production(mawasu: Mawasu) -> None:
    repo = mawasu.repo("way", texts.project("way"))
    assert "build 1 served: staging serves way/main/" in repo.push()
    assert mawasu.says("way") == "one"

    repo.git("checkout", "-q", "-b", "try-other")
    repo.commit({"training/train.py": texts.train(2.0)})
    said = repo.push("try-other")
    assert "runs because training/train.py changed" in said
    assert mawasu.call("/way/preview-try-other/predict").body["score"] == 1.0
    assert mawasu.call("/way/staging/predict").body["score"] == 0.5

    said = merge(repo, "try-other", "main")
    assert "train reused from build 2" in said
    assert mawasu.call("/way/staging/predict").body["score"] == 1.0
    repo.git("checkout", "-q", "-b", "production")
    said = repo.push("production")
    assert "train reused from build 2" in said
    assert "build 4 served: production serves way/production/" in said
    models = {mawasu.build("way", number)["release"]["parts"]["model"] for number in (2, 3, 4)}
    assert len(models) == 1

    assert mawasu.call("/way/production/predict", key=None).status == 401
    assert mawasu.call("/way/production/predict", key="made.up.key").status in (400, 401)
    assert mawasu.call("/way/production/predict").body == {"score": 1.0, "says": "one"}
    references = [mawasu.call(f"/way/{name}/docs").status for name in ("staging", "preview-try-other", "production")]
    assert references == [405, 405, 404], "a page, which is not for POST, and none in production"
    assert {name: row["state"] for name, row in mawasu.status().items() if name.startswith("way/")} == {
        "way/staging": "in sync",
        "way/preview-try-other": "in sync",
        "way/production": "in sync",
    }

    said = repo.push("--delete", "try-other")
    assert "preview-try-other is gone with its branch" in said
    assert mawasu.call("/way/preview-try-other/predict").status == 404
    assert "way/preview-try-other" not in mawasu.status()
    assert mawasu.says("way", "production") == "one"


def test_a_push_that_touches_only_the_api_is_served_without_training(mawasu: Mawasu) -> None:
    repo = mawasu.repo("handy", texts.project("handy"))
    repo.push()
    said = repo.push_files({"api/handler.py": texts.handler("two")})
    assert "train reused from build 1" in said
    assert "\ntrain …" not in said
    assert mawasu.says("handy") == "two"


def test_a_push_of_documentation_alone_does_nothing(mawasu: Mawasu) -> None:
    repo = mawasu.repo("wordy", texts.project("wordy"))
    repo.push()
    serving = mawasu.status()["wordy/staging"]["revision"]
    said = repo.push_files({"README.md": "About it."})
    assert "nothing that this feature reads has changed" in said
    assert mawasu.builds("wordy")[0]["result"] == "nothing"
    row = mawasu.status()["wordy/staging"]
    assert (row["revision"], row["state"]) == (serving, "in sync")


def test_a_worse_model_is_blocked_and_a_git_revert_is_served_unjudged(mawasu: Mawasu) -> None:
    repo = mawasu.repo("gated", texts.project("gated"))
    repo.git("checkout", "-q", "-b", "production")
    repo.push("production")
    said = repo.push_files({"training/train.py": texts.train(-1.0)}, "production")
    assert "build 2 blocked" in said
    assert "worse" in said
    assert mawasu.call("/gated/production/predict").body["score"] == 0.5
    row = mawasu.status()["gated/production"]
    assert row["state"] == "blocked"
    assert "roc_auc" in row["why"]

    repo.git("revert", "--no-edit", "HEAD")
    repo.push_files({"api/handler.py": texts.handler("unlucky")}, "production")
    assert mawasu.says("gated", "production") == "unlucky"
    repo.git("revert", "--no-edit", "HEAD")
    said = repo.push("production")
    assert "not needed: this release was served here before" in said
    assert "✓ judge" not in said
    assert "build 4 served" in said
    assert mawasu.says("gated", "production") == "one"


def test_a_revoked_key_opens_nothing_and_a_key_opens_only_what_it_was_made_for(mawasu: Mawasu) -> None:
    mawasu.repo("locked", texts.project("locked")).push()
    made = mawasu.cli("keys", "create", "partner", "--for", "locked/staging", "--json").json()
    other = mawasu.cli("keys", "create", "stranger", "--for", "other/*", "--json").json()
    path = "/locked/staging/predict"
    assert mawasu.call(path, made["key"]).status == 200
    assert mawasu.call(path, other["key"]).status == 403
    assert "partner" in mawasu.cli("keys", "list").out
    mawasu.cli("keys", "revoke", made["id"])
    assert mawasu.call(path, made["key"]).status == 400, "Google's gateway says this too of a key it does not know"
    assert mawasu.call(path).status == 200
    assert "partner" not in mawasu.cli("keys", "list").out


NOSY_TRAIN = texts.train() + "print('the word is', os.environ.get('WORD'), file=__import__('sys').stderr)\n"
NOSY_HANDLER = """\
import os

def load(model_dir):
    print("the word is", os.environ.get("WORD"))

def predict(model, batch):
    return [{"score": 1.0, "says": len(os.environ.get("WORD", ""))} for item in batch]
"""


def test_secrets_reach_their_steps_but_no_log_and_no_preview(mawasu: Mawasu) -> None:
    word = "correct-horse-battery"
    mawasu.cli("secrets", "set", "WORD", "-e", "staging", stdin=word)
    assert "WORD" in mawasu.cli("secrets", "list").out
    files = texts.project("nosy", secrets="[WORD]")
    repo = mawasu.repo("nosy", {**files, "training/train.py": NOSY_TRAIN, "api/handler.py": NOSY_HANDLER})
    repo.push()
    assert mawasu.says("nosy") == len(word)
    assert "the word is ***" in mawasu.cli("logs", "--feature", "nosy", "--step", "train").out
    places = [mawasu.home / "records", mawasu.home / "cache", mawasu.home / "daemon.log"]
    assert mawasu.run(["grep", "-rlaF", word, *map(str, places)], mawasu.top).out == ""

    repo.git("checkout", "-q", "-b", "peek")
    said = repo.push_files({"training/train.py": NOSY_TRAIN + "# again\n"}, "peek")
    assert "WORD" in said, "a step that wants a secret which a preview does not get says so"
    assert mawasu.call("/nosy/preview-peek/predict").status in (200, 404)
    mawasu.cli("secrets", "unset", "WORD")
    assert "WORD" not in mawasu.cli("secrets", "list").out


def test_the_command_shows_what_happened_and_plans_what_would(mawasu: Mawasu) -> None:
    repo = mawasu.repo("open", texts.project("open"))
    repo.push()
    newest = mawasu.builds("open")[0]
    assert (newest["number"], newest["result"], newest["environment"]) == (1, "served", "staging")
    assert shown(mawasu.build("open"))["train"] == "runs for the first time"
    people = mawasu.cli("show", "--feature", "open").out
    assert "verdict: pass" in people
    assert "release: open/main/" in people
    assert "trained on 200 rows" in mawasu.cli("logs", "1", "--feature", "open").out
    assert "trained on 200 rows" in mawasu.cli("logs", "1", "-f", "--feature", "open", "--step", "train").out

    repo.write({"training/train.py": texts.train(3.0)})
    planned = " ".join(mawasu.cli("plan", "--branch", "main", cwd=repo.path).out.split())
    assert "train runs because training/train.py changed" in planned
    assert "image/api reused from build 1" in planned
    assert mawasu.cli("check", cwd=repo.path).out == "mawasu.yaml: feature `open` is fine\n"
    ran = mawasu.cli("run", cwd=repo.path).out
    assert "trained on 200 rows" in ran
    assert "roc_auc" in ran
    assert mawasu.builds("open")[0]["number"] == 1, "a run of the working tree is no build of the home"
    assert mawasu.call("/open/staging/predict").body["score"] == 0.5


def test_all_that_is_stored_is_verified_and_nothing_in_use_is_collected(mawasu: Mawasu) -> None:
    repo = mawasu.repo("kept", texts.project("kept"))
    repo.push()
    assert mawasu.cli("verify", "--json").json()["faults"] == []
    assert mawasu.cli("gc", "--dry-run", "--json").status == 0
    mawasu.cli("gc")
    assert mawasu.cli("verify", "--json").json()["faults"] == []
    assert mawasu.says("kept") == "one"
    assert "train reused from build 1" in repo.push_files({"api/handler.py": texts.handler("two")})
    assert mawasu.says("kept") == "two"


def test_a_followed_remote_is_built_like_a_push(mawasu: Mawasu) -> None:
    there = Repo(mawasu, mawasu.top / "elsewhere")
    there.commit(texts.project("followed"), "first")
    mawasu.cli("watch", str(there.path), "--project", "followed", "--every", "1")
    eventually(lambda: mawasu.says("followed") == "one", "the first build of a followed remote")
    there.commit({"api/handler.py": texts.handler("two")})
    eventually(lambda: mawasu.says("followed") == "two", "the second build of a followed remote")
    assert mawasu.finished("followed", 2).result == "served"
    mawasu.cli("watch", str(there.path), "--project", "followed", "--stop")


def test_a_repository_may_hold_several_features(mawasu: Mawasu) -> None:
    files = {f"{name}/{path}": text for name in ("left", "right") for path, text in texts.project(name).items()}
    repo = mawasu.repo("pair", files)
    said = repo.push()
    assert "staging serves left/main/" in said
    assert "staging serves right/main/" in said
    said = repo.push_files({"left/api/handler.py": texts.handler("two")})
    assert (mawasu.says("left"), mawasu.says("right")) == ("two", "one")
    assert [build["result"] for build in mawasu.builds("right")] == ["nothing", "served"]


def test_data_outside_the_repository_is_pinned_by_data_lock(mawasu: Mawasu) -> None:
    outside = mawasu.top / "data" / "points.csv"
    outside.write_text(texts.points())
    files = dict(texts.project("pinned", data=f"{{path: {outside}}}"))
    del files["data/points.csv"]
    repo = mawasu.repo("pinned", files)
    said = repo.push()
    assert "data.lock does not pin the data set `points`" in said
    assert "mawasu data lock" in said
    mawasu.cli("data", "lock", cwd=repo.path)
    said = repo.push_files({})
    assert "served: staging serves pinned/main" in said
    outside.write_text(texts.points(2))
    mawasu.cli("data", "lock", cwd=repo.path)
    said = repo.push_files({})
    assert "data points changed" in said
    assert "✓ train" in said


def test_json_web_tokens_of_the_issuer_in_the_document_open_the_gateway(mawasu: Mawasu) -> None:
    key = ECKey.generate_key("P-256", {"kid": "one", "alg": "ES256", "use": "sig"})
    document = texts.OPENAPI.replace(
        "    key: {type: apiKey, in: header, name: X-API-KEY}\n",
        "    key:\n      type: http\n      scheme: bearer\n      x-google-issuer: https://issuer.example\n"
        f"      x-google-audiences: sums\n      x-mawasu-jwks: {json.dumps({'keys': [key.as_dict(private=False)]})}\n",
    )
    mawasu.repo("tokens", {**texts.project("tokens"), "auth/openapi.yaml": document}).push()

    def token(**changes: object) -> dict[str, str]:
        claims = {"iss": "https://issuer.example", "sub": "me", "aud": "sums", "exp": int(time.time()) + 60}
        text = jwt.encode({"alg": "ES256", "kid": "one"}, {**claims, **changes}, key)
        return {"authorization": f"Bearer {text}"}

    path = "/tokens/staging/predict"
    assert mawasu.call(path, None, headers=token()).status == 200
    assert mawasu.call(path, None).status == 401
    assert mawasu.call(path, None, headers=token(aud="else")).status == 403
    assert mawasu.call(path, None, headers=token(exp=int(time.time()) - 3600)).status == 401
    header, claims, signature = token()["authorization"].split(".")
    forged = base64.urlsafe_b64encode(bytes(64)).decode().rstrip("=")
    assert len(forged) == len(signature)
    assert mawasu.call(path, None, headers={"authorization": f"{header}.{claims}.{forged}"}).status == 401


@pytest.mark.parametrize("verb", ["check", "plan", "run"])
def test_verbs_of_a_checkout_say_where_they_are_missing_one(mawasu: Mawasu, verb: str) -> None:
    done = mawasu.cli(verb, check=False)
    assert done.status == 2
    assert "is not in a git repository" in done.text
    assert "git init" in done.text


def test_a_faulty_feature_does_not_keep_its_neighbour_from_being_served(mawasu: Mawasu) -> None:
    files = {f"{name}/{path}": text for name in ("sound", "faulty") for path, text in texts.project(name).items()}
    files["faulty/mawasu.yaml"] = files["faulty/mawasu.yaml"].replace("metric: roc_auc", "metric: rocauc")
    said = mawasu.repo("neighbours", files).push()
    assert "staging serves sound/main/" in said
    assert "faulty/mawasu.yaml has 1 fault" in said
    assert "roc_auc" in said
    assert mawasu.says("sound") == "one"
