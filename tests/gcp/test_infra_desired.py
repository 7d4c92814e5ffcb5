"""What a project should hold: decided without a project."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mawasu.errors import SpecError, UsageError
from mawasu.platforms.gcp import names
from mawasu.platforms.gcp.cloudbuild import lint, re2_fault
from mawasu.platforms.gcp.infra import grants
from mawasu.platforms.gcp.infra.costs import NOTHING, idle_costs
from mawasu.platforms.gcp.infra.desired import desired, repository_of
from mawasu.platforms.gcp.infra.settings import agree
from mawasu.platforms.gcp.infra.triggers import included_files, push_filter
from mawasu.platforms.gcp.infra.words import Facts, Resource, Wanted
from mawasu.platforms.gcp.names import Cloud
from mawasu.spec.environments import environment_of
from mawasu.spec.feature import DataSet, DataSource
from tests.gcp.infra_world import GCP, RUNNER, wanted

CLOUD = Cloud("acme-ml", "123456789012", "europe-west1", "acme-ml-mawasu", RUNNER)


def all_of(*features: Wanted, connected: bool = True, secrets: frozenset[str] = frozenset()) -> dict[str, Resource]:
    chosen = features or (wanted(),)
    scope = agree(chosen)
    facts = Facts(
        "123456789012", connected=connected, repository=repository_of(scope) if connected else "", secrets=secrets
    )
    return {one.id: one for one in desired(chosen, scope, CLOUD, facts)}


def roles() -> list[tuple[str, str, str]]:
    """(policy, member, role) of everything that is granted."""
    return [
        (one.name, grant.member.partition(":")[2].partition("@")[0], grant.role)
        for one in all_of(wanted(gcp=GCP.replace("}", ", redis: 1Gi}"))).values()
        if one.kind == "policy"
        for grant in grants.of(one, CLOUD)
    ]


# ------------------------------------------------------------------------------------------------ settings


def test_without_a_gcp_section_the_error_shows_the_line_to_add() -> None:
    bare = wanted()
    bare = msgspec.structs.replace(bare, feature=msgspec.structs.replace(bare.feature, gcp=None))
    with pytest.raises(UsageError) as error:
        agree([bare])
    assert "gcp: {project:" in error.value.hint


def test_features_that_name_different_projects_are_told_with_both_files() -> None:
    other = wanted("other", "{project: acme-two, region: europe-west1, github: acme/resumes}", root="other")
    with pytest.raises(SpecError) as error:
        agree([wanted(), other])
    assert "other/mawasu.yaml: gcp.project is acme-two, in mawasu.yaml it is acme-ml" in str(error.value)
    assert "gcp.bucket is acme-two-mawasu" in str(error.value)


# ------------------------------------------------------------------------------------------------ who may do what


def test_nobody_gets_a_basic_role_or_power_over_who_may_do_what() -> None:
    given_ = {role for _, _, role in roles()}
    assert not given_ & {"roles/owner", "roles/editor", "roles/viewer", "roles/resourcemanager.projectIamAdmin"}
    assert not given_ & {"roles/storage.admin", "roles/iam.serviceAccountAdmin", "roles/iam.securityAdmin"}


def test_builds_write_to_github_only_where_new_data_is_committed() -> None:
    plain = wanted()
    source = DataSet(name="late", source=DataSource(path="gs://acme-data/late"), refresh=86400.0)
    fed = msgspec.structs.replace(plain, feature=msgspec.structs.replace(plain.feature, data=(source,)))
    for chosen, role in ((plain, "readTokenAccessor"), (fed, "tokenAccessor")):
        given_ = grants.of(all_of(chosen)["policy connection/github"], CLOUD)
        assert {one.member for one in given_} == {grants.member(CLOUD, "build")}
        assert {one.role for one in given_} == {"roles/cloudbuild.connectionViewer", f"roles/cloudbuild.{role}"}


def test_code_of_users_runs_as_accounts_that_change_nothing_of_the_project() -> None:
    project = {(who, role) for where, who, role in roles() if where.startswith("project/")}
    for who in ("mawasu-images", "mawasu-training", "mawasu-api"):
        assert {role for one, role in project if one == who} <= {"roles/logging.logWriter"}
    assert {who for where, who, _ in roles() if where.startswith("account/")} == {"mawasu-build"}


@pytest.mark.parametrize(
    ("what", "bucket", "role"),
    [
        ("images", "sources", "roles/storage.objectViewer"),
        ("training", "jobs", "roles/storage.objectUser"),
        ("training-preview", "jobs-preview", "roles/storage.objectUser"),
        ("api", "services", "roles/storage.objectViewer"),
        ("api-preview", "services-preview", "roles/storage.objectViewer"),
    ],
)
def test_code_of_users_reaches_one_bucket_alone(what: str, bucket: str, role: str) -> None:
    policies = {name: grants.of(one, CLOUD) for name, one in all_of().items() if name.startswith("policy bucket/")}
    who = grants.member(CLOUD, what)
    found = {(name, one.role) for name, given in policies.items() for one in given if one.member == who}
    assert found == {(f"policy bucket/acme-ml-mawasu-{bucket}", role)}


def test_builds_alone_reach_the_records_and_everybody_reads_published_keys_alone() -> None:
    policies = {name: grants.of(one, CLOUD) for name, one in all_of().items() if name.startswith("policy bucket/")}
    assert {one.member for one in policies["policy bucket/acme-ml-mawasu"]} == {grants.member(CLOUD, "build")}
    public = [name for name, given in policies.items() if any(one.member == "allUsers" for one in given)]
    assert public == ["policy bucket/acme-ml-mawasu-keys"]
    open_ = [
        one.name
        for one in all_of().values()
        if one.kind == "bucket" and one.body["iamConfiguration"]["publicAccessPrevention"] != "enforced"
    ]
    assert open_ == ["acme-ml-mawasu-keys"]


def test_secrets_of_previews_are_read_by_code_of_previews_alone() -> None:
    """And those of production by code of stable environments alone."""
    for name, one in all_of().items():
        if name.startswith("policy secret/"):
            readers = {grant.member.partition("@")[0].rpartition("mawasu-")[2] for grant in grants.of(one, CLOUD)}
            assert all(who.endswith("-preview") == ("-preview-" in name) for who in readers), (name, readers)


def test_a_build_manages_secrets_and_never_reads_a_value() -> None:
    found = grants.of(all_of()["policy project/acme-ml"], CLOUD)
    condition = next(one.expression for one in found if one.role == "roles/secretmanager.admin")
    assert "secretmanager.googleapis.com/Secret'" in condition
    assert "SecretVersion" not in condition  # values are asked of versions: neither side of the condition holds
    assert "projects/123456789012/secrets/mawasu-" in condition
    assert not any(who == "mawasu-build" and role.endswith("secretAccessor") for _, who, role in roles())


def test_grants_survive_being_written_as_a_body() -> None:
    for one in all_of().values():
        if one.kind == "policy":
            assert grants.body_of(grants.of(one, CLOUD)) == one.body


# ------------------------------------------------------------------------------------------------ secrets


def test_a_secret_is_read_only_by_the_step_that_declares_it() -> None:
    found = all_of()
    readers = {
        one.name: {grant.member.partition("@")[0].rpartition("-")[2] for grant in grants.of(one, CLOUD)}
        for one in found.values()
        if one.name.startswith("secret/")
    }
    assert readers["secret/mawasu-callback--production--HUB_TOKEN"] == {"training"}
    assert readers["secret/mawasu-callback--staging--MAPS_TOKEN"] == {"api"}


def test_previews_get_a_secret_only_when_somebody_made_one() -> None:
    name = "mawasu-callback--preview--MAPS_TOKEN"
    assert not any("preview" in one for one in all_of() if "secret" in one)
    found = all_of(secrets=frozenset({name}))
    assert f"policy secret/{name}" in found
    assert f"secret {name}" not in found  # it is not mawasu's


def test_previews_read_secrets_of_previews_whatever_the_file_calls_them() -> None:
    one = wanted()
    called = (
        msgspec.structs.replace(each, name="trial") if each.preview else each for each in one.feature.environments
    )
    one = msgspec.structs.replace(one, feature=msgspec.structs.replace(one.feature, environments=tuple(called)))
    name = names.secret("callback", "preview-some-branch", "MAPS_TOKEN")
    (grant,) = grants.of(all_of(one, secrets=frozenset({name}))[f"policy secret/{name}"], CLOUD)
    assert grant.member == grants.member(CLOUD, "api-preview")


def test_nothing_is_public_where_google_keeps_the_keys() -> None:
    found = all_of(wanted(gcp=GCP.replace("}", ", gateway: {keys: google}}")))
    assert "bucket acme-ml-mawasu-jobs" in found
    assert not any("keys" in name or grants.EVERYBODY in str(one.body) for name, one in found.items())


# ------------------------------------------------------------------------------------------------ triggers


def test_there_is_a_trigger_for_every_environment_once_github_is_connected() -> None:
    found = {one.name for one in all_of().values() if one.kind == "trigger"}
    assert found == {f"mawasu-callback--{name}" for name in ("production", "staging", "preview")}
    assert not any(one.kind in ("trigger", "link") for one in all_of(connected=False).values())


def test_the_build_of_a_trigger_passes_the_lints_and_takes_nothing_from_the_push() -> None:
    features = [wanted(), wanted("second", root="features/second", least=2), wanted("a" * 39, root="$x/y")]
    for one in all_of(*features).values():
        if one.kind == "trigger":
            build = {**one.body["build"], "serviceAccount": one.body["serviceAccount"]}
            assert lint(build) == []
            assert not {"filename", "gitFileSource", "autodetect"} & one.body.keys()
            assert build["steps"][0]["name"] == RUNNER
            assert build["steps"][0]["args"][-2] == "--feature"


def test_a_trigger_fires_for_everything_that_the_feature_reads() -> None:
    files = included_files(wanted(root="features/callback").feature)
    code = ["training/**", "training/uv.lock", "training/pyproject.toml", "api/**", "api/requirements.txt"]
    for read in ["mawasu.yaml", "data.lock", "data/resumes.csv", *code, "api/examples.yaml", "auth/openapi.yaml"]:
        assert f"features/callback/{read}" in files


BRANCHES = st.from_regex(r"[a-z]{1,5}(/[a-z]{1,5}){0,2}", fullmatch=True) | st.sampled_from(["main", "production"])


@settings(max_examples=200, deadline=None)
@given(BRANCHES)
def test_exactly_one_trigger_takes_a_branch_and_it_is_the_one_of_its_environment(branch: str) -> None:
    feature = wanted().feature
    taking = []
    for environment in feature.environments:
        push = push_filter(feature, environment)
        assert re2_fault(push["branch"]) is None
        if (re.search(push["branch"], branch) is not None) != push["invertRegex"]:
            taking.append(environment)
    chosen = environment_of(feature, branch)
    assert taking == ([chosen.environment] if chosen else [])


def test_a_build_has_time_for_its_training_and_never_more_than_cloud_build_gives() -> None:
    feature = wanted().feature
    assert feature.training is not None
    long = msgspec.structs.replace(feature, training=msgspec.structs.replace(feature.training, timeout=10 * 86400.0))
    for one, seconds in ((feature, 3600 + 7200), (long, 86400)):
        body = all_of(Wanted("mawasu.yaml", one))["trigger mawasu-callback--production"].body
        assert body["build"]["timeout"] == f"{seconds}s"


# ------------------------------------------------------------------------------------------------ names and costs


def test_names_fit_whatever_features_and_repositories_are_called() -> None:
    assert len(names.trigger("f" * 39, "e" * 39)) <= 64
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,63}", names.link(f"{'o' * 39}/{'r.' * 50}"))
    assert names.link("acme/a.b") != names.link("acme/a-b")


PAIRS = st.tuples(st.from_regex(r"[ab][ab-]{0,5}", fullmatch=True), st.from_regex(r"[ab][ab-]{0,5}", fullmatch=True))


@settings(max_examples=500)
@given(st.lists(PAIRS, min_size=2, max_size=20, unique=True))
def test_two_features_and_environments_never_share_a_name(pairs: list[tuple[str, str]]) -> None:
    for named in (names.service, names.trigger, lambda feature, environment: names.secret(feature, environment, "S")):
        assert len({named(*pair) for pair in pairs}) == len(pairs)
    assert not {names.gateway(feature) for feature, _ in pairs} & {names.service(*pair) for pair in pairs}


def test_what_costs_while_idle_is_said_and_nothing_else() -> None:
    assert idle_costs([wanted()], list(all_of().values())) == [NOTHING]
    one = wanted(gcp=GCP.replace("}", ", redis: 3Gi}"), least=2)
    lines = idle_costs([one], list(all_of(one).values()))
    assert "Redis: 3 GiB" in lines[0]
    assert "2 replicas" in lines[1]
    assert "production, staging" in lines[1]
