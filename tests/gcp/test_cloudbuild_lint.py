"""Lints: what Cloud Build refuses, or takes and does not do."""

from __future__ import annotations

from typing import Any

import pytest

from mawasu.platforms.gcp.cloudbuild import MACHINES, lint
from tests.google.double.documents import document

ACCOUNT = "projects/acme/serviceAccounts/mawasu-build@acme.iam.gserviceaccount.com"
GOOD: dict[str, Any] = {
    "steps": [
        {
            "id": "mawasu",
            "name": "europe-west1-docker.pkg.dev/acme/mawasu/mawasu@sha256:" + "0" * 64,
            "args": ["build", "--commit", "$COMMIT_SHA", "--branch", "${BRANCH_NAME}", "$$HOME"],
            "env": ["FEATURE=$_FEATURE"],
        }
    ],
    "substitutions": {"_FEATURE": "callback"},
    "serviceAccount": ACCOUNT,
    "options": {"logging": "CLOUD_LOGGING_ONLY", "machineType": "E2_HIGHCPU_8"},
    "timeout": "86400s",
    "tags": ["mawasu", "callback"],
}


def test_a_right_build_has_no_faults() -> None:
    assert lint(GOOD) == []


STEP: dict[str, Any] = {"name": "debian"}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"options": {}}, "options.logging: a build with a serviceAccount says where its logs go"),
        ({"options": {"logging": "GCS_ONLY"}}, "options.logging:"),
        ({"serviceAccount": "mawasu-build@acme.iam.gserviceaccount.com"}, "serviceAccount:"),
        ({"substitutions": {}}, "steps[0].env[0]: $_FEATURE is neither built in nor in substitutions"),
        ({"substitutions": {"_FEATURE": "a", "_FAETURE": "a"}}, "substitutions._FAETURE: nothing uses it"),
        (
            {"substitutions": {"_FEATURE": "a", "feature": "a"}, "tags": ["x$feature"]},
            "substitutions: 'feature' is not `_`",
        ),
        ({"steps": [STEP | {"args": ["$HOME", "$_FEATURE"]}]}, "steps[0].args[0]: $HOME is neither built in"),
        ({"steps": [STEP | {"id": "a"}, STEP | {"id": "a", "dir": "$_FEATURE"}]}, "steps[1].id: 'a' is taken"),
        ({"steps": [STEP | {"waitFor": ["b"], "dir": "$_FEATURE"}]}, "steps[0].waitFor: no step before it"),
        ({"steps": [STEP | {"script": "x", "args": ["$_FEATURE"]}]}, "steps[0]: a script has neither args"),
        ({"steps": [], "logsBucket": "$_FEATURE"}, "steps: a build has 1 to 300 steps"),
        ({"steps": [{"name": "De bian", "dir": "$_FEATURE"}]}, "steps[0].name: 'De bian' is no name of an image"),
        ({"steps": [STEP | {"env": ["$_FEATURE"]}]}, "steps[0].env: '$_FEATURE' is not NAME=VALUE"),
        ({"tags": ["a b"]}, "tags: 'a b'"),
        ({"images": ["Acme/x y"]}, "images: 'Acme/x y'"),
        ({"timeout": "86401s"}, "timeout: 86401s is not between"),
        ({"queueTtl": "1h"}, "queueTtl: '1h' is not a number of seconds"),
        ({"options": {"logging": "NONE", "machineType": "E2_HIGHCPU_9"}}, "options.machineType: 'E2_HIGHCPU_9'"),
    ],
)
def test_a_fault_is_found_alone_and_with_its_place(change: dict[str, Any], fault: str) -> None:
    (found,) = lint(GOOD | change)
    assert found.startswith(fault)


def test_what_only_triggers_know_is_a_fault_elsewhere() -> None:
    found = lint(GOOD, triggered=False)
    assert [one.partition(": ")[2].partition(" ")[0] for one in found] == ["$COMMIT_SHA", "$BRANCH_NAME"]


def test_a_script_sees_substitutions_only_where_they_are_mapped_to_variables() -> None:
    build = GOOD | {"steps": [STEP | {"script": "echo $_FEATURE $HOME"}]}
    assert lint(build) == ["substitutions._FEATURE: nothing uses it"]
    assert lint(build | {"options": {**GOOD["options"], "automapSubstitutions": True}}) == []


def test_the_machine_types_are_those_that_google_publishes() -> None:
    published = document("cloudbuild", "v1")["schemas"]["BuildOptions"]["properties"]["machineType"]["enum"]
    assert set(published) - {"UNSPECIFIED"} == MACHINES
