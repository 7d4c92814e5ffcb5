"""The plan of a push: which steps run, which are reused, and why. All pure: no git, no files."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mawasu.plan import Champion, Gate, Known, Plan, Reuse, plan
from mawasu.spec.feature import (
    Api,
    Auth,
    DataSet,
    DataSource,
    Environment,
    Evaluation,
    Feature,
    Training,
)
from mawasu.words import Digest, File, Outcome, Result, Tree

FEATURE = Feature(
    name="callback",
    environments=(Environment(name="production", branch="production"),),
    data=(DataSet(name="resumes", source=DataSource(files=("data/*.csv",)), label="called", row="id"),),
    training=Training(
        paths=("training/**",), command="python training/train.py", lock="training/uv.lock", data=("resumes",)
    ),
    evaluation=Evaluation(
        paths=("training/**",), command="python training/predict.py", data="resumes", metric="roc_auc"
    ),
    api=Api(paths=("api/**",), lock="api/uv.lock", handler="api.handler:predict", examples="api/examples.yaml"),
    auth=Auth(paths=("auth/**",), openapi="auth/openapi.yaml"),
)
FILES = (
    "README.md",
    "data/resumes.csv",
    "training/train.py",
    "training/predict.py",
    "training/uv.lock",
    "training/pyproject.toml",
    "api/handler.py",
    "api/uv.lock",
    "api/pyproject.toml",
    "api/examples.yaml",
    "auth/openapi.yaml",
    "mawasu.yaml",
)
SNAPSHOT = Digest("sha256:" + "5" * 64)
MACHINE = Known("x86_64", "3.11.7", snapshots={"resumes": SNAPSHOT})


def tree(**changed: str) -> Tree:
    """A commit's tree; `changed` names contents by path with `/` and `.` written as `__` and `_dot_`."""
    contents = dict.fromkeys(FILES, "0" * 40)
    contents |= {path.replace("__", "/").replace("_dot_", "."): oid for path, oid in changed.items()}
    return Tree({path: File("100644", oid) for path, oid in contents.items()})


def finished(*plans: Plan, known: Known = MACHINE) -> Known:
    """What is known once every step of these plans (builds 1, 2, …) has ended well and the last one serves."""
    done = {
        step.key: Reuse(number, Outcome(Result.OK))
        for number, one in reversed(list(enumerate(plans, 1)))
        for step in one.steps
        if step.runs
    }
    last = plans[-1]
    previous = {step.name: step.inputs for step in last.steps}
    served = frozenset(one.release for one in plans if one.release is not None)
    return replace(known, done=done, previous=previous, served=last.release, served_before=served)


def champion(of: Plan, at: Tree, feature: Feature = FEATURE) -> Champion:
    step = of.step("train")
    assert step is not None
    assert of.release is not None
    return Champion(of.release, 1, feature, at, step.key)


def running(found: Plan) -> list[str]:
    return [step.name for step in found.steps if step.runs]


FIRST = plan(FEATURE, tree(), "production", MACHINE)
AFTER_FIRST = replace(finished(FIRST), champion=champion(FIRST, tree()))


def test_a_first_push_goes_the_whole_way_in_order() -> None:
    assert running(FIRST) == [
        "data/resumes",
        "image/training",
        "train",
        "image/api",
        "evaluate",
        "judge",
        "register",
        "start",
        "examples",
        "contract",
        "grant",
        "switch",
    ]
    assert FIRST.gate is Gate.FIRST
    assert all(step.why == "runs for the first time" for step in FIRST.steps[:6])


def test_a_push_that_touches_only_docs_plans_nothing() -> None:
    found = plan(FEATURE, tree(README_dot_md="1" * 40), "production", AFTER_FIRST)
    assert found.nothing
    assert found.lines() == ["nothing to do: nothing that this feature reads has changed"]


def test_a_push_that_touches_only_the_api_does_not_train() -> None:
    found = plan(FEATURE, tree(api__handler_dot_py="1" * 40), "production", AFTER_FIRST)
    assert running(found) == ["register", "start", "examples", "contract", "grant", "switch", "drain"]
    assert found.step("judge") is None
    assert found.gate is Gate.SAME
    train = found.step("train")
    assert train is not None
    assert train.why == "reused from build 1"


def test_a_push_that_touches_training_trains_and_deploys_the_api_with_the_new_model() -> None:
    found = plan(FEATURE, tree(training__train_dot_py="1" * 40), "production", AFTER_FIRST)
    assert found.gate is Gate.COMPARE
    assert {"train", "evaluate", "judge", "start", "switch", "drain"} <= set(running(found))
    assert not {"data/resumes", "image/training", "image/api", "evaluate/champion"} & set(running(found))
    train = found.step("train")
    assert train is not None
    assert train.why == "runs because training/train.py changed"
    assert found.release != FIRST.release


def test_the_champion_is_scored_again_when_the_rows_are_others() -> None:
    other = replace(AFTER_FIRST, snapshots={"resumes": Digest("sha256:" + "6" * 64)})
    found = plan(FEATURE, tree(), "production", other)
    assert {"data/resumes", "train", "evaluate", "evaluate/champion", "judge"} <= set(running(found))
    train = found.step("train")
    assert train is not None
    assert train.why == "runs because data/resumes is another one"


def test_a_lock_that_changed_makes_the_image_and_what_runs_in_it() -> None:
    found = plan(FEATURE, tree(training__uv_dot_lock="1" * 40), "production", AFTER_FIRST)
    assert {"image/training", "train", "evaluate"} <= set(running(found))
    assert "image/api" not in running(found)


def test_a_key_knows_neither_branch_nor_environment() -> None:
    elsewhere = plan(FEATURE, tree(), "preview-try", MACHINE, preview=True)
    ours = {step.name: step.key for step in FIRST.steps if step.kind.pure}
    assert {name: step.key for name in ours if (step := elsewhere.step(name))} == ours
    assert elsewhere.release == FIRST.release


def test_merging_a_branch_promotes_what_was_judged_on_it() -> None:
    at = tree(training__train_dot_py="1" * 40)
    preview = plan(FEATURE, at, "preview-try", replace(AFTER_FIRST, served=None, served_before=frozenset()))
    known = replace(finished(FIRST, preview), served=FIRST.release, champion=AFTER_FIRST.champion)
    merged = plan(FEATURE, at, "production", replace(known, served_before=frozenset()))
    assert [step.name for step in merged.steps if step.runs and step.kind.pure] == []
    train = merged.step("train")
    assert train is not None
    assert train.reused == 2


def test_a_release_that_was_served_before_is_not_judged_again() -> None:
    worse = tree(training__train_dot_py="1" * 40)
    second = plan(FEATURE, worse, "production", AFTER_FIRST)
    known = replace(finished(FIRST, second), champion=champion(second, worse))
    reverted = plan(FEATURE, tree(), "production", known)
    assert reverted.gate is Gate.SERVED
    assert reverted.release == FIRST.release
    assert running(reverted) == ["register", "start", "examples", "contract", "grant", "switch", "drain"]


def test_a_step_that_no_build_finished_runs_again_and_says_so() -> None:
    done = {key: reuse for key, reuse in AFTER_FIRST.done.items() if key != FIRST.steps[2].key}
    found = plan(FEATURE, tree(), "production", replace(AFTER_FIRST, done=done))
    train = found.step("train")
    assert train is not None
    assert train.runs
    assert train.why == "runs because no earlier build finished it"


def test_what_a_step_does_not_declare_does_not_run_it() -> None:
    before = plan(FEATURE, tree(), "production", MACHINE)
    after = plan(FEATURE, tree(notes__idea_dot_txt="1" * 40), "production", MACHINE)
    assert [step.key for step in before.steps] == [step.key for step in after.steps]


def test_without_an_environment_the_plan_ends_at_the_verdict() -> None:
    found = plan(FEATURE, tree(), "", MACHINE)
    assert running(found)[-1] == "judge"
    assert not found.switches


def test_a_feature_without_an_api_ends_at_the_verdict_and_then_has_nothing_to_do() -> None:
    feature = msgspec.structs.replace(FEATURE, api=None, auth=None)
    found = plan(feature, tree(), "production", MACHINE)
    assert running(found)[-1] == "judge"
    assert plan(feature, tree(), "production", finished(found)).nothing


def test_whether_the_document_is_shown_is_part_of_the_release_once_it_is_said() -> None:
    assert FEATURE.auth is not None
    feature = msgspec.structs.replace(FEATURE, auth=msgspec.structs.replace(FEATURE.auth, docs=True))
    assert running(plan(feature, tree(), "production", AFTER_FIRST))[-1] == "drain"
    assert plan(FEATURE, tree(), "production", AFTER_FIRST).nothing


@pytest.mark.parametrize(
    ("field", "value"),
    [("command", "python training/other.py"), ("params", {"depth": 3}), ("seed", 1)],
)
def test_what_mawasu_yaml_says_of_training_is_part_of_its_key(field: str, value: object) -> None:
    assert FEATURE.training is not None
    feature = msgspec.structs.replace(FEATURE, training=msgspec.structs.replace(FEATURE.training, **{field: value}))
    found = plan(feature, tree(), "production", AFTER_FIRST)
    train = found.step("train")
    assert train is not None
    assert train.runs
    assert "training." in train.why


@given(st.dictionaries(st.sampled_from(FILES), st.sampled_from(["1" * 40, "2" * 40])))
def test_a_step_runs_exactly_when_something_it_declares_changed(changed: dict[str, str]) -> None:
    at = Tree({**tree().files, **{path: File("100644", oid) for path, oid in changed.items()}})
    found = plan(FEATURE, at, "production", AFTER_FIRST)
    train = found.step("train")
    assert train is not None
    assert train.runs == any(path.startswith("training/") for path in changed)
    assert found.nothing == (not any(path.startswith(("training/", "api/", "auth/")) for path in changed))
