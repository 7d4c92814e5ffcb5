from __future__ import annotations

from pathlib import Path

import pytest

from mawasu.errors import SpecError
from mawasu.spec import complete, feature_name, load, parse
from mawasu.spec.feature import Environment, Holdout, Limits, Scale
from tests.spec.texts import EXAMPLES, GOOD, changed

MINIMAL = (EXAMPLES / "minimal.yaml").read_text()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_example_of_the_manual_loads(path: Path) -> None:
    assert load(path.read_text(), file=path.name).name


def test_without_environments_there_is_github_flow() -> None:
    assert load(MINIMAL).environments == (
        Environment(name="production", branch="production"),
        Environment(name="staging", branch="main"),
        Environment(name="preview", branch="**", expires=7 * 86400.0, preview=True),
    )


def test_a_glob_over_slashes_that_expires_is_the_class_of_previews() -> None:
    text = changed("  preview: {expires: 7d}", "  try: {branch: try/**, expires: 12h}")
    assert load(text).environments[1] == Environment(name="try", branch="try/**", expires=43200.0, preview=True)


def test_units_become_numbers() -> None:
    training = load(GOOD).training
    assert training is not None
    assert training.resources == Limits(cpu=2.0, memory=4 * 2**30)
    assert training.timeout == 3600.0


def test_evaluation_takes_the_paths_of_training_and_the_only_holdout() -> None:
    evaluation = load(GOOD).evaluation
    assert evaluation is not None
    assert evaluation.paths == ("training/**",)
    assert evaluation.data == "resumes"
    assert evaluation.gate.first == {"roc_auc": ">= 0.55"}


def test_a_bound_has_one_spelling() -> None:
    evaluation = load(changed('">= 0.55"', '" >=0.55 "')).evaluation
    assert evaluation is not None
    assert evaluation.gate.first == {"roc_auc": ">= 0.55"}


def test_a_holdout_is_by_value_or_by_hashed_key() -> None:
    assert load(GOOD).data[0].holdout == Holdout(column="month", among=(11,))
    text = changed("{column: month, in: [11]}", "{fraction: 0.25}")
    assert load(text).data[0].holdout == Holdout(fraction=0.25, key="id")


def test_one_file_stands_for_a_list_of_it() -> None:
    assert load(GOOD).data[0].source.files == ("data/*.csv",)
    assert load(changed("data/*.csv", "[a, b/]")).data[0].source.files == ("a", "b/")


@pytest.mark.parametrize(("said", "scale"), [("{}", Scale(min=0, max=4)), ("{min: 7}", Scale(min=7, max=7))])
def test_replicas_may_be_four_or_as_many_as_there_always_are(said: str, scale: Scale) -> None:
    api = load(changed("{min: 1}", said)).api
    assert api is not None
    assert api.scale == scale


def test_the_openapi_file_always_belongs_to_auth() -> None:
    auth = load(GOOD).auth
    assert auth is not None
    assert auth.paths == ("auth/openapi.yaml",)
    auth = load(GOOD + "  paths: [auth]\n").auth
    assert auth is not None
    assert auth.paths == ("auth",)
    auth = load(GOOD + "  paths: [other]\n").auth
    assert auth is not None
    assert auth.paths == ("other", "auth/openapi.yaml")


def test_the_root_is_the_directory_of_the_file() -> None:
    assert load(MINIMAL, root="models/churn/").root == "models/churn"


def test_loading_twice_gives_equal_features() -> None:
    assert load(GOOD) == load(GOOD)


def test_what_has_faults_cannot_be_completed() -> None:
    with pytest.raises(SpecError, match="no_such"):
        complete(parse("feature: a\nno_such: 1\n"))
    with pytest.raises(SpecError, match="is empty"):
        complete(parse(""))


def test_the_name_is_found_though_the_rest_is_no_yaml() -> None:
    assert feature_name(GOOD) == "callback"
    assert feature_name("# c\nfeature: 'a-b'  # x\n\t: [") == "a-b"
    assert feature_name('\ufefffeature: "x"') == "x"
    assert feature_name("feature: Not A Name") is None
    assert feature_name("feature: ../x") is None
    assert feature_name("training:\n  feature: x") is None
    assert feature_name("") is None
