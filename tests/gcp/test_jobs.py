"""Jobs on Vertex AI through the front door: `GcpJobs.run` on Google's double, with commands that really run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from mawasu.errors import PlatformError, StepError
from mawasu.google import vertex
from mawasu.google.call import Call
from mawasu.platforms.gcp.jobclaim import Grace
from mawasu.spec.feature import GcpTraining
from mawasu.words import Mount, Outcome, Output, Result
from tests.gcp.bench import AIPLATFORM, CLOUD, IMAGE, QUICK, Bench, a_bench, eventually

TRAIN = 'import os, pathlib; pathlib.Path(os.environ["MAWASU_MODEL"], "m").write_text("42"); print("trained")'


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with a_bench(tmp_path, monkeypatch) as made:
        yield made


# ---------------------------------------------------------------------------------------------------- what is made


def test_what_a_command_writes_is_stored_and_what_it_prints_is_logged(bench: Bench) -> None:
    outcome = bench.python(TRAIN)
    assert (outcome.result, outcome.message) == (Result.OK, "")
    assert (bench.laid(outcome.outputs["MAWASU_MODEL"]) / "m").read_text() == "42"
    assert bench.log.printed == ["trained"]
    assert bench.log.lines[0].startswith(
        "[vertex] asked for e2-highmem-2 in europe-west1: https://console.cloud.google"
    )
    assert outcome.facts["exit_status"] == 0
    assert outcome.facts["machine"] == "e2-highmem-2"
    assert outcome.facts["seconds_running"] > 0
    assert outcome.facts["seconds_queued"] > 0


def test_a_model_keeps_its_directories_its_empty_ones_and_what_may_be_run(bench: Bench) -> None:
    outcome = bench.run(
        'cd "$MAWASU_MODEL"; mkdir -p deep/er hollow; echo hi > deep/er/text; echo : > run; chmod 755 run'
    )
    model = bench.laid(outcome.outputs["MAWASU_MODEL"])
    assert (model / "deep/er/text").read_text() == "hi\n"
    assert (model / "hollow").is_dir()
    assert (model / "run").stat().st_mode & 0o100
    assert not (model / "deep/er/text").stat().st_mode & 0o100
    again = bench.tree({"deep/er/text": "hi\n", "run": ":\n"}, executable="run", empty="hollow")
    assert outcome.outputs["MAWASU_MODEL"] == again, "the digest is the one of any other platform"


def test_an_output_can_be_a_file_and_one_that_is_not_required_can_be_left_out(bench: Bench) -> None:
    outputs = (Output("MAWASU_PREDICTIONS", "file"), Output("MAWASU_METRICS", "file", required=False))
    outcome = bench.run('echo 1,0.5 > "$MAWASU_PREDICTIONS"', outputs=outputs)
    assert outcome.result is Result.OK, outcome.message
    assert {name: bench.store.read(digest) for name, digest in outcome.outputs.items()} == {
        "MAWASU_PREDICTIONS": b"1,0.5\n"
    }


def test_a_command_sees_what_it_declares_and_how_it_is_to_compute(bench: Bench) -> None:
    bench.files = {"callback/train.py": "", "callback/data/tool": "#!/bin/sh\necho tool ran\n", "other.txt": "x"}
    bench.executable = {"callback/data/tool"}
    mounts = (
        Mount("MAWASU_DATA", bench.tree({"a.csv": "1\n", "sub/b": "2\n"}, empty="none"), "resumes"),
        Mount("MAWASU_DATA", bench.tree({"c": "3\n"}), "words"),
    )
    script = (
        'pwd; data/tool; find "$MAWASU_DATA" | sort; cat "$MAWASU_PARAMS"; echo; echo '
        '"$MAWASU_SEED $PYTHONHASHSEED $OMP_NUM_THREADS $OPENBLAS_NUM_THREADS $LANG $TMPDIR $IMAGE $OWN"; '
        'test "$AIP_MODEL_DIR" = "$MAWASU_MODEL" && touch "$MAWASU_MODEL/x"'
    )
    outcome = bench.run(
        script,
        root="callback",
        mounts=mounts,
        params={"b": 1, "a": [2]},
        seed=7,
        environ={"OWN": "$(HOME)"},
        resources={"cpu": 1.5},
    )
    assert outcome.result is Result.OK, outcome.message
    assert bench.log.printed == [
        "/mawasu/files/callback",
        "tool ran",
        "/mawasu/data",
        "/mawasu/data/resumes",
        "/mawasu/data/resumes/a.csv",
        "/mawasu/data/resumes/none",
        "/mawasu/data/resumes/sub",
        "/mawasu/data/resumes/sub/b",
        "/mawasu/data/words",
        "/mawasu/data/words/c",
        '{"a": [2], "b": 1}',
        "7 0 2 2 C.UTF-8 /mawasu/tmp yes $(HOME)",
    ]
    assert outcome.facts["threads"] == 2


def test_a_link_inside_the_repository_is_laid_out_and_one_out_of_it_refused(bench: Bench) -> None:
    bench.files = {"real.txt": "real\n", "link.txt": "real.txt"}
    bench.links = {"link.txt"}
    assert bench.run("cat link.txt; touch $MAWASU_MODEL/x").result is Result.OK
    assert bench.log.printed == ["real"]
    bench.files["link.txt"] = "/etc/passwd"
    with pytest.raises(StepError, match=r"the symbolic link 'link\.txt' is refused"):
        bench.run("true", key="")


def test_secrets_come_from_secret_manager_and_are_not_in_the_log(bench: Bench) -> None:
    reference = "projects/acme/secrets/mawasu-callback--production--TOKEN/versions/latest"
    bench.secrets[reference] = b"hush-hush"
    command = 'echo "it is $TOKEN"; printf %s "$TOKEN" > "$MAWASU_MODEL/x"'
    outcome = bench.run(command, secrets={"TOKEN": reference})
    assert (bench.laid(outcome.outputs["MAWASU_MODEL"]) / "x").read_text() == "hush-hush"
    assert bench.log.printed == ["it is ***"]
    asked = json.dumps(bench.double.seen("customJobs.create")[0].body)
    assert "hush" not in asked
    assert all(
        b"hush" not in (bench.given.read(one.name) or b"") for one in bench.given.list("jobs/") if "out" not in one.name
    )


def test_a_secret_that_has_no_value_is_named(bench: Bench) -> None:
    outcome = bench.run("true", secrets={"TOKEN": "projects/acme/secrets/none/versions/latest"})
    assert (outcome.result, outcome.message) == (Result.FAILED, "cannot read the secret TOKEN: status 404")
    assert outcome.hint == "give it a value"


# ---------------------------------------------------------------------------------------------------- what goes wrong


def test_a_command_that_fails_is_told_with_its_last_line(bench: Bench) -> None:
    outcome = bench.run("echo first; echo no such column; exit 3")
    assert outcome.result is Result.FAILED
    assert outcome.message == "train ended with status 3: no such column"
    assert outcome.hint == "`mawasu logs` has all that it printed"
    assert bench.log.printed == ["first", "no such column"]
    assert outcome.facts["exit_status"] == 3


def test_a_program_that_is_not_there_is_told_so(bench: Bench) -> None:
    outcome = bench.run("nonesuch")
    assert outcome.message.startswith("train ended with status 127: ")
    assert outcome.hint == "is the program in the lock, and the file in paths?"


def test_a_command_that_writes_nothing_has_failed(bench: Bench) -> None:
    outcome = bench.run("true")
    assert (outcome.result, outcome.message) == (Result.FAILED, "train wrote nothing to MAWASU_MODEL")
    assert outcome.hint == "write it to the directory that the variable MAWASU_MODEL names"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ('ln -s /etc/passwd "$MAWASU_MODEL/x"', "train wrote a symbolic link to MAWASU_MODEL: x"),
        ('mkfifo "$MAWASU_MODEL/x"', "train wrote a special file to MAWASU_MODEL: x"),
        (
            "touch \"$MAWASU_MODEL/$(printf 'a\\nb')\"",
            "train wrote a file with a strange name to MAWASU_MODEL: 'a\\nb'",
        ),
    ],
)
def test_what_is_no_plain_file_is_refused(bench: Bench, command: str, message: str) -> None:
    outcome = bench.run(command)
    assert (outcome.result, outcome.message) == (Result.FAILED, message)


def test_a_command_that_takes_too_long_is_ended_with_all_it_started(bench: Bench) -> None:
    outcome = bench.run("sleep 1000 & setsid sleep 1000 & sleep 1000", timeout=0.5)
    assert (outcome.result, outcome.message) == (Result.TIMED_OUT, "train was not done after 0.5 s")
    assert 0.5 <= outcome.seconds < 10


def test_a_command_that_is_killed_is_told_so(bench: Bench) -> None:
    outcome = bench.run("kill -KILL $$")
    assert (outcome.result, outcome.message) == (Result.FAILED, "train was killed by SIGKILL")
    assert outcome.facts["signal"] == "SIGKILL"


@pytest.mark.parametrize(
    ("fate", "result", "message"),
    [
        ("memory", Result.OUT_OF_MEMORY, "out of memory: train needs more than its 16384 MiB (e2-highmem-2)"),
        ("expired", Result.TIMED_OUT, "train was not done after 60 s"),
        ("internal", Result.FAILED, "train: Vertex AI says: Internal error occurred for the current attempt."),
        (
            "no machines",
            Result.FAILED,
            "train got no e2-highmem-2 in europe-west1: Resources are insufficient in region: europe-west1. "
            "Please try a different region.",
        ),
    ],
)
def test_what_vertex_ai_says_of_a_job_is_understood(bench: Bench, fate: str, result: Result, message: str) -> None:
    bench.vertex.fates = [fate]
    outcome = bench.run("true")
    assert (outcome.result, outcome.message) == (result, message)


def test_a_quota_that_is_spent_names_machine_region_and_quota(bench: Bench) -> None:
    bench.double.faults.quota(AIPLATFORM, "POST", times=-1)
    outcome = bench.run("true")
    assert outcome.result is Result.FAILED
    assert outcome.message.startswith("train got no e2-highmem-2 in europe-west1: ")
    assert "Quota exceeded" in outcome.message
    assert "custom_model_training_cpus in europe-west1" in outcome.hint
    bench.double.faults.clear()
    assert bench.python(TRAIN).result is Result.OK, "there is nothing left to wait for"


def test_a_job_that_never_starts_is_cancelled_and_told_with_machine_and_region(bench: Bench) -> None:
    bench.vertex.fates = ["never"]
    bench.pace = msgspec.structs.replace(QUICK, start=0.2)
    outcome = bench.run("true", resources={"accelerator": "NVIDIA_TESLA_T4", "accelerators": 1})
    assert outcome.result is Result.FAILED
    assert outcome.message.startswith(
        "train got no n1-highmem-2 with 1 × NVIDIA_TESLA_T4 in europe-west1: it was not started"
    )
    assert "custom_model_training_nvidia_t4_gpus" in outcome.hint
    assert [job.state for job in bench.vertex.jobs.values()] == ["CANCELLED"]


def test_a_job_that_failed_is_tried_again_with_files_of_its_own(bench: Bench) -> None:
    assert (
        bench.python("import os; open(os.environ['MAWASU_MODEL'] + '/old', 'w'); raise SystemExit(1)").result
        is Result.FAILED
    )
    outcome = bench.python(TRAIN)
    assert [path.name for path in bench.laid(outcome.outputs["MAWASU_MODEL"]).iterdir()] == ["m"]
    assert bench.vertex.ran == 2


# ---------------------------------------------------------------------------------------------------- one for one key


def test_what_has_succeeded_for_a_key_is_taken_and_not_run_again(bench: Bench) -> None:
    first = bench.python(TRAIN)
    second = bench.python(TRAIN)
    assert second.outputs == first.outputs
    assert second.facts["found_again"]
    assert bench.vertex.ran == bench.creations() == 1
    assert bench.log.printed == ["trained", "trained"], "its log is there again, from the beginning"


def test_what_has_succeeded_but_lost_its_files_is_run_again(bench: Bench) -> None:
    bench.python(TRAIN)
    for one in list(bench.given.list("jobs/")):
        bench.given.delete(one.name)
    assert bench.python(TRAIN).result is Result.OK
    assert bench.vertex.ran == 2


def test_a_lost_poller_finds_its_job_again(bench: Bench) -> None:
    bench.files["code.py"] = f"import time; print('begun', flush=True); time.sleep(1); {TRAIN}"
    bench.double.faults.fail(AIPLATFORM, "GET", "*/customJobs/*", status=404, times=1)
    with pytest.raises(PlatformError):
        bench.run("python code.py")  # the process that asked for it is gone
    assert bench.creations() == 1
    outcome = bench.run("python code.py")
    assert outcome.result is Result.OK
    assert bench.vertex.ran == bench.creations() == 1
    assert bench.log.printed == ["begun", "trained"]


def test_a_lost_answer_of_create_finds_the_job_by_its_key(bench: Bench) -> None:
    bench.double.faults.cut_after_effect(AIPLATFORM, "POST", "*/customJobs")
    outcome = bench.python(TRAIN)
    assert outcome.result is Result.OK
    assert bench.vertex.ran == bench.creations() == 1


def test_a_create_that_was_lost_on_its_way_is_sent_once_more(bench: Bench) -> None:
    bench.double.faults.cut_before_effect(AIPLATFORM, "POST", "*/customJobs")
    assert bench.python(TRAIN).result is Result.OK
    assert bench.vertex.ran == 1


def test_a_server_error_of_create_is_looked_into_before_it_is_sent_again(bench: Bench) -> None:
    bench.double.faults.fail(AIPLATFORM, "POST", "*/customJobs", status=503)
    assert bench.python(TRAIN).result is Result.OK
    assert bench.vertex.ran == 1


def test_two_who_want_the_same_at_once_train_once(bench: Bench) -> None:
    bench.files["code.py"] = TRAIN
    several = [bench.start("python code.py") for _ in range(3)]
    outcomes = [one.outcome() for one in several]
    assert {outcome.result for outcome in outcomes} == {Result.OK}
    assert len({outcome.outputs["MAWASU_MODEL"] for outcome in outcomes}) == 1
    assert bench.vertex.ran == bench.creations() == 1


def test_an_intention_whose_owner_died_holds_nobody_up_for_long(bench: Bench) -> None:
    bench.pace = msgspec.structs.replace(QUICK, grace=Grace(look=0.02, abandoned=0.5, lost=0.1))
    bench.double.faults.cut_before_effect(AIPLATFORM, "POST", "*/customJobs", times=2)
    with pytest.raises(PlatformError, match="the answer was lost"):
        bench.python(TRAIN)
    assert bench.python(TRAIN).result is Result.OK
    assert bench.vertex.ran == 1


def test_of_two_jobs_of_one_key_the_older_one_stands(bench: Bench) -> None:
    """A creation that was lost on its way, and arrives after all: Google may take its time."""
    bench.files["code.py"] = f"import time; time.sleep(0.5); {TRAIN}"
    first = bench.start("python code.py")
    eventually(lambda: bench.creations() == 1)
    body = bench.double.seen("customJobs.create")[0].body
    parent = f"/v1/projects/{CLOUD.project}/locations/{CLOUD.region}/customJobs"
    bench.client.send(Call("POST", "europe-west1-aiplatform.googleapis.com", parent, body=body))
    second = bench.start("python code.py")
    assert first.outcome().outputs == second.outcome().outputs
    older, younger = bench.vertex.jobs.values()
    assert (older.state, younger.told, bench.vertex.ran) == ("SUCCEEDED", True, 1)


# ---------------------------------------------------------------------------------------------------- giving up


def test_a_job_that_is_given_up_is_cancelled_and_gone_when_that_is_told(bench: Bench) -> None:
    running = bench.start("echo begun; sleep 1000")
    eventually(lambda: "begun" in running.log.lines)
    running.cancel.set()
    outcome = running.outcome()
    assert (outcome.result, outcome.message) == (Result.CANCELLED, "train was given up")
    assert [job.state for job in bench.vertex.jobs.values()] == ["CANCELLED"]


def test_a_command_that_is_given_up_may_end_by_itself(bench: Bench) -> None:
    running = bench.start("trap 'echo saved; exit 0' TERM; echo begun; while :; do sleep 0.05; done")
    eventually(lambda: "begun" in running.log.lines)
    running.cancel.set()
    assert running.outcome().result is Result.CANCELLED
    assert "saved" in running.log.lines


def test_a_job_can_be_given_up_before_it_runs(bench: Bench) -> None:
    bench.vertex.fates = ["never"]
    running = bench.start("true")
    eventually(lambda: bench.creations() == 1)
    running.cancel.set()
    assert running.outcome().result is Result.CANCELLED
    assert [job.state for job in bench.vertex.jobs.values()] == ["CANCELLED"]


def test_a_build_that_is_given_up_takes_no_job_from_another_one(bench: Bench) -> None:
    bench.files["code.py"] = f"import time; print('begun', flush=True); time.sleep(1.5); {TRAIN}"
    first, second = bench.start("python code.py"), bench.start("python code.py")
    eventually(lambda: "begun" in first.log.lines and "begun" in second.log.lines)
    first.cancel.set()
    assert first.outcome().result is Result.CANCELLED
    assert second.outcome().result is Result.OK
    assert "another build that waited for this job gave it up: it is started again" in second.log.lines


def test_a_job_that_a_person_cancels_is_not_started_again(bench: Bench) -> None:
    running = bench.start("echo begun; sleep 1000")
    eventually(lambda: "begun" in running.log.lines)
    bench.client.send(vertex.cancel(next(iter(bench.vertex.jobs))))
    outcome = running.outcome()
    assert outcome.result is Result.CANCELLED
    assert outcome.message == "train: the job was cancelled by somebody, not by mawasu"
    assert bench.creations() == 1


def test_google_may_be_out_of_reach_for_a_while(bench: Bench) -> None:
    bench.double.faults.fail(AIPLATFORM, "GET", "*/customJobs/*", status=503, times=15)
    bench.double.faults.fail("logging.googleapis.com", status=429, times=8)
    outcome = bench.python(TRAIN)
    assert outcome.result is Result.OK
    assert "trained" in bench.log.lines


# ---------------------------------------------------------------------------------------------------- what is asked for


def test_a_job_says_whose_it_is(bench: Bench) -> None:
    bench.run("true", name="callback/feature/Try GBDT/1a2b3c4d5e/evaluate/champion")
    found = bench.labels()
    assert found.pop("mawasu-branch").startswith("feature-try-gbdt-x")
    assert len(found.pop("mawasu-key")) == 40
    assert found == {
        "managed-by": "mawasu",
        "mawasu-feature": "callback",
        "mawasu-commit": "1a2b3c4d5e",
        "mawasu-step": found["mawasu-step"],
        "mawasu-attempt": "1",
    }


def test_a_distributed_job_has_its_pools_and_only_the_chief_writes(bench: Bench) -> None:
    bench.training = GcpTraining(parameter_servers=1)
    command = (
        'echo $CLUSTER_SPEC | grep -o "task.*"; case $CLUSTER_SPEC in *\'{"type": "workerpool0"\'*) '
        "sleep 0.5; echo chief > $MAWASU_MODEL/x;; *) echo other > $MAWASU_MODEL/x; echo o > $MAWASU_MODEL/y;; esac"
    )
    outcome = bench.run(command, resources={"workers": 3})
    asked = bench.double.seen("customJobs.create")[0].body["jobSpec"]["workerPoolSpecs"]
    assert [pool["replicaCount"] for pool in asked] == ["1", "2", "1"]
    model = bench.laid(outcome.outputs["MAWASU_MODEL"])
    assert {path.name: path.read_text() for path in model.iterdir()} == {"x": "chief\n"}
    others = [line for line in bench.log.lines if line.startswith("[workerpool")]
    assert {line.split("]")[0] for line in others} >= {"[workerpool1-0", "[workerpool1-1", "[workerpool2-0"}


def test_graphics_processors_come_with_the_machine_that_has_them(bench: Bench) -> None:
    bench.run("true", resources={"accelerator": "NVIDIA_L4", "accelerators": 2, "cpu": 8})
    pool = bench.double.seen("customJobs.create")[0].body["jobSpec"]["workerPoolSpecs"][0]
    machine = {"machineType": "g2-standard-24", "acceleratorType": "NVIDIA_L4", "acceleratorCount": 2}
    assert pool["machineSpec"] == machine
    assert pool["containerSpec"]["imageUri"] == IMAGE.ref


def test_spot_and_a_large_disk_and_a_network_are_asked_for(bench: Bench) -> None:
    bench.training = GcpTraining(scheduling="spot", disk=500 * 10**9, network="training")
    bench.run("true", timeout=3600)
    spec = bench.double.seen("customJobs.create")[0].body["jobSpec"]
    assert spec["scheduling"] == {"strategy": "SPOT", "timeout": "5400s", "restartJobOnWorkerRestart": False}
    assert spec["workerPoolSpecs"][0]["diskSpec"] == {"bootDiskType": "pd-ssd", "bootDiskSizeGb": 500}
    assert spec["network"] == "projects/123456789012/global/networks/training"
    assert spec["serviceAccount"] == "mawasu-training@acme.iam.gserviceaccount.com"
    assert spec["baseOutputDirectory"]["outputUriPrefix"].startswith("gs://acme-mawasu-jobs/jobs/train-")


def test_what_vertex_ai_would_refuse_is_told_before_it_is_asked(bench: Bench) -> None:
    bench.training = GcpTraining(scheduling="flex-start")
    with pytest.raises(StepError, match="flex-start is for L4, A100"):
        bench.run("true")
    with pytest.raises(StepError, match="NVIDIA_TESLA_T4 does not come in 3"):
        bench.run("true", resources={"accelerator": "NVIDIA_TESLA_T4", "accelerators": 3})
    assert bench.creations() == 0


# ---------------------------------------------------------------------------------------------------- logs


def test_lines_that_come_late_are_there_once(bench: Bench) -> None:
    bench.logs.late = 3
    outcome = bench.run("for i in $(seq 50); do echo line $i; done; touch $MAWASU_MODEL/x")
    assert outcome.result is Result.OK
    assert sorted(bench.log.printed) == sorted(f"line {i}" for i in range(1, 51))


def test_a_log_without_end_is_capped(bench: Bench) -> None:
    outcome = bench.run("head -c 12000000 /dev/zero | tr '\\0' 'x' | fold -w 60000; touch $MAWASU_MODEL/x")
    assert outcome.result is Result.OK
    assert bench.log.printed[-1] == "[log capped at 10 MB]"
    assert sum(map(len, bench.log.printed)) < 10_100_000


# ---------------------------------------------------------------------------------------------------- mistrust


def test_files_that_were_changed_in_the_bucket_are_not_run(bench: Bench) -> None:
    bench.vertex.fates = ["never"]
    running = bench.start("cat a.txt")
    eventually(lambda: bench.creations() == 1)
    (name,) = [one.name for one in bench.given.list("jobs/") if one.name.endswith("enter.py")]
    bench.given.put(name, b"print('gotcha')")
    next(iter(bench.vertex.jobs.values())).fate = ""
    outcome = running.outcome()
    assert outcome.result is Result.FAILED
    assert "is not what mawasu wrote" in outcome.message
    assert "gotcha" not in "".join(running.log.lines)


def lie(bench: Bench, outcome: object) -> Outcome:
    """The outcome of a job whose `outcome.json` somebody else wrote."""
    bench.vertex.fates = ["never"]
    running = bench.start("true")
    eventually(lambda: bench.creations() == 1)
    out = bench.double.seen("customJobs.create")[0].body["jobSpec"]["baseOutputDirectory"]["outputUriPrefix"]
    below = out.removeprefix(f"gs://{CLOUD.bucket}-jobs/") + "out/"
    bench.given.put(f"{below}MAWASU_MODEL/m", b"42")
    bench.given.put(f"{below}outcome.json", json.dumps(outcome).encode())
    next(iter(bench.vertex.jobs.values())).fate = "idle"
    return running.outcome()


def wrote(*names: str, sha256: str = "0" * 64) -> object:
    files = {name: {"sha256": sha256, "size": 2} for name in names}
    return {"end": "exit", "status": 0, "outputs": {"MAWASU_MODEL": {"files": files}}}


@pytest.mark.parametrize("names", [["../../escaped"], ["/etc/x"], ["a//b"], ["a\nb"], [""], ["a", "a/b"]])
def test_a_strange_name_in_an_outcome_is_not_laid_out(bench: Bench, names: list[str]) -> None:
    outcome = lie(bench, wrote(*names))
    assert outcome.result is Result.FAILED
    assert outcome.message.startswith("train wrote to MAWASU_MODEL what cannot be stored: ")


def test_bytes_that_are_not_those_that_the_job_wrote_are_not_stored(bench: Bench) -> None:
    with pytest.raises(PlatformError, match="is not what the job wrote"):
        lie(bench, wrote("m"))


def test_an_outcome_that_is_none_is_refused(bench: Bench) -> None:
    with pytest.raises(PlatformError, match="is not what a job writes"):
        lie(bench, {"end": 3})


def test_a_job_that_ends_well_without_an_outcome_has_failed(bench: Bench) -> None:
    bench.vertex.fates = ["idle"]
    outcome = bench.run("true")
    assert (outcome.result, outcome.message) == (Result.FAILED, "train: the job ended well and left no outcome")
