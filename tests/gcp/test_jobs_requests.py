"""What is asked of Vertex AI and Cloud Logging, as values: machines, worker pools, faults, times."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mawasu.errors import StepError
from mawasu.google import logging, vertex
from mawasu.google.vertex import Job, Pool, State
from mawasu.platforms.gcp import joboutcome, machines
from mawasu.platforms.gcp.jobfiles import Told
from mawasu.platforms.gcp.jobs import labels, pools
from mawasu.platforms.gcp.machines import Chosen, choose
from mawasu.platforms.gcp.names import Cloud
from mawasu.spec.feature import GcpTraining
from mawasu.words import Image, JobSpec, Resources, Result, Source, Tree, digest_of
from tests.google.double import schema

GIB = 2**30
PARENT = "projects/acme/locations/europe-west1"
JOB = Job(
    name="callback/main/1a2b3c4d5e/train",
    image="europe-west1-docker.pkg.dev/acme/mawasu/callback@" + digest_of(b"layers"),
    command=("python3", "-c", "print('$(HOME)')"),
    account="mawasu-training@acme.iam.gserviceaccount.com",
    output="gs://acme-mawasu/jobs/train-1/1/",
    pools=(Pool("n1-standard-4"),),
    labels={"managed-by": "mawasu"},
)


def resources(cpu: float = 1, gib: float = 1, kind: str = "", count: int = 0, **more: Any) -> Resources:
    return Resources(cpu=cpu, memory=int(gib * GIB), accelerator=kind, accelerators=count, **more)


def faults(**changes: Any) -> list[str]:
    return vertex.faults(msgspec.structs.replace(JOB, **changes))


# ---------------------------------------------------------------------------------------------------- machines


@pytest.mark.parametrize(
    ("wanted", "machine"),
    [
        (resources(), "e2-highmem-2"),
        (resources(2, 16), "e2-highmem-2"),
        (resources(3, 16), "e2-standard-4"),
        (resources(4, 17), "e2-highmem-4"),
        (resources(16, 100), "e2-highmem-16"),
        (resources(32, 130), "n1-highmem-32"),
        (resources(40, 100), "n2-standard-48"),
        (resources(96, 624), "n1-highmem-96"),
        (resources(2, 4, "NVIDIA_TESLA_T4", 1), "n1-highmem-2"),
        (resources(16, 60, "NVIDIA_TESLA_P100", 1), "n1-standard-16"),
        (resources(1, 1, "NVIDIA_L4", 1), "g2-standard-4"),
        (resources(20, 64, "NVIDIA_L4", 1), "g2-standard-32"),
        (resources(1, 1, "NVIDIA_TESLA_A100", 16), "a2-megagpu-16g"),
        (resources(1, 1, "NVIDIA_A100_80GB", 2), "a2-ultragpu-2g"),
        (resources(1, 1, "NVIDIA_H100_80GB", 8), "a3-highgpu-8g"),
        (resources(1, 1, "TPU_V3", 8), "cloud-tpu"),
    ],
)
def test_the_smallest_machine_that_has_it_is_taken(wanted: Resources, machine: str) -> None:
    assert choose(wanted).machine == machine


def test_a_tpu_of_a_later_kind_is_told_by_machine_and_topology() -> None:
    chosen = choose(resources(1, 1, "TPU_V5_LITEPOD", 4), topology="2x2")
    assert (chosen.machine, chosen.accelerator, chosen.topology) == ("ct5lp-hightpu-4t", "", "2x2")


@pytest.mark.parametrize(
    ("wanted", "machine", "topology", "message"),
    [
        (resources(97), "", "", "no standard machine of Vertex AI has 97 cores and 1 GiB"),
        (resources(1, 1, "NVIDIA_TESLA_T4", 3), "", "", "NVIDIA_TESLA_T4 does not come in 3"),
        (resources(20, 1, "NVIDIA_TESLA_V100", 1), "", "", "no standard machine of Vertex AI has 20 cores"),
        (resources(1, 1, "NVIDIA_RIVA", 1), "", "", "Vertex AI trains on no NVIDIA_RIVA"),
        (
            resources(1, 1, "NVIDIA_TESLA_T4", 1),
            "e2-standard-4",
            "",
            "e2-standard-4 does not come with 1 × NVIDIA_TESLA_T4",
        ),
        (resources(1, 1, "NVIDIA_L4", 1), "n1-standard-4", "", "n1-standard-4 does not come with 1 × NVIDIA_L4"),
        (resources(1, 1, "NVIDIA_L4", 1), "g2-standard-24", "", "g2-standard-24 does not come with 1 × NVIDIA_L4"),
        (resources(1, 1, "TPU_V2", 5), "", "", "TPU_V2 does not come in 5"),
        (resources(1, 1, "TPU_V5_LITEPOD", 4), "", "", "needs a topology"),
        (resources(1, 1), "", "2x2", "tpu_topology is of TPUs only"),
    ],
)
def test_what_no_machine_has_is_refused(wanted: Resources, machine: str, topology: str, message: str) -> None:
    with pytest.raises(StepError) as refused:
        choose(wanted, machine, topology)
    assert message in refused.value.message
    assert refused.value.hint


def test_every_accelerator_that_is_offered_is_one_that_vertex_ai_has_a_name_for() -> None:
    for kind in machines.known():
        job = msgspec.structs.replace(JOB, pools=(Pool("m", 1, kind, 1),))
        assert schema_faults(vertex.create(PARENT, job)) == []


# ---------------------------------------------------------------------------------------------------- bodies


def schema_faults(call: Any) -> list[str]:
    body = schema.NOTHING if call.body is None else call.body
    return schema.faults_of_request(call.method, call.host, call.path, list(call.query.items()), body)


@pytest.mark.parametrize(
    "call",
    [
        vertex.create(PARENT, JOB),
        vertex.get(f"{PARENT}/customJobs/7"),
        vertex.cancel(f"{PARENT}/customJobs/7"),
        vertex.labelled(PARENT, "mawasu-key", "0a"),
        logging.listing("acme", {"resource.type": "ml_job"}, "2026-01-01T00:00:00Z"),
        logging.following(logging.listing("acme", {}), "next"),
    ],
)
def test_every_request_is_one_that_google_describes(call: Any) -> None:
    assert schema_faults(call) == []


def test_pools_keep_their_positions_when_one_is_left_out() -> None:
    job = msgspec.structs.replace(JOB, pools=(Pool("m"), None, Pool("p", 2), None))
    found = vertex.body(job)["jobSpec"]["workerPoolSpecs"]
    assert [pool.get("replicaCount") for pool in found] == ["1", None, "2"]
    assert found[1] == {}


def test_a_word_of_the_command_is_not_expanded() -> None:
    pool = vertex.body(JOB)["jobSpec"]["workerPoolSpecs"][0]
    assert pool["containerSpec"]["command"][2] == "print('$$(HOME)')"


def test_parameter_servers_have_no_accelerator_and_evaluators_have() -> None:
    wanted = resources(4, 8, "NVIDIA_L4", 1, workers=4)
    image = Image(digest_of(b"i"), JOB.image)
    job = JobSpec("a/b/1234567/train", "true", Source("", "", Tree({})), image, wanted)
    found = pools(job, GcpTraining(parameter_servers=2, evaluators=1), choose(wanted))
    assert [(pool.machine, pool.replicas, pool.accelerators) for pool in found if pool] == [
        ("g2-standard-4", 1, 1),
        ("g2-standard-4", 3, 1),
        ("e2-standard-4", 2, 0),
        ("g2-standard-4", 1, 1),
    ]


def test_labels_tell_feature_branch_commit_and_step() -> None:
    assert labels("callback/feature/x/1a2b3c4d5e/evaluate/champion")["mawasu-branch"].startswith("feature-x-x")
    assert labels("callback/main/dirty/train")["mawasu-commit"] == "dirty"
    assert labels("a job") == {"managed-by": "mawasu"}
    every = labels(f"callback/{'Ü' * 300}/1a2b3c4d5e/train")
    assert faults(labels=every) == []


# ---------------------------------------------------------------------------------------------------- lints


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pools": (Pool("m", 2),)}, "worker pool 0 has exactly one replica"),
        ({"pools": (None, Pool("m"))}, "worker pool 0 has exactly one replica"),
        ({"pools": ()}, "worker pool 0 has exactly one replica"),
        ({"pools": (Pool("m"),) * 5}, "there are four worker pools, not 5"),
        ({"pools": (Pool("m"), Pool("m", 0))}, "has no replica"),
        ({"pools": (Pool("m", 1, "NVIDIA_L4", 0),)}, "is no number of anything"),
        ({"pools": (Pool("m", 1, "", 2),)}, "is no number of anything"),
        ({"strategy": "FLEX_START"}, "flex-start is for L4, A100"),
        ({"wait": 60.0}, "how long to wait for machines can be said of flex-start only"),
        ({"strategy": "SPOT", "pools": (Pool("cloud-tpu", 1, "TPU_V2", 8),)}, "there are no spot machines"),
        ({"labels": {f"l{number}": "" for number in range(65)}}, "at most 64 labels, not 65"),
        ({"labels": {"k": "Upper"}}, "is not made of"),
        ({"labels": {"k": "x" * 64}}, "is not made of"),
        ({"image": "registry/x:latest"}, "is not named by its digest"),
        ({"disk": 10}, "at least 100 GB"),
    ],
)
def test_what_vertex_ai_would_refuse_is_found(changes: dict[str, Any], message: str) -> None:
    assert [fault for fault in faults(**changes) if message in fault]


def test_a_flex_start_job_runs_at_most_a_week_on_one_kind_of_machine() -> None:
    gpu = Pool("g2-standard-4", 1, "NVIDIA_L4", 1)
    assert faults(strategy="FLEX_START", pools=(gpu, gpu), wait=86400.0) == []
    assert faults(strategy="FLEX_START", pools=(gpu,), timeout=8 * 86400.0) == [
        "a flex-start job runs for at most 7 days"
    ]
    other = Pool("g2-standard-8", 1, "NVIDIA_L4", 1)
    assert faults(strategy="FLEX_START", pools=(gpu, other)) == [
        "flex-start wants the same machine in every worker pool"
    ]
    body = vertex.body(msgspec.structs.replace(JOB, strategy="FLEX_START", wait=86400.0))
    assert body["jobSpec"]["scheduling"]["maxWaitDuration"] == "86400s"


def test_a_job_without_faults_has_none() -> None:
    assert vertex.faults(JOB) == []


# ---------------------------------------------------------------------------------------------------- answers


def test_a_state_that_nobody_knows_yet_is_waiting() -> None:
    answer = {"name": f"{PARENT}/customJobs/7", "createTime": "2026-01-01T00:00:00.5Z", "state": "JOB_STATE_NOVEL"}
    assert vertex.seen(answer).state is State.WAITING
    assert vertex.seen(answer).id == "7"


@given(st.integers(0, 4 * 10**18))
def test_a_time_of_the_log_goes_to_nanoseconds_and_back(time: int) -> None:
    assert logging.instant(logging.written(time)) == time


def test_a_time_of_the_log_may_leave_out_its_last_zeros() -> None:
    assert logging.instant("2026-01-01T00:00:00.25Z") - logging.instant("2026-01-01T00:00:00Z") == 250_000_000


def test_a_value_in_a_filter_cannot_end_it() -> None:
    body = logging.listing("acme", {"a": 'x" OR "y\\'}).body
    assert body["filter"] == 'a="x\\" OR \\"y\\\\"'


def test_a_status_beyond_128_tells_a_signal() -> None:
    assert [joboutcome.signal_name(status) for status in (0, 1, 137, 143, 255)] == [
        None,
        None,
        "SIGKILL",
        "SIGTERM",
        None,
    ]


@pytest.mark.parametrize(
    ("told", "result", "message"),
    [
        (
            Told("memory", 137),
            Result.OUT_OF_MEMORY,
            "out of memory: train needs more than its 16384 MiB (e2-standard-4)",
        ),
        (Told("timeout", 137), Result.TIMED_OUT, "train was not done after 3600 s"),
        (Told("told", 143), Result.FAILED, "train: its machine was taken away"),
        (Told("exit", 137), Result.FAILED, "train was killed by SIGKILL"),
        (Told("exit", 2, last="so\nit is"), Result.FAILED, "train ended with status 2: so it is"),
        (Told("refused", 1, message="train wrote nothing"), Result.FAILED, "train wrote nothing"),
    ],
)
def test_the_job_itself_is_believed_before_vertex_ai(told: Told, result: Result, message: str) -> None:
    error = {"code": 3, "message": "The replica workerpool0-0 exited with a non-zero status of 1."}
    answer = {
        "name": f"{PARENT}/customJobs/7",
        "createTime": "2026-01-01T00:00:00Z",
        "startTime": "2026-01-01T00:01:00Z",
        "endTime": "2026-01-01T00:03:00Z",
        "state": "JOB_STATE_FAILED",
        "error": error,
    }
    cloud = Cloud("acme", "1", "europe-west1", "acme-mawasu")
    job = JobSpec("a/b/1234567/train", "true", Source("", "", Tree({})), Image(digest_of(b"i"), JOB.image), resources())
    chosen, seen = Chosen("e2-standard-4", 16 * GIB), vertex.seen(answer)
    fault = joboutcome.fault_of(job, cloud, chosen, seen, told)
    assert fault is not None
    assert fault[:2] == (result, message)
    facts = joboutcome.facts_of(job, cloud, chosen, seen, told, found=False)
    assert (facts["seconds_queued"], facts["seconds_running"]) == (60, 120)
