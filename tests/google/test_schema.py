"""The strict check: each rule, and that no misspelt field of a right body gets through."""

from __future__ import annotations

import copy
import string
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from mawasu.google.call import Call
from tests.google.double.documents import HOSTS, Method, find, method, methods
from tests.google.double.masks import selected
from tests.google.double.schema import faults_of_answer, faults_of_call, faults_of_request

RUN, VERTEX, STORE = "run.googleapis.com", "europe-west1-aiplatform.googleapis.com", "storage.googleapis.com"
BUILD, SECRETS = "cloudbuild.googleapis.com", "secretmanager.googleapis.com"
PARENT = "/projects/acme/locations/europe-west1"

SERVICE: dict[str, Any] = {
    "labels": {"managed-by": "mawasu"},
    "ingress": "INGRESS_TRAFFIC_ALL",
    "template": {
        "revision": "callback--production-abc",
        "scaling": {"minInstanceCount": 0, "maxInstanceCount": 4},
        "timeout": "3.5s",
        "serviceAccount": "mawasu-api@acme.iam.gserviceaccount.com",
        "containers": [
            {
                "name": "server",
                "image": "europe-west1-docker.pkg.dev/acme/mawasu/x@sha256:0",
                "env": [{"name": "A", "value": "1"}],
                "ports": [{"containerPort": 8080}],
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "cpuIdle": True},
                "volumeMounts": [{"name": "code", "mountPath": "/code"}],
            }
        ],
        "volumes": [{"name": "code", "gcs": {"bucket": "acme-mawasu", "readOnly": True}}],
    },
    "traffic": [{"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION", "revision": "r", "percent": 100}],
}

JOB: dict[str, Any] = {
    "displayName": "train",
    "labels": {"feature": "callback"},
    "jobSpec": {
        "workerPoolSpecs": [
            {
                "machineSpec": {
                    "machineType": "n1-standard-4",
                    "acceleratorType": "NVIDIA_TESLA_T4",
                    "acceleratorCount": 1,
                },
                "replicaCount": "1",
                "diskSpec": {"bootDiskType": "pd-ssd", "bootDiskSizeGb": 100},
                "containerSpec": {"imageUri": "x", "command": ["python"], "env": [{"name": "A", "value": "1"}]},
            }
        ],
        "scheduling": {"timeout": "3600s", "restartJobOnWorkerRestart": False, "strategy": "SPOT"},
        "serviceAccount": "mawasu-training@acme.iam.gserviceaccount.com",
    },
}


def service(**changed: Any) -> list[str]:
    return faults_of_request("POST", RUN, f"/v2{PARENT}/services", [("serviceId", "x")], {**SERVICE, **changed})


def job(change: Any = None, **changed: Any) -> list[str]:
    return faults_of_request("POST", VERTEX, f"/v1{PARENT}/customJobs", [], {**JOB, **changed})


def test_right_requests_have_no_faults() -> None:
    assert service() == []
    assert job() == []


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every field of an object that has a schema with fields (not of maps)."""
    if isinstance(value, dict):
        for name, below in value.items():
            if path[-1:] not in (("labels",), ("limits",)):
                yield (*path, name)
            yield from places(below, (*path, name))
    if isinstance(value, list):
        for number, below in enumerate(value):
            yield from places(below, (*path, number))


def misspelt(body: Any, path: tuple[Any, ...], name: str) -> Any:
    changed = copy.deepcopy(body)
    place = changed
    for part in path[:-1]:
        place = place[part]
    place[name] = place.pop(path[-1])
    return changed


@pytest.mark.parametrize("path", list(places(SERVICE)), ids=lambda path: ".".join(map(str, path)))
def test_no_misspelt_field_of_a_service_gets_through(path: tuple[Any, ...]) -> None:
    name = path[-1]
    for wrong in (name[:-1], name + "s", name.upper(), "x_" + name):
        url = f"/v2{PARENT}/services"
        faults = faults_of_request("POST", RUN, url, [("serviceId", "x")], misspelt(SERVICE, path, wrong))
        assert any(wrong in fault for fault in faults), wrong


@pytest.mark.parametrize("path", list(places(JOB)), ids=lambda path: ".".join(map(str, path)))
def test_no_misspelt_field_of_a_job_gets_through(path: tuple[Any, ...]) -> None:
    wrong = path[-1] + "X"
    assert any(wrong in fault for fault in job(**misspelt(JOB, path, wrong)))


@given(some.sampled_from(list(places(JOB))), some.text(string.ascii_letters, min_size=1, max_size=12))
def test_a_name_that_the_documents_do_not_have_is_refused_whatever_it_is(path: tuple[Any, ...], name: str) -> None:
    known = {part for one in places(JOB) for part in one} | {"name", "encryptionSpec", "network", "experiment"}
    if name not in known and len(name) > 6:
        body = misspelt(JOB, path, name)
        assert faults_of_request("POST", VERTEX, f"/v1{PARENT}/customJobs", [], body)


def test_a_misspelt_field_is_told_with_its_place_and_the_nearest_name() -> None:
    template = {**SERVICE["template"], "serviceAcount": "x"}
    found = (
        "template.serviceAcount: GoogleCloudRunV2RevisionTemplate has no such field (did you mean 'serviceAccount'?)"
    )
    assert service(template=template) == [found]


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"ingress": "INGRESS_ALL"}, "ingress: 'INGRESS_ALL' is none of its values"),
        (
            {"template": {"containers": [{"image": "x"}], "timeout": "3m"}},
            "template.timeout: '3m' is no google-duration",
        ),
        ({"template": {"containers": [{"image": "x"}], "timeout": 3}}, "template.timeout: is not of type string"),
        ({"traffic": [{"percent": "3"}]}, "traffic[0].percent: is not of type integer"),
        ({"traffic": [{"percent": 3.0}]}, "traffic[0].percent: is not of type integer"),
        ({"traffic": [{"percent": True}]}, "traffic[0].percent: is not of type integer"),
        ({"traffic": [{"percent": 2**31}]}, "traffic[0].percent: 2147483648 is no int32"),
        ({"traffic": {"percent": 3}}, "traffic: is not of type array"),
        ({"labels": {"A": "b"}}, "labels: 'A' is no label's key"),
        ({"labels": {"a": "b c"}}, "labels: a: 'b c' is no label's value"),
        ({"labels": {"a": 1}}, "labels['a']: is not of type string"),
        ({"uri": "https://x"}, "uri: is output only"),
        ({"createTime": "2030-01-01T00:00:00Z"}, "createTime: is output only"),
        ({"template": {"containers": [{"name": "x"}]}}, "template.containers[0].image: is required"),
        ({"description": None}, "description: null is no value"),
    ],
)
def test_a_wrong_value_is_refused(changed: dict[str, Any], fault: str) -> None:
    faults = service(**changed)
    assert len(faults) == 1
    assert faults[0].startswith(fault)


def test_an_int64_is_a_string() -> None:
    spec = copy.deepcopy(JOB["jobSpec"])
    spec["workerPoolSpecs"][0]["replicaCount"] = 1
    expected = "jobSpec.workerPoolSpecs[0].replicaCount: is not of type string (a JSON string: int64): 1"
    assert job(jobSpec=spec) == [expected]
    spec["workerPoolSpecs"][0]["replicaCount"] = str(2**63)
    assert job(jobSpec=spec) == [f"jobSpec.workerPoolSpecs[0].replicaCount: '{2**63}' is no int64"]


@given(some.integers(-(2**70), 2**70))
def test_every_int64_is_taken_and_no_other(number: int) -> None:
    spec = copy.deepcopy(JOB["jobSpec"])
    spec["workerPoolSpecs"][0]["replicaCount"] = str(number)
    assert (job(jobSpec=spec) == []) == (-(2**63) <= number < 2**63)


@given(some.datetimes(timezones=some.timezones()))
def test_rfc_3339_times_are_taken(moment: Any) -> None:
    text = moment.isoformat()
    if len(text.rpartition("+")[2]) == 5 or text.endswith("Z"):
        assert answered_at(text) == []


@pytest.mark.parametrize("text", ["2030-01-01", "2030-01-01T00:00:00", "2030-13-01T00:00:00Z", "now", "1700000000"])
def test_what_is_no_rfc_3339_time_is_refused(text: str) -> None:
    assert answered_at(text) == [f"createTime: {text!r} is no google-datetime"]


def answered_at(text: str) -> list[str]:
    return faults_of_answer(method(RUN, "run.projects.locations.services.get"), {"createTime": text})


def test_bytes_are_base64() -> None:
    def payload(data: str) -> list[str]:
        path = "/v1/projects/acme/secrets/s:addVersion"
        return faults_of_request("POST", SECRETS, path, [], {"payload": {"data": data}})

    assert payload("aGVsbG8=") == []
    assert payload("hello!") == ["payload.data: 'hello!' is no byte"]


def test_an_answer_may_hold_output_only_fields_but_no_unknown_ones() -> None:
    get = method(RUN, "run.projects.locations.services.get")
    assert faults_of_answer(get, {"uri": "http://127.0.0.1", "generation": "3"}) == []
    assert faults_of_answer(get, {"url": "x"}) == [
        "url: GoogleCloudRunV2Service has no such field (did you mean 'urls'?)"
    ]
    assert faults_of_answer(get, {"generation": 3})


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ([("serviceId", "x"), ("validateOnli", "true")], "?validateOnli: "),
        ([("serviceId", "x"), ("validateOnly", "yes")], "?validateOnly: 'yes' is not true or false"),
        ([("serviceId", "x"), ("serviceId", "y")], "?serviceId is given twice"),
        ([("serviceId", "x"), ("alt", "xml")], "?alt: 'xml' is none of its values"),
    ],
)
def test_a_wrong_query_is_refused(query: list[tuple[str, str]], fault: str) -> None:
    faults = faults_of_request("POST", RUN, f"/v2{PARENT}/services", query, SERVICE)
    assert len(faults) == 1
    assert faults[0].startswith(fault)


def test_a_parameter_that_must_be_there_is_missed() -> None:
    assert faults_of_call(Call("POST", STORE, "/storage/v1/b", body={"name": "x"})) == ["?project is required"]


def test_what_the_path_names_is_not_asked_for_again() -> None:
    assert faults_of_call(Call("GET", BUILD, f"/v1{PARENT}/triggers")) == []
    assert faults_of_call(Call("POST", BUILD, f"/v1{PARENT}/builds/b:cancel", body={})) == []
    projects = Call("GET", "cloudresourcemanager.googleapis.com", "/v3/projects")
    assert faults_of_call(projects) == ["?parent is required"]


def test_parameters_have_types_and_formats() -> None:
    listed = ("GET", RUN, f"/v2{PARENT}/services")
    assert faults_of_request(*listed, [("pageSize", "10"), ("alt", "json"), ("prettyPrint", "false")]) == []
    assert faults_of_request(*listed, [("pageSize", "ten")]) == ["?pageSize: 'ten' is no integer"]


@pytest.mark.parametrize(
    ("mask", "fault"),
    [
        ("template.containers,traffic", ""),
        ("template.service_account", ""),
        ("labels.team", ""),
        ("*", ""),
        ("trafic", "?updateMask: 'trafic': GoogleCloudRunV2Service has no 'trafic' (did you mean 'traffic'?)"),
        ("template.containerz", "?updateMask: 'template.containerz': GoogleCloudRunV2RevisionTemplate has no"),
        ("uri", "?updateMask: 'uri' is output only"),
        ("a b", "?updateMask: 'a b' is no google-fieldmask"),
    ],
)
def test_an_update_mask_names_fields_that_there_are(mask: str, fault: str) -> None:
    faults = faults_of_request("PATCH", RUN, f"/v2{PARENT}/services/x", [("updateMask", mask)], {})
    assert faults == [] if not fault else faults[0].startswith(fault)


@pytest.mark.parametrize(
    ("fields", "fine"),
    [
        ("items(name,size),nextPageToken", True),
        ("items/name,prefixes", True),
        ("*", True),
        ("items(name,metadata/any)", True),
        ("items(name,sise)", False),
        ("item", False),
        ("items(name", False),
        ("items(name))", False),
    ],
)
def test_a_selection_of_fields_names_fields_that_there_are(fields: str, fine: bool) -> None:
    faults = faults_of_request("GET", STORE, "/storage/v1/b/x/o", [("fields", fields)])
    assert (faults == []) == fine


def test_a_selection_leaves_out_the_rest() -> None:
    answer = {"items": [{"name": "a", "size": "1", "owner": {"entity": "x"}}], "nextPageToken": "t", "kind": "k"}
    assert selected(answer, "items(name,owner/entity),nextPageToken") == {
        "items": [{"name": "a", "owner": {"entity": "x"}}],
        "nextPageToken": "t",
    }
    assert selected(answer, "items/name") == {"items": [{"name": "a"}]}
    assert selected(answer, "*") == answer


# ---------------------------------------------------------------------------------------------------- paths


@pytest.mark.parametrize(
    ("http", "host", "path", "name"),
    [
        ("GET", RUN, f"/v2{PARENT}/services/x", "run.projects.locations.services.get"),
        ("GET", RUN, f"/v2{PARENT}/services/x:getIamPolicy", "run.projects.locations.services.getIamPolicy"),
        ("GET", RUN, f"/v2{PARENT}/operations/1", "run.projects.locations.operations.get"),
        ("GET", VERTEX, f"/v1{PARENT}/customJobs/1", "aiplatform.projects.locations.customJobs.get"),
        ("POST", VERTEX, f"/v1{PARENT}/customJobs/1:cancel", "aiplatform.projects.locations.customJobs.cancel"),
        ("POST", BUILD, f"/v1{PARENT}/builds", "cloudbuild.projects.locations.builds.create"),
        ("POST", BUILD, "/v1/projects/acme/builds", "cloudbuild.projects.builds.create"),
        ("GET", BUILD, f"/v2{PARENT}/connections/c", "cloudbuild.projects.locations.connections.get"),
        ("GET", STORE, "/storage/v1/b/x/o/a%2Fb:c", "storage.objects.get"),
        ("GET", STORE, "/download/storage/v1/b/x/o/a", "storage.objects.get"),
        ("POST", STORE, "/storage/v1/b/x/o/a%2Fb/rewriteTo/b/x/o/c", "storage.objects.rewrite"),
        ("GET", "cloudresourcemanager.googleapis.com", "/v3/projects/acme", "cloudresourcemanager.projects.get"),
        (
            "GET",
            "artifactregistry.googleapis.com",
            f"/v1{PARENT}/repositories/mawasu/dockerImages/x@sha256:0a",
            "artifactregistry.projects.locations.repositories.dockerImages.get",
        ),
        ("GET", "compute.googleapis.com", "/compute/v1/projects/acme/global/networks/n", "compute.networks.get"),
    ],
)
def test_a_path_finds_its_method(http: str, host: str, path: str, name: str) -> None:
    found = find(host, http, path)
    assert found is not None
    assert found.method.id == name


def test_names_in_a_path_are_unescaped() -> None:
    found = find(STORE, "GET", "/storage/v1/b/x/o/a%2Fb%20c")
    assert found is not None
    assert found.params == {"bucket": "x", "object": "a/b c"}


@pytest.mark.parametrize(
    ("http", "host", "path"),
    [
        ("GET", RUN, "/v1/projects/acme/locations/l/services"),
        ("GET", RUN, f"/v2{PARENT}/service/x"),
        ("GET", RUN, f"/v2{PARENT}/services/x:getIamPolicyy"),
        ("PUT", RUN, f"/v2{PARENT}/services/x"),
        ("POST", VERTEX, "/v1/projects/acme/locations/us-central1/customJobs"),  # of another region
        ("GET", STORE, "/storage/v1/b/x/o/a/b"),
        ("GET", "europe-west1-storage.googleapis.com", "/storage/v1/b/x"),
        ("GET", "example.com", "/v1/x"),
    ],
)
def test_a_path_that_no_method_has_is_refused(http: str, host: str, path: str) -> None:
    assert len(faults_of_request(http, host, path, [], {} if http == "POST" else object.__new__(object))) == 1


def test_a_body_goes_with_methods_that_take_one() -> None:
    call = Call("GET", RUN, f"/v2{PARENT}/services/x", body={"a": 1})
    assert faults_of_call(call) == ["run.projects.locations.services.get takes no body"]


def test_uploads_say_their_kind() -> None:
    url = "/upload/storage/v1/b/x/o"
    assert faults_of_request("POST", STORE, url, [("uploadType", "media"), ("name", "a")]) == []
    assert faults_of_request("POST", STORE, url, [("name", "a")]) == [
        "?uploadType is one of media, multipart, resumable"
    ]
    assert faults_of_request("POST", STORE, url, [("uploadType", "resumable")], {"nam": "a"})


def test_null_removes_from_a_bucket_only() -> None:
    assert faults_of_call(Call("PATCH", STORE, "/storage/v1/b/x", body={"labels": {"a": None}})) == []
    assert faults_of_call(Call("PATCH", RUN, f"/v2{PARENT}/services/x", body={"labels": {"a": None}}))


@pytest.mark.parametrize("api", sorted(HOSTS))
def test_every_method_is_found_by_a_path_of_its_own(api: str) -> None:
    known = methods(api)
    for one in known[:: 1 + len(known) // 200]:  # of the largest APIs a part: each pattern is compiled
        path = sample_path(one)
        found = find(f"{api}.googleapis.com", one.http, path) if path else None
        assert path is None or (found is not None and found.method.id == one.id), one.id


def sample_path(one: Method) -> str | None:
    """A path made from the method's patterns; None where they are not plain."""
    path = one.templates[0][1]
    for name, parameter in one.parameters.items():
        made = parameter.get("pattern", "").strip("^$").replace("[^/]+", "x") if f"{{+{name}}}" in path else "x"
        path = path.replace(f"{{+{name}}}", made or "x").replace(f"{{{name}}}", "x")
    return None if any(sign in path for sign in "{}()[]\\|*") else path
