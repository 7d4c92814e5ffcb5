"""What users do wrong, and what machines do: one clear line with a hint, the old release serves on, nothing lost."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from mawasu.words import Result
from tests.story import texts
from tests.story.world import Mawasu, Repo, alive, eventually

FEATURE = "sums"


@pytest.fixture(scope="module")
def first(mawasu: Mawasu) -> tuple[Repo, str]:
    """A feature that is served, and the commit that is good."""
    repo = mawasu.repo(FEATURE, texts.project(FEATURE))
    assert "staging serves" in repo.push()
    return repo, repo.git("rev-parse", "HEAD").out.strip()


@pytest.fixture
def served(mawasu: Mawasu, first: tuple[Repo, str]) -> Iterator[Repo]:
    """The good commit, checked out; whatever is pushed on top of it, the old release serves on and nothing is lost."""
    repo, good = first
    before = mawasu.serving(FEATURE)
    repo.git("reset", "-q", "--hard", good)
    yield repo
    assert mawasu.says(FEATURE) == "one"
    assert mawasu.serving(FEATURE) == before
    assert not list((mawasu.home / "cache" / "workspaces").glob("*"))


def push_broken(repo: Repo, files: Mapping[str, str]) -> str:
    """Push a commit on top of the good one; the lines git showed. The command says the same later."""
    repo.commit(files, "broken")
    said = repo.push("+main")
    newest = max(repo.mawasu.state(FEATURE).builds.values(), key=lambda build: build.number)
    assert newest.result in (Result.FAILED, Result.BLOCKED), said
    assert " ".join(newest.reason.split()) in " ".join(repo.mawasu.cli("show", "--feature", FEATURE).out.split())
    return said


def broken_training(repo: Repo, code: str, **settings: str) -> str:
    return push_broken(
        repo, {"training/train.py": code + "\n" + texts.train(), "mawasu.yaml": texts.feature(FEATURE, **settings)}
    )


# ------------------------------------------------------------------------------------------------ mawasu.yaml


def test_a_commit_without_a_mawasu_yaml_is_taken_and_says_how_to_write_one(mawasu: Mawasu) -> None:
    said = mawasu.repo("empty", {"README.md": "Nothing yet."}).push()
    assert "no mawasu.yaml in this commit" in said
    assert "mawasu init" in said


def test_every_fault_of_a_mawasu_yaml_is_recorded_and_shown(served: Repo) -> None:
    text = texts.feature(FEATURE).replace("metric: roc_auc", "metric: auc").replace("timeout: 60s", "timout: 60s")
    said = push_broken(served, {"mawasu.yaml": text.replace("  api:", "  apy:")})
    assert "mawasu.yaml has 3 faults" in said
    shown = served.mawasu.cli("show", "--feature", FEATURE).out
    for place in (said, shown):
        assert "metric" in place
        assert "roc_auc" in place
        assert "timout" in place
    checked = served.mawasu.cli("check", cwd=served.path, check=False)
    assert checked.status == 3
    assert checked.text.count("mawasu.yaml:") == 3


def test_text_that_is_no_yaml_is_recorded_under_the_project(served: Repo) -> None:
    said = push_broken(served, {"mawasu.yaml": "feature: [sums\n\t"})
    assert "mawasu.yaml:" in said
    assert "fault" in said


# ------------------------------------------------------------------------------------------------ training


def test_training_that_fails_shows_its_last_line(served: Repo) -> None:
    said = broken_training(served, "raise SystemExit('the moon is in the wrong house')")
    assert "train ended with status 1: the moon is in the wrong house" in said
    assert "the moon is in the wrong house" in served.mawasu.cli("logs", "--feature", FEATURE).out


def test_training_that_writes_no_model_is_told_where_to_write_it(served: Repo) -> None:
    said = broken_training(served, "print('done'); raise SystemExit(0)")
    assert "MAWASU_MODEL" in said


def test_training_that_hangs_is_ended_at_its_time(served: Repo) -> None:
    said = broken_training(served, "import time; time.sleep(3600)", timeout="1s")
    assert "1 s" in said
    assert "timeout" in said


def test_training_that_forks_twice_leaves_no_process(served: Repo) -> None:
    word = f"survivor-{os.getpid()}"
    code = f"""
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv("/bin/sh", ["/bin/sh", "-c", "sleep 3600; : {word}"])
    os._exit(0)
os.wait()
time.sleep(0.2)
raise SystemExit("parent leaves")
"""
    assert "parent leaves" in broken_training(served, code)
    assert not alive(f": {word}")


def test_training_that_eats_memory_is_ended_and_memory_is_named(served: Repo) -> None:
    said = broken_training(served, "eaten = [bytearray(2**24) for _ in range(64)]", memory="128Mi")
    assert "out of memory" in said
    assert "128" in said


def test_training_that_forks_without_end_is_stopped(served: Repo) -> None:
    code = "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        os._exit(3)"
    said = broken_training(served, code, timeout="5s", memory="128Mi")
    assert "train" in said


def test_training_that_prints_without_end_keeps_a_capped_log(served: Repo) -> None:
    code = "import os\nfor _ in range(200):\n    os.write(1, (b'x' * 99 + b'\\n') * 10000)\nraise SystemExit(3)"
    assert "status 3" in broken_training(served, code)
    number = max(served.mawasu.state(FEATURE).builds)
    log = served.mawasu.home / "records" / "logs" / FEATURE / f"{number:06d}" / "train.log"
    assert log.stat().st_size < 11e6
    assert "[log capped at 10 MB]" in log.read_text()[-200:]


def test_a_model_that_is_a_link_out_of_the_sandbox_is_refused(served: Repo) -> None:
    code = "import os; os.symlink('/etc/passwd', os.environ['MAWASU_MODEL'] + '/model.json'); raise SystemExit(0)"
    assert "train wrote a symbolic link to MAWASU_MODEL: model.json" in broken_training(served, code)


# ------------------------------------------------------------------------------------------------ evaluation


@pytest.mark.parametrize(
    ("score", "told"),
    [
        pytest.param("float('nan')", "40 of 40 scores are missing, nan", id="are-not-numbers"),
        pytest.param("'high'", "or no numbers", id="are-words"),
    ],
)
def test_predictions_that_cannot_be_compared_fail_the_evaluation(served: Repo, score: str, told: str) -> None:
    said = push_broken(served, {"training/predict.py": texts.predict(score)})
    assert "✗ evaluate" in said
    assert told in said.lower()


def test_predictions_of_too_few_rows_fail_the_evaluation(served: Repo) -> None:
    code = texts.predict().replace("for row in rows]", "for row in rows[1:]]")
    said = push_broken(served, {"training/predict.py": code})
    assert "✗ evaluate" in said
    assert "row" in said


def test_missing_predictions_fail_the_evaluation(served: Repo) -> None:
    said = push_broken(served, {"training/predict.py": "print('nothing to say')\n"})
    assert "✗ evaluate" in said
    assert "MAWASU_PREDICTIONS" in said


# ------------------------------------------------------------------------------------------------ api


def test_an_example_that_is_answered_otherwise_blocks_the_release(served: Repo) -> None:
    said = push_broken(
        served,
        {"api/examples.yaml": texts.EXAMPLES.replace("tolerance: 100", "tolerance: 0.1")}
        | {"api/handler.py": texts.handler("two").replace('* item["x"]', "* 9")},
    )
    assert "blocked: examples: example `half of it`" in said
    assert "mend the handler, or the example if it is out of date" in said


def test_an_answer_that_breaks_the_openapi_document_blocks_the_release(served: Repo) -> None:
    handler = texts.handler("two").replace('"score": model["weight"] * item["x"]', '"score": "high"')
    files = {"api/examples.yaml": texts.EXAMPLES.replace("expect: {body: {score: 0.5}}", "expect: {status: 200}")}
    said = push_broken(served, {"api/handler.py": handler, **files})
    assert "blocked: contract:" in said
    assert '"high" is not of type "number"' in said


def test_a_request_that_the_document_allows_and_nobody_thought_of_blocks_the_release(served: Repo) -> None:
    handler = texts.handler("two").replace('* item["x"]', '* (0.25 / item["x"])')
    said = push_broken(served, {"api/handler.py": handler})
    assert 'blocked: contract: POST /predict with {"x": 0} was answered 500 (ZeroDivisionError' in said
    assert "auth/openapi.yaml allows the request" in said
    assert "to see it again: MAWASU_MODEL=DIRECTORY python -c" in said
    assert "'{\"x\": 0}'" in said


def test_an_api_that_cannot_be_imported_shows_the_last_line_of_its_log(served: Repo) -> None:
    said = push_broken(served, {"api/handler.py": "import nosuchpackage\n"})
    assert "✗ start" in said or "■ start" in said
    assert "ModuleNotFoundError: No module named 'nosuchpackage'" in said


def test_an_api_that_never_loads_is_given_up(served: Repo) -> None:
    code = "import time\ntime.sleep(0)\n" + texts.handler("two").replace(
        "    return json", "    time.sleep(3600)\n    return json"
    )
    said = push_broken(served, {"api/handler.py": code, "mawasu.yaml": texts.feature(FEATURE, ready="2s")})
    assert "was not ready after 2 seconds" in said


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        pytest.param(
            "[object() for item in batch]", "predict gave a builtins.object, which is not JSON", id="not-JSON"
        ),
        pytest.param("[]", "predict gave 0 answers for 1 items", id="too-few"),
        pytest.param("1 / 0", "ZeroDivisionError: division by zero", id="an-exception"),
    ],
)
def test_an_answer_that_is_none_blocks_the_release(served: Repo, answer: str, told: str) -> None:
    handler = texts.handler("two").partition("    return [{")[0] + f"    return {answer}\n"
    said = push_broken(served, {"api/handler.py": handler})
    assert "blocked: examples: example `half of it`: answered 500, expected 200: " in said
    assert told in said


def test_a_worker_that_dies_is_replaced(mawasu: Mawasu) -> None:
    dies = "    if batch[0]['x'] == 77.125:\n        os._exit(1)\n    return [{"
    handler = texts.handler().replace("    return [{", dies)
    mawasu.repo("mortal", {**texts.project("mortal"), "api/handler.py": handler}).push()
    assert mawasu.says("mortal") == "one"
    assert mawasu.call("/mortal/staging/predict", body={"x": 77.125}).status in (500, 502, 503)
    eventually(lambda: mawasu.says("mortal") == "one", "a new worker")
    assert mawasu.status()["mortal/staging"]["state"] == "in sync"


# ------------------------------------------------------------------------------------------------ git


@pytest.mark.parametrize("name", ["$(touch${IFS}x)", "a'b", "<script>", "x\u202ecod", "--upload-pack=x", "wïde"])
def test_a_hostile_branch_name_is_refused_and_shown_harmlessly(served: Repo, name: str) -> None:
    done = served.git("push", "mawasu", f"HEAD:refs/heads/{name}", check=False)
    assert done.status != 0
    assert "refused: the branch name" in done.text
    assert "\u202e" not in "".join(line for line in done.text.splitlines() if line.startswith("remote:"))
    assert len(served.mawasu.run(["git", "ls-remote", "mawasu"], served.path).out.splitlines()) <= 2


def test_a_link_out_of_the_tree_is_refused(served: Repo) -> None:
    (served.path / "api" / "stolen.txt").symlink_to("/etc/passwd")
    said = push_broken(served, {})
    assert "api/stolen.txt" in said
    (served.path / "api" / "stolen.txt").unlink()


# ------------------------------------------------------------------------------------------------ the machine


def test_a_port_that_is_taken_is_named_with_the_way_to_choose_another(own: Mawasu) -> None:
    with socket.create_server(("127.0.0.1", own.port)):
        done = own.cli("up", "--port", str(own.port), check=False)
    assert done.status == 7
    assert f"cannot listen on port {own.port}" in done.text
    assert "--port" in done.text
    own.up()


def test_a_second_daemon_on_one_home_refuses(mawasu: Mawasu) -> None:
    reading, writing = os.pipe()
    argv = [sys.executable, "-m", "mawasu.daemon", str(mawasu.home), "sandbox", str(writing)]
    done = subprocess.run(argv, env=mawasu.environ, pass_fds=[writing], capture_output=True, text=True, check=False)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    assert done.returncode == 2
    assert f"is up on {mawasu.home} already (process {mawasu.pid()})" in said


def test_a_full_disk_fails_the_build_clearly_and_serving_goes_on(own: Mawasu) -> None:
    records = own.home / "records"
    records.mkdir(parents=True)
    # A small disk that only this process and its children see. The sandbox inside needs what root could do outside.
    small = ["bwrap", "--dev-bind", "/", "/", "--size", str(24 * 2**20), "--tmpfs", str(records)]
    small += ["--cap-add", "ALL"] if os.getuid() == 0 else []
    call = f"from tests.story.test_faults import fill_the_disk; fill_the_disk({str(own.top)!r})"
    root = Path(__file__).parents[2]
    done = subprocess.run([*small, sys.executable, "-c", call], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def fill_the_disk(top: str) -> None:
    """The test above, where the disk is small."""
    own = Mawasu(Path(top))
    own.up()
    repo = own.repo(FEATURE, texts.project(FEATURE))
    repo.push()
    code = texts.train() + "pathlib.Path(os.environ['MAWASU_MODEL'], 'big').write_bytes(os.urandom(2**25))\n"
    said = repo.push_files({"training/train.py": code})
    assert "no space left on device" in said
    assert "build 2 failed" in said
    assert own.says(FEATURE) == "one"
    said = repo.push_files({"training/train.py": texts.train(2.0)})
    assert "build 3 served" in said
    assert own.call(f"/{FEATURE}/staging/predict").body["score"] == 1.0
    assert own.cli("verify", "--json").json()["faults"] == []
    own.down()
