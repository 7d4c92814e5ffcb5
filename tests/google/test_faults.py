"""Google's error answers, as Google writes them, and the next step that each becomes."""

from __future__ import annotations

from typing import Any

import pytest

from mawasu.google.call import Call, path
from mawasu.google.client import Client
from mawasu.google.faults import ConflictError, GoogleError, NotFoundError, fault_of, role_for
from tests.google.double.core import Double

RUN, STORE = "run.googleapis.com", "storage.googleapis.com"
LOOK = Call("GET", RUN, "/v2/projects/acme/locations/europe-west1/services/x")


BARE = True  # the double without its services: these tests bring what they need


def refused(client: Client, call: Call = LOOK) -> GoogleError:
    with pytest.raises(GoogleError) as caught:
        client.send(call)
    return caught.value


def test_an_api_that_is_off_is_told_with_the_command_that_turns_it_on(double: Double, client: Client) -> None:
    double.faults.disable(RUN)
    found = refused(client)
    assert found.reason == "SERVICE_DISABLED"
    assert found.hint == (
        "`mawasu gcp apply` enables it, or: gcloud services enable run.googleapis.com --project 123456789012"
    )
    assert "\n" not in str(found)


def test_a_permission_that_is_missing_is_told_with_role_and_resource(double: Double, client: Client) -> None:
    double.faults.deny(RUN, "run.services.get", "projects/acme/locations/europe-west1/services/x")
    assert refused(client).hint == (
        "give who runs this the role roles/run.admin on projects/acme/locations/europe-west1/services/x "
        "(it lacks run.services.get)"
    )


def test_storage_says_it_in_words(double: Double, client: Client) -> None:
    double.faults.deny(STORE, "storage.objects.list", "")
    assert refused(client, Call("GET", STORE, "/storage/v1/b/x/o")).hint == (
        "give mawasu-build@acme.iam.gserviceaccount.com the role roles/storage.admin on the project "
        "(it lacks storage.objects.list)"
    )


def test_a_quota_that_stays_spent_is_told(double: Double, client: Client) -> None:
    double.faults.quota(RUN, times=-1)
    found = refused(client)
    assert (found.status, found.reason) == (429, "RATE_LIMIT_EXCEEDED")
    assert "Quotas" in found.hint


def error(status: int, message: str, reason: str = "", **metadata: str) -> GoogleError:
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "metadata": metadata}]
    body = {"error": {"code": status, "message": message, "status": "X", "details": details if reason else []}}
    return fault_of(LOOK, status, body)


@pytest.mark.parametrize(
    ("found", "hint"),
    [
        (
            error(403, "Permission denied on resource project acne.", "CONSUMER_INVALID", consumer="projects/acne"),
            "is gcp.project in mawasu.yaml right",
        ),
        (
            error(
                403,
                "Your application is authenticating by using local Application Default Credentials. The "
                "run.googleapis.com API requires a quota project, which is not set by default.",
                "SERVICE_DISABLED",
                consumer="projects/764086051850",
                service=RUN,
            ),
            "gcloud auth application-default set-quota-project acme",
        ),
        (
            error(403, "Caller does not have required permission to use project acme.", "USER_PROJECT_DENIED"),
            "give who runs this the role roles/serviceusage.serviceUsageConsumer on acme",
        ),
        (
            error(403, "Permission 'iam.serviceaccounts.actAs' denied on service account a@b.c (or it may not exist)."),
            "the role roles/iam.serviceAccountUser on a@b.c (it lacks iam.serviceaccounts.actAs)",
        ),
        (
            error(403, "This API method requires billing to be enabled.", "BILLING_DISABLED", consumer="projects/7"),
            "https://console.cloud.google.com/billing/linkedaccount?project=7",
        ),
        (error(403, "The caller does not have permission"), "the role roles/run.admin on acme"),
        (error(404, "Project 'acme' not found or permission denied."), "is gcp.project in mawasu.yaml right"),
        (error(404, "Resource 'x' was not found"), ""),
        (error(400, "bad"), ""),
    ],
    ids=lambda value: value.reason or str(value.status) if isinstance(value, GoogleError) else None,
)
def test_each_refusal_has_its_next_step(found: GoogleError, hint: str) -> None:
    assert hint in found.hint
    assert hint or found.hint == ""


@pytest.mark.parametrize(("status", "kind"), [(404, NotFoundError), (409, ConflictError), (412, ConflictError)])
def test_what_callers_look_for_has_a_kind(status: int, kind: type) -> None:
    assert type(error(status, "x")) is kind


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "",
        "plain text",
        {"error": "invalid_grant"},
        {"error": {"message": None}},
        {"error": {"details": ["x"]}},
        {"error": {"details": None, "errors": None}},
        {"error": {"details": [{"metadata": None}], "errors": [1]}},
        [{"error": {"code": 500, "message": "in a list"}}],
    ],
)
@pytest.mark.parametrize("status", [400, 403, 404, 500])
def test_no_body_is_too_strange(status: int, body: Any) -> None:
    assert str(fault_of(LOOK, status, body)).startswith(f"GET {RUN}{LOOK.path}: ")


def test_a_streamed_methods_error_comes_in_a_list() -> None:
    assert "in a list" in str(fault_of(LOOK, 500, [{"error": {"code": 500, "message": "in a list"}}]))


def test_roles_are_named_for_permissions_and_hosts() -> None:
    assert role_for("run.services.create", RUN) == "roles/run.admin"
    assert role_for("", "europe-west1-aiplatform.googleapis.com") == "roles/aiplatform.user"
    assert role_for("dns.zones.get", "dns.googleapis.com") == "that holds dns.zones.get"


def test_a_path_escapes_its_parts() -> None:
    assert path("storage", "v1", "b", "x", "o", "a/b ?#%") == "/storage/v1/b/x/o/a%2Fb%20%3F%23%25"
    for wrong in ("", ".", ".."):
        with pytest.raises(ValueError, match="cannot be part of a path"):
            path("v1", wrong)
