"""Cloud Run's requests as values: traffic, who may call, and what it would refuse."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mawasu.google import run
from mawasu.google.run import Condition, Container, Files, Probe, Share, Template
from mawasu.google.run_limits import GIB, MIB, faults, size, traffic_faults

SERVER = Container("server", "mawasu@sha256:1", ("python",), "1", "512Mi", mounts={"run": "/run"}, port=8080)
WORKER = Container("worker", "late@sha256:2", ("python",), "2", "6144Mi", mounts={"run": "/run", "files": "/files"})
TEMPLATE = Template(
    "late--production-0123456789",
    "mawasu-api@acme.iam.gserviceaccount.com",
    (SERVER, WORKER),
    files={"files": Files("acme-mawasu", "services/late--production/late--production-0123456789")},
    scratch={"run": "16Mi"},
)


def but(**fields: Any) -> Template:
    return msgspec.structs.replace(TEMPLATE, **fields)


def worker(**fields: Any) -> Template:
    return but(containers=(SERVER, msgspec.structs.replace(WORKER, **fields)))


# ------------------------------------------------------------------------------------------------ what is refused


def test_a_template_that_cloud_run_takes_has_no_faults() -> None:
    assert faults(TEMPLATE) == ()


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        (but(revision="Late_1"), "is no name of a revision"),
        (but(revision="a" * 64), "is no name of a revision"),
        (but(containers=(WORKER,)), "0 containers take requests, and it must be exactly one"),
        (worker(port=8081), "2 containers take requests, and it must be exactly one"),
        (worker(name="server"), "are not different names"),
        (worker(cpu="3"), "3 cores are none of 1, 2, 4, 6, 8"),
        (worker(cpu="1", memory="5Gi"), "5Gi with 1 cores: it must be 512Mi to 4Gi"),
        (worker(cpu="4", memory="1Gi"), "1Gi with 4 cores: it must be 2048Mi to 16Gi"),
        (worker(cpu="0.5"), "less than one core (0.5) answers one request at a time, not 80"),
        (worker(cpu="8", memory="8Gi"), "9 cores and 8.5 GiB together: an instance has at most 8 cores and 32 GiB"),
        (worker(mounts={"modle": "/files"}), "there is no volume modle"),
        (worker(environ={"K_SERVICE": "x"}), "keeps the variable K_SERVICE to itself"),
        (worker(environ={"A": "x"}, secrets={"A": "y"}), "A is a variable and a secret"),
        (worker(startup=Probe("/", period=10, failures=25)), "250 seconds to start, more than 240"),
        (worker(alive=Probe("/", period=1, failures=3, timeout=2)), "a probe may take longer than its period"),
        (but(concurrency=1001), "concurrency 1001 is not from 1 to 1000"),
        (but(timeout=0), "a timeout of 0 seconds is not from 1 to 3600"),
        (but(most=0), "at most 0 instances"),
        (but(subnet="south"), "a subnet without its network"),
    ],
)
def test_what_cloud_run_would_refuse_is_named(template: Template, fault: str) -> None:
    assert fault in "; ".join(faults(template))


@given(cpu=st.floats(0.1, 12), memory=st.integers(1, 40 * GIB))
def test_a_size_has_what_was_asked_and_cloud_run_takes_it(cpu: float, memory: int) -> None:
    found = size(cpu, memory)
    if found is None:
        assert cpu > 8 or memory > 32 * GIB
        return
    assert int(found[0]) >= cpu
    assert int(found[1].removesuffix("Mi")) * MIB >= memory
    alone = but(containers=(msgspec.structs.replace(SERVER, cpu=found[0], memory=found[1]),))
    assert faults(alone) == ()


def test_memory_beyond_four_gibibytes_takes_a_second_core() -> None:
    assert size(1, 4 * GIB) == ("1", "4096Mi")
    assert size(1, 4 * GIB + 1) == ("2", "4097Mi")
    assert size(3, GIB) == ("4", "2048Mi")
    assert size(0.25, 100 * MIB) == ("1", "512Mi")


# ------------------------------------------------------------------------------------------------ traffic


@pytest.mark.parametrize(
    ("shares", "fault"),
    [
        ((), "0 % together, not 100"),
        ((Share("a", 60), Share("b", 30)), "90 % together, not 100"),
        ((Share("a", 110), Share("b", -10)), "is not from 0 to 100 %"),
        ((Share("a", 100, "t"), Share("b", 0, "t")), "the tag t stands for two revisions"),
        ((Share("a", 100, "T!"),), "T! is no tag"),
    ],
)
def test_traffic_that_cannot_be_is_named(shares: tuple[Share, ...], fault: str) -> None:
    assert fault in "; ".join(traffic_faults(shares))


REVISIONS = st.sampled_from("abcde")
STEPS = st.lists(st.tuples(st.sampled_from(["try", "promote", "stop"]), REVISIONS), max_size=30)


@given(STEPS)
def test_whatever_comes_and_goes_traffic_is_whole_and_stays_with_who_was_promoted(
    steps: list[tuple[str, str]],
) -> None:
    shares: tuple[Share, ...] = (Share("a", 100, "ra"),)
    promoted = ""
    for step, revision in steps:
        if step == "try":
            shares = run.tried(shares, revision, f"r{revision}", promoted)
            assert [one.tag for one in shares if one.revision == revision and one.tag] == [f"r{revision}"]
        elif step == "promote":
            shares, promoted = run.promoted(shares, revision, f"r{revision}"), revision
        else:
            shares = run.untagged(shares, revision)
        assert traffic_faults(shares) == ()
        if promoted:
            assert [one.revision for one in shares if one.percent] == [promoted]


def test_traffic_that_a_hand_sent_to_the_latest_revision_is_pinned_where_it_goes() -> None:
    answer = {
        "latestReadyRevision": "projects/p/locations/r/services/s/revisions/s-7",
        "traffic": [{"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "percent": 100}],
    }
    shares = run.shares_of(answer)
    assert shares == (Share("s-7", 100),)
    assert run.tried(shares, "s-8", "r8", "s-7") == (Share("s-7", 100), Share("s-8", 0, "r8"))


def test_a_split_made_by_hand_is_kept_until_the_next_promotion() -> None:
    split = (Share("a", 70), Share("b", 30, "rb"))
    assert run.tried(split, "c", "rc", "a") == (*split, Share("c", 0, "rc"))
    assert run.tried(split, "a", "ra", "a") == (Share("a", 70, "ra"), Share("b", 30, "rb"))
    assert run.promoted(split, "c", "rc") == (Share("c", 100, "rc"), Share("b", 0, "rb"))


# ------------------------------------------------------------------------------------------------ answers and bodies


def test_the_url_of_a_tag_is_googles_word_or_follows_from_the_services() -> None:
    assert run.url_of({"trafficStatuses": [{"tag": "r1", "uri": "https://r1.example"}]}, "r1") == "https://r1.example"
    assert run.url_of({"uri": "https://late-abc-ew.a.run.app"}, "r1") == "https://r1---late-abc-ew.a.run.app"
    assert run.url_of({}, "r1") == ""


def test_conditions_say_how_far_a_revision_is() -> None:
    failed = {"type": "Ready", "state": "CONDITION_FAILED", "message": "no", "reason": "CONTAINER_MISSING"}
    active = {"type": "Active", "state": "CONDITION_SUCCEEDED"}
    assert run.ready({"conditions": [active, failed]}) == Condition("FAILED", "no", "CONTAINER_MISSING")
    assert run.ready({"terminalCondition": {"state": "CONDITION_RECONCILING"}}) == Condition("RECONCILING")
    assert run.ready({}) == Condition("")


def test_a_policy_that_says_so_already_is_not_set_again() -> None:
    policy = {"etag": "e", "bindings": [{"role": run.INVOKER, "members": ["serviceAccount:g@x.y"]}]}
    assert run.callable_by(policy, {"serviceAccount:g@x.y"}) is None
    changed = run.callable_by(policy, {"serviceAccount:h@x.y"})
    assert changed is not None
    assert (changed["etag"], run.callers(changed)) == ("e", {"serviceAccount:h@x.y"})


def test_a_secret_without_a_version_is_refused() -> None:
    with pytest.raises(ValueError, match="is no version of a secret"):
        run.template_body(worker(secrets={"TOKEN": "projects/p/secrets/s"}))


def test_what_containers_printed_is_in_order_and_without_our_own() -> None:
    entries: list[dict[str, Any]] = [
        {"textPayload": "third", "labels": {"container_name": "worker"}},
        {"jsonPayload": {"message": "first\nsecond"}},
        {"textPayload": "ours", "labels": {"container_name": "server"}},
        {"httpRequest": {}},
    ]
    assert run.lines_of(entries, without="server") == ["first", "second", "third"]
