"""Converging a project, on the double: every request is checked against what Google publishes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mawasu.errors import PlatformError
from mawasu.google.call import Call
from mawasu.platforms.gcp.infra import show
from mawasu.platforms.gcp.infra.apply import Report
from mawasu.platforms.gcp.infra.converge import destroy, everything, refused
from mawasu.platforms.gcp.infra.settings import agree
from mawasu.platforms.gcp.infra.words import Change, Wanted
from tests.gcp.infra_world import GCP, QUICK, RUNNER, World, running, small, wanted
from tests.google.double.core import Answer, Request
from tests.google.double.infra import BUILD, CLOUD, REDIS, REGISTRY, RUN, SECRETS

PROJECT = "//cloudresourcemanager.googleapis.com/projects/acme-ml"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    with running(monkeypatch, tmp_path) as made:
        yield made


def said(changes: tuple[Change, ...] | list[Change]) -> set[str]:
    return {f"{one.verb} {one.id}" for one in changes}


def shown(world: World) -> str:
    return "\n".join(show.lines(world.look()))


def writes(world: World) -> list[str]:
    """What was sent that changes something."""
    reading = ("getIamPolicy", "list", "get")
    return [one.id for one in world.double.requests if one.id.rpartition(".")[2] not in reading]


# ------------------------------------------------------------------------------------------------ the way of a project


def test_an_empty_project_becomes_a_home_of_pushes_in_two_runs(world: World) -> None:
    world.infra.new_project()
    world.infra.fresh = 2
    first = world.apply()
    assert first.error is None
    assert [step.what for step in world.look().manual] == ["GitHub is not connected yet"]
    assert not world.infra.triggers
    world.infra.connect()
    assert said(world.look().changes) == {
        "create link acme/resumes",
        "update policy connection/github",
        *(f"create trigger mawasu-callback--{name}" for name in ("production", "staging", "preview")),
    }
    assert world.apply().error is None
    assert world.look().changes == ()


def test_what_is_as_wanted_is_left_alone(world: World) -> None:
    world.ready()
    world.double.requests.clear()
    report = world.apply()
    assert (report.done, report.failed, report.refused) == ([], [], [])
    assert writes(world) == []


def test_the_plan_reads_as_sentences_and_changes_nothing(world: World) -> None:
    world.infra.new_project()
    text = shown(world)
    assert "acme-ml · europe-west1 · gs://acme-ml-mawasu" in text
    assert "+ bucket acme-ml-mawasu: ledger, models, data, logs: the records" in text
    assert "+ mawasu-scheduler: " in text
    assert "+ mawasu-training: roles/storage.objectUser" in text
    assert "everything scales to zero" in text
    assert "gcloud builds connections create github github --region=europe-west1 --project=acme-ml" in text
    assert writes(world) == []


def test_secrets_without_a_value_come_with_the_command_that_gives_one(world: World) -> None:
    world.ready()
    name = "mawasu-callback--production--MAPS_TOKEN"
    assert f"gcloud secrets versions add {name} --data-file=- --project=acme-ml" in shown(world)
    world.infra.values.add(f"projects/acme-ml/secrets/{name}")
    assert name not in shown(world)


def test_a_consent_that_is_missing_is_told_with_its_address(world: World) -> None:
    world.infra.connect(stage="PENDING_USER_OAUTH")
    assert world.look().manual[0].how == "open https://github.com/consent"


def test_a_repository_that_somebody_linked_already_is_used_as_it_is(world: World) -> None:
    world.infra.connect("Acme/Resumes")
    assert world.apply().error is None
    repositories = {one["repositoryEventConfig"]["repository"] for one in world.infra.triggers.values()}
    assert {one.rpartition("/")[2] for one in repositories} == {"by-hand"}


def test_redis_comes_and_goes_with_its_setting(world: World) -> None:
    with_redis = wanted(gcp=GCP.replace("}", ", redis: 2Gi, api: {network: default}}"))
    assert world.apply([with_redis]).error is None
    made = next(iter(world.infra.of(REDIS, "instances").items.values()))
    assert (made["memorySizeGb"], made["tier"]) == (2, "BASIC")
    assert "delete redis mawasu" in said(world.look().changes)
    assert world.apply().error is None
    assert not world.infra.of(REDIS, "instances").items


def test_a_feature_that_is_gone_takes_its_triggers_with_it(world: World) -> None:
    world.ready(wanted(), wanted("second", root="second"))
    assert len(world.infra.triggers) == 6
    assert world.apply().error is None
    assert len(world.infra.triggers) == 3


# ------------------------------------------------------------------------------------------------ by hand, and others'


def test_a_trigger_edited_by_hand_is_shown_and_restored(world: World) -> None:
    world.ready()
    one = next(one for one in world.infra.triggers.values() if one["name"].endswith("production"))
    one["build"]["steps"][0]["args"] = ["evil"]
    one["disabled"] = True
    text = shown(world)
    assert "(changed by hand: apply restores it)" in text
    assert "disabled: true → false" in text
    assert 'build.steps[0].args: ["evil"] → ' in text
    assert world.apply().error is None
    assert world.look().changes == ()


def test_a_role_given_by_hand_to_an_account_of_mawasu_is_taken_and_other_members_stay(world: World) -> None:
    world.ready()
    extra = {"role": "roles/editor", "members": ["serviceAccount:mawasu-training@acme-ml.iam.gserviceaccount.com"]}
    other = {"role": "roles/owner", "members": ["user:boss@example.com"]}
    world.double.policies[PROJECT]["bindings"] += [extra, other]
    assert "- mawasu-training: roles/editor" in shown(world)
    assert world.apply().error is None
    assert other in world.double.policies[PROJECT]["bindings"]
    assert extra not in world.double.policies[PROJECT]["bindings"]


def test_a_bucket_that_was_opened_to_everybody_by_hand_is_closed_again(world: World) -> None:
    world.ready()
    opened = {"role": "roles/storage.objectViewer", "members": ["allUsers"]}
    policies = world.double.policies
    at = next(at for at in policies if at.endswith("acme-ml-mawasu"))
    policies[at]["bindings"].append(opened)
    assert "- allUsers: roles/storage.objectViewer" in shown(world)
    assert world.apply().error is None
    assert opened not in policies[at]["bindings"]


def test_two_that_change_a_policy_at_once_both_get_through(world: World) -> None:
    world.double.faults.fail(CLOUD, "cloudresourcemanager.projects.setIamPolicy", status=409, times=2)
    assert world.apply().error is None
    assert world.look().changes == ()


def test_what_is_there_without_the_mark_is_refused_and_the_rest_is_done(world: World) -> None:
    place = "projects/acme-ml/locations/europe-west1/repositories/mawasu"
    world.infra.of(REGISTRY, "repositories").put(place, {"format": "DOCKER", "description": "mine"})
    report = world.apply()
    error = refused(report)
    assert error is not None
    assert "repository mawasu: it is there, and does not carry mawasu's mark" in error.message
    assert report.error is None
    assert world.infra.of(REGISTRY, "repositories").items[place]["description"] == "mine"


def test_a_second_repository_of_the_project_leaves_the_first_ones_things_alone(world: World) -> None:
    world.ready()
    other = wanted("other", GCP.replace("acme/resumes", "acme/other"))
    assert said(world.look(other).changes) & {"delete trigger mawasu-callback--production"} == set()
    assert world.apply([other]).error is None
    assert len(world.infra.triggers) == 6
    assert world.look().changes == ()


# ------------------------------------------------------------------------------------------------ a production build


def test_a_production_build_converges_what_follows_from_the_features_and_nothing_else(world: World) -> None:
    world.ready()
    second = wanted("second", root="second")
    world.double.requests.clear()
    report = world.apply([wanted(), second], person=False)
    assert report.error is None
    assert len(world.infra.triggers) == 6
    assert world.look(wanted(), second).changes == ()
    assert {one.host for one in world.double.requests if one.id in writes(world)} <= {
        BUILD,
        SECRETS,
        RUN,
        "storage.googleapis.com",
    }


def test_a_production_build_leaves_the_deletion_of_secrets_to_a_person(world: World) -> None:
    world.ready(wanted(), wanted("second", root="second"))
    report = world.apply(person=False)
    assert len(world.infra.triggers) == 3
    assert "delete secret mawasu-second--production--MAPS_TOKEN" in said(report.waiting)
    assert any("second" in name for name in world.infra.of(SECRETS, "secrets").items)


# ------------------------------------------------------------------------------------------------ faults


def test_a_wrong_project_is_told_with_how_to_find_the_right_one(world: World) -> None:
    with pytest.raises(PlatformError) as error:
        world.look(wanted(gcp=GCP.replace("acme-ml", "acme-other")))
    assert "there is no project acme-other, or you may not see it" in error.value.message
    assert "gcloud projects list" in error.value.hint


def test_no_credentials_is_told_with_how_to_sign_in(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere")
    with pytest.raises(PlatformError, match="no Google credentials") as error:
        world.look()
    assert "gcloud auth application-default login" in error.value.hint


def test_service_usage_itself_being_off_comes_with_the_command(world: World) -> None:
    world.infra.turn_off("serviceusage.googleapis.com")
    with pytest.raises(PlatformError) as error:
        world.look()
    assert "gcloud services enable serviceusage.googleapis.com" in error.value.hint


def test_a_missing_permission_names_the_role_and_on_what(world: World) -> None:
    world.double.faults.deny(SECRETS, "secretmanager.secrets.create", "projects/acme-ml", "POST")
    report = world.apply()
    assert report.error is not None
    assert "roles/secretmanager.admin on projects/acme-ml" in report.error.hint
    assert "run it again" in report.error.hint


def test_all_that_fails_is_told_at_once_and_the_next_run_goes_on(world: World) -> None:
    world.double.faults.deny(REGISTRY, "artifactregistry.repositories.create", "projects/acme-ml", "POST", times=1)
    world.double.faults.deny("storage.googleapis.com", "storage.buckets.create", "projects/acme-ml", "POST", times=1)
    report = world.apply()
    assert report.error is not None
    assert "artifactregistry.repositories.create" in report.error.message
    assert "storage.buckets.create" in report.error.message
    assert world.apply().error is None
    assert world.look().changes == ()


def test_a_bucket_name_that_is_taken_is_told_as_such(world: World) -> None:
    world.infra.foreign.add("acme-ml-mawasu")
    with pytest.raises(PlatformError) as error:
        world.look()
    assert "another project's, or you may not look at it" in error.value.message
    assert "gcp.bucket" in error.value.hint


def _trouble(world: World, number: int, kind: str, answer: Answer | None = None, times: int = 1) -> None:
    """Something happens to the request of this number, counted from now, and to the same one sent again."""
    faults, before = world.double.faults, world.double.faults.take
    seen: list[tuple[str, ...]] = []
    left = [times]

    def take(*request: str) -> tuple[str, Answer | None]:
        seen.append(request)
        if len(seen) > number and request == seen[number] and left[0]:
            left[0] -= 1
            return kind, answer
        return before(*request)

    faults.take = take  # type: ignore[method-assign, assignment]


def test_whatever_request_loses_its_answer_the_next_run_comes_to_the_same_end(world: World) -> None:
    """Most are sent again at once; what an earlier attempt did, the second one and the next run find."""
    _at_every_request(world, 1, lambda number: _trouble(world, number, "after"))


def test_whatever_request_fails_for_good_the_next_run_comes_to_the_same_end(world: World) -> None:
    def fail(number: int) -> None:
        status = (403, 503)[number % 2]
        _trouble(world, number, "answer", Answer(status, {"error": {"code": status, "message": "no"}}), times=6)

    _at_every_request(world, 3, fail)


def _at_every_request(world: World, step: int, trouble: Callable[[int], None]) -> None:
    """An apply with trouble at one of its requests, then one without: always the same project."""
    take = world.double.faults.take
    world.infra.connect()
    world.double.requests.clear()
    assert world.apply([small()]).error is None
    wholly, count = world.infra.snapshot(), len(world.double.requests)
    assert count > 50
    for number in range(0, count, step):
        _reset(world)
        world.infra.connect()
        trouble(number)
        _run(world, small())
        world.double.faults.take = take  # type: ignore[method-assign]
        assert world.apply([small()]).error is None, number
        assert world.infra.snapshot() == wholly, number
    assert world.look(small()).changes == ()


def test_a_project_whose_google_fails_half_the_time_gets_there(world: World) -> None:
    world.infra.connect()
    for host in (REGISTRY, SECRETS, BUILD, RUN, CLOUD, "iam.googleapis.com", "storage.googleapis.com"):
        world.double.faults.fail(host, status=503, times=3)
        world.double.faults.quota(host, times=2)
    for _ in range(5):
        if (report := _run(world)) is not None and report.error is None:
            break
    assert world.look().changes == ()


def _reset(world: World) -> None:
    world.infra.reset()
    for one in world.client.pages(Call("GET", "storage.googleapis.com", "/storage/v1/b/acme-ml-mawasu/o"), "items"):
        path = f"/storage/v1/b/acme-ml-mawasu/o/{one['name'].replace('/', '%2F')}"
        world.client.send(Call("DELETE", "storage.googleapis.com", path))
    world.client.find(Call("DELETE", "storage.googleapis.com", "/storage/v1/b/acme-ml-mawasu"))


def _run(world: World, *features: Wanted) -> Report | None:
    try:
        return world.apply(features)
    except PlatformError:
        return None  # it failed while looking


# ------------------------------------------------------------------------------------------------ taking it down


def serve(world: World) -> list[str]:
    """Services of Cloud Run: a gateway of mawasu's and one of somebody else. What was deleted is in the list."""
    deleted: list[str] = []
    place = "projects/acme-ml/locations/europe-west1/services"
    services = [
        {"name": f"{place}/callback--0gateway", "labels": {"managed-by": "mawasu"}, "uri": "https://host.run.app"},
        {"name": f"{place}/shop", "uri": "https://shop.run.app"},
    ]

    @world.double.route(RUN, "run.projects.locations.services.list")
    def list_(request: Request) -> dict[str, Any]:
        return {"services": services}

    @world.double.route(RUN, "run.projects.locations.services.delete")
    def delete(request: Request) -> dict[str, Any]:
        deleted.append(request.params["name"].rpartition("/")[2])
        return world.double.operation(RUN, "v2", "projects/acme-ml/locations/europe-west1", dict)

    @world.double.route("servicemanagement.googleapis.com", "servicemanagement.services.list")
    def all_endpoints(request: Request) -> dict[str, Any]:
        return {"services": [{"serviceName": one} for one in ("host.run.app", "else.run.app") if one not in deleted]}

    @world.double.route("servicemanagement.googleapis.com", "servicemanagement.services.delete")
    def endpoints(request: Request) -> dict[str, Any]:
        deleted.append(request.params["serviceName"])
        return world.double.operation("servicemanagement.googleapis.com", "v1", "", dict)

    return deleted


def test_destroy_takes_all_that_is_mawasus_and_keeps_the_records(world: World) -> None:
    deleted = serve(world)
    world.ready()
    other = {"role": "roles/owner", "members": ["user:boss@example.com"]}
    world.double.policies[PROJECT]["bindings"].append(other)
    world.infra.of(SECRETS, "secrets").put("projects/acme-ml/secrets/theirs", {"replication": {"automatic": {}}})
    found = everything(world.client, agree([wanted()]), records=False)
    assert any("the records; --records deletes it" in one for one in found.kept)
    assert destroy(world.client, found, pause=QUICK).error is None
    assert sorted(deleted) == ["callback--0gateway", "host.run.app"]
    assert world.double.policies[PROJECT]["bindings"] == [other]
    assert list(world.infra.of(SECRETS, "secrets").items) == ["projects/acme-ml/secrets/theirs"]
    assert not world.infra.triggers
    assert not world.infra.accounts
    assert {one.kind for one in world.look().actual.found if one.kind not in ("apis", "policy")} == {"bucket", "secret"}
    assert world.apply().error is None


def test_destroy_with_records_takes_the_bucket_too(world: World) -> None:
    serve(world)
    world.ready()
    found = everything(world.client, agree([wanted()]), records=True)
    assert destroy(world.client, found, pause=QUICK).error is None
    assert world.client.find(Call("GET", "storage.googleapis.com", "/storage/v1/b/acme-ml-mawasu")) is None


def test_a_destroy_that_was_cut_off_goes_on_when_run_again(world: World) -> None:
    serve(world)
    world.ready()
    world.double.faults.deny(BUILD, "cloudbuild.builds.update", "projects/acme-ml", "DELETE", times=1)
    first = destroy(world.client, everything(world.client, agree([wanted()]), records=True), pause=QUICK)
    assert first.error is not None
    again = everything(world.client, agree([wanted()]), records=True)
    assert destroy(world.client, again, pause=QUICK).error is None
    assert not world.infra.triggers


def test_a_gateway_stays_until_its_endpoints_are_gone_for_they_are_known_from_it_alone(world: World) -> None:
    deleted = serve(world)
    world.ready()
    host = "servicemanagement.googleapis.com"
    world.double.faults.deny(host, "servicemanagement.services.delete", "projects/acme-ml", "DELETE", times=1)
    assert destroy(world.client, everything(world.client, agree([wanted()]), records=False), pause=QUICK).error
    assert deleted == []
    assert not destroy(world.client, everything(world.client, agree([wanted()]), records=False), pause=QUICK).error
    assert deleted == ["host.run.app", "callback--0gateway"]


# ------------------------------------------------------------------------------------------------ speed


def test_a_plan_of_ten_features_takes_at_most_two_seconds(world: World) -> None:
    features = [wanted(f"feature-{number}", root=f"f{number}") for number in range(10)]
    world.ready(*features)
    began = time.monotonic()
    assert world.look(*features).changes == ()
    assert time.monotonic() - began < 2.0


def test_what_runs_is_the_runner_that_was_made(world: World) -> None:
    world.ready()
    job = next(iter(world.infra.of(RUN, "jobs").items.values()))
    assert job["template"]["template"]["containers"][0]["image"] == RUNNER
