from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from mawasu.errors import StepError
from mawasu.platforms.local.jobs import LocalJobs
from mawasu.platforms.local.sandbox import Sandbox
from mawasu.words import JobSpec, Mount, Output, Resources, Result, Source, Tree

from .support import MIB, MODEL, Bench, Folder

METRICS = Output("MAWASU_METRICS", kind="file", required=False)
PREDICTIONS = Output("MAWASU_PREDICTIONS", kind="file")


def folder(bench: Bench) -> Folder:
    return bench.store


def test_a_job_that_writes_a_model_is_ok_and_its_model_is_in_the_store(any_bench: Bench) -> None:
    outcome = any_bench.run("mkdir $MAWASU_MODEL/sub; echo weights > $AIP_MODEL_DIR/sub/model.bin", outputs=(MODEL,))
    assert outcome.result is Result.OK, outcome
    assert folder(any_bench).trees[outcome.outputs["MAWASU_MODEL"]] == {"sub/model.bin": b"weights\n"}


def test_a_job_is_told_everything_it_declares_in_variables(any_bench: Bench) -> None:
    rows = folder(any_bench).put_files({"rows.csv": b"a,b\n1,2\n"})
    code = """
import json, os
from pathlib import Path
env = os.environ
assert Path(env["MAWASU_DATA"], "flights/rows.csv").read_text() == "a,b\\n1,2\\n"
assert sorted(os.listdir(env["MAWASU_DATA"])) == ["flights", "weather"]
assert json.loads(Path(env["MAWASU_PARAMS"]).read_text()) == {"max_iter": 200, "deep": {"x": [1, None]}}
assert env["MAWASU_SEED"] == "7" and env["EXTRA"] == "given" and env["PYTHONHASHSEED"] == "0"
assert env["OMP_NUM_THREADS"] == env["OPENBLAS_NUM_THREADS"] == env["MKL_NUM_THREADS"] == "1"
assert Path(env["HOME"]).is_dir() and Path(env["TMPDIR"], "x").write_text("x")
Path(env["MAWASU_METRICS"]).write_text("{}")
Path(env["MAWASU_PREDICTIONS"]).write_text("row,score")
"""
    outcome = any_bench.python(
        code,
        mounts=(Mount("MAWASU_DATA", rows, "flights"), Mount("MAWASU_DATA", rows, "weather")),
        params={"max_iter": 200, "deep": {"x": [1, None]}},
        seed=7,
        environ={"EXTRA": "given", "MAWASU_SEED": "cannot be changed"},
        outputs=(METRICS, PREDICTIONS),
    )
    assert outcome.result is Result.OK, any_bench.log.text
    assert folder(any_bench).blobs[outcome.outputs["MAWASU_PREDICTIONS"]] == b"row,score"


def test_a_model_can_be_read_at_its_variable(any_bench: Bench) -> None:
    model = folder(any_bench).put_files({"model.bin": b"weights"})
    outcome = any_bench.run("cat $MAWASU_MODEL/model.bin", mounts=(Mount("MAWASU_MODEL", model),))
    assert (outcome.result, any_bench.log.text) == (Result.OK, "weights")


def test_data_cannot_be_changed_from_the_sandbox(bench: Bench) -> None:
    rows = bench.store.put_files({"rows.csv": b"true"})
    mount = Mount("MAWASU_DATA", rows, "flights")
    bench.run("chmod -R u+w $MAWASU_DATA; echo false > $MAWASU_DATA/flights/rows.csv", mounts=(mount,))
    bench.log.lines.clear()
    bench.run("cat $MAWASU_DATA/flights/rows.csv", mounts=(mount,))
    assert bench.log.text == "true"


def test_a_stored_directory_is_laid_out_once_for_all_jobs(bench: Bench) -> None:
    mount = Mount("MAWASU_DATA", bench.store.put_files({"rows.csv": b"x"}), "flights")
    bench.run("true", mounts=(mount,))
    bench.store.trees.clear()
    assert bench.run("cat $MAWASU_DATA/flights/rows.csv", mounts=(mount,)).result is Result.OK


def test_a_job_runs_in_the_root_of_its_feature(any_bench: Bench) -> None:
    any_bench.files["features/callback/train.txt"] = "found"
    any_bench.run("cat train.txt; echo cache > may-be-written", root="features/callback")
    assert any_bench.log.text == "found"


def test_a_sandboxed_job_sees_the_same_paths_in_every_run(bench: Bench) -> None:
    for _ in range(2):
        bench.run("pwd; echo $MAWASU_MODEL $HOME", outputs=(MODEL,))
    assert bench.log.lines[:2] == bench.log.lines[2:] == ["/mawasu/files", "/mawasu/model /mawasu/tmp"]


def test_a_job_uses_the_python_of_its_image(bench: Bench) -> None:
    bench.python("import sys; print(sys.prefix)")
    assert bench.log.text == bench.image.ref


def test_both_streams_are_in_the_log_in_their_order(bench: Bench) -> None:
    bench.run("echo one; echo two >&2; echo three; printf 'no newline'")
    assert bench.log.lines == ["one", "two", "three", "no newline"]


def test_the_status_and_the_last_line_of_a_job_that_fails_are_told(any_bench: Bench) -> None:
    outcome = any_bench.python("raise SystemExit('ValueError: column month is missing')")
    assert outcome.result is Result.FAILED
    assert outcome.message == "train ended with status 1: ValueError: column month is missing"
    assert outcome.facts["exit_status"] == 1


def test_a_job_killed_by_a_signal_names_it(any_bench: Bench) -> None:
    outcome = any_bench.python("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert outcome.result is Result.FAILED
    assert outcome.message.startswith("train was killed by SIGSEGV")
    assert outcome.facts["signal"] == "SIGSEGV"


def test_a_missing_program_gets_a_hint(bench: Bench) -> None:
    assert "in the lock" in bench.run("no-such-program").hint


def test_how_a_job_was_run_is_recorded(any_bench: Bench) -> None:
    outcome = any_bench.python("x = b'x' * 50_000_000\nfor _ in range(2_000_000): pass\nimport time; time.sleep(0.2)")
    facts = outcome.facts
    assert facts["sandbox"] == any_bench.sandbox.name
    assert facts["limiter"] == any_bench.limiter.name
    assert facts["threads"] == 1
    assert 50_000_000 < facts["peak_memory"] < 200_000_000
    assert 0.01 < facts["cpu_seconds"] < 10
    assert json.dumps(facts)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("true", "train wrote nothing to MAWASU_MODEL"),
        ("ln -s /etc/passwd $MAWASU_MODEL/model.bin", "train wrote a symbolic link to MAWASU_MODEL: model.bin"),
        ("mkdir $MAWASU_MODEL/a; ln -s / $MAWASU_MODEL/a/b", "train wrote a symbolic link to MAWASU_MODEL: a/b"),
        ("mkfifo $MAWASU_MODEL/pipe", "train wrote a special file to MAWASU_MODEL: pipe"),
    ],
)
def test_a_model_that_is_none_fails_the_job(any_bench: Bench, command: str, message: str) -> None:
    outcome = any_bench.run(command, outputs=(MODEL,))
    assert (outcome.result, outcome.message) == (Result.FAILED, message)
    assert outcome.hint
    assert not outcome.outputs


def test_a_model_directory_replaced_by_a_link_is_refused(home_trusting: Bench) -> None:
    outcome = home_trusting.run("rmdir $MAWASU_MODEL && ln -s /etc $MAWASU_MODEL", outputs=(MODEL,))
    assert outcome.message == "train wrote a symbolic link to MAWASU_MODEL: ."


@pytest.fixture
def home_trusting(bench: Bench) -> Bench:
    bench.sandbox = Sandbox.detect(trust_pushers=True)
    return bench


@pytest.mark.parametrize("command", ["true", ": > $MAWASU_PREDICTIONS", "ln -s /etc/passwd $MAWASU_PREDICTIONS"])
def test_predictions_that_are_none_fail_the_job(any_bench: Bench, command: str) -> None:
    outcome = any_bench.run(command, outputs=(PREDICTIONS,))
    assert outcome.result is Result.FAILED
    assert "MAWASU_PREDICTIONS" in outcome.message


def test_what_need_not_be_written_may_be_left_out(bench: Bench) -> None:
    outcome = bench.run("true", outputs=(METRICS,))
    assert (outcome.result, dict(outcome.outputs)) == (Result.OK, {})


def test_a_model_of_a_job_that_failed_is_not_kept(bench: Bench) -> None:
    outcome = bench.run("echo x > $MAWASU_MODEL/m; exit 3", outputs=(MODEL,))
    assert not outcome.outputs
    assert not bench.store.trees


def test_secrets_reach_the_job_but_neither_its_log_nor_its_message(any_bench: Bench) -> None:
    code = "import os, sys; s = os.environ['TOKEN']; print(s); sys.exit('failed with ' + s)"
    outcome = any_bench.python(code, secrets={"TOKEN": "hunter2-and-more"})
    assert any_bench.log.lines == ["***", "failed with ***"]
    assert outcome.message == "train ended with status 1: failed with ***"


def test_fifty_megabytes_of_prints_are_capped_and_marked_and_do_not_hold_the_job_up(any_bench: Bench) -> None:
    began = time.monotonic()
    outcome = any_bench.run(
        "yes 'a line of fifty characters, which is printed again ' | head -c 50000000; echo end >&2"
    )
    assert outcome.result is Result.OK
    assert any_bench.log.lines[-1] == "[log capped at 10 MB]"
    assert sum(len(line) + 1 for line in any_bench.log.lines[:-1]) <= 10_000_000
    assert time.monotonic() - began < 20


def test_files_that_cannot_be_laid_out_stop_the_job_before_it_starts(bench: Bench) -> None:
    def refuse(source: Source, dest: Path) -> None:
        raise StepError("a link out of the repository")

    jobs = LocalJobs(bench.home, bench.store, bench.sandbox, bench.limiter, refuse)
    job = JobSpec("f/b/c/train", "true", Source("", "", Tree({})), bench.image, Resources())
    with pytest.raises(StepError, match="a link out of the repository"):
        jobs.run(job, bench.log, bench.cancel)


def test_a_job_may_leave_directories_that_nobody_can_enter(bench: Bench) -> None:
    assert bench.run("mkdir -p a/b/c; touch a/b/c/d; chmod 000 a/b/c a/b a").result is Result.OK


def test_memory_of_a_job_is_what_it_asked_for(bench: Bench) -> None:
    assert bench.python("x = bytearray(100_000_000)", memory=256 * MIB).result is Result.OK


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"accelerator": "NVIDIA_L4"}, "train: this machine gives its jobs no accelerator (NVIDIA_L4)"),
        ({"workers": 4}, "train: this is one machine, not 4"),
    ],
)
def test_a_job_that_needs_more_than_one_plain_machine_is_refused_before_it_starts(
    bench: Bench, asked: dict[str, Any], message: str
) -> None:
    outcome = bench.run("touch started", **asked)
    assert (outcome.result, outcome.message) == (Result.FAILED, message)
    assert "Google Cloud" in outcome.hint
