"""The double itself: what it refuses, what it remembers, the trouble it makes."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from mawasu.google.call import Call
from mawasu.google.client import Client
from mawasu.google.faults import ConflictError, GoogleError, NotFoundError
from mawasu.google.operations import wait_for
from tests.google.double.core import Answer, Double, Request, refuse
from tests.google.double.faults import RefusedError
from tests.google.double.policies import etag_of

RUN, SECRETS, REDIS = "run.googleapis.com", "secretmanager.googleapis.com", "redis.googleapis.com"
PARENT = "projects/acme/locations/europe-west1"
GET = "run.projects.locations.services.get"
SERVICE = Call("GET", RUN, f"/v2/{PARENT}/services/x")


BARE = True  # the double without its services: these tests bring what they need


def forgiven(double: Double) -> list[str]:
    """What was wrong, and no longer counts."""
    found = list(double.violations)
    double.violations.clear()
    double.unchecked.clear()
    return found


def answering(double: Double, value: Any = None) -> None:
    @double.route(RUN, GET)
    def get(request: Request) -> Any:
        return {"name": request.params["name"]} if value is None else value


def test_a_request_is_answered_and_remembered(double: Double, client: Client) -> None:
    answering(double)
    assert client.send(SERVICE) == {"name": f"{PARENT}/services/x"}
    (seen,) = double.seen("services.get")
    assert (seen.method, seen.host, seen.path, seen.body) == ("GET", RUN, SERVICE.path, None)
    assert seen.caller == "mawasu-build@acme.iam.gserviceaccount.com"


def test_a_misspelt_request_is_refused_and_recorded(double: Double, client: Client) -> None:
    with pytest.raises(GoogleError, match="secrtId"):
        client.send(Call("POST", SECRETS, "/v1/projects/acme/secrets", {"secrtId": "x"}, {"labels": {}}))
    place = f"POST {SECRETS}/v1/projects/acme/secrets"
    assert forgiven(double) == [
        f"{place}: ?secrtId: secretmanager.projects.secrets.create has no such parameter (did you mean 'secretId'?)",
        f"{place}: ?secretId is required",
    ]


def test_a_path_that_no_method_has_is_unchecked(double: Double, client: Client) -> None:
    for call in (Call("GET", RUN, "/v3/services"), Call("GET", "example.com", "/x")):
        with pytest.raises(NotFoundError):
            client.send(call)
    assert [one.path for one in double.unchecked] == ["/v3/services", "/x"]
    assert len(forgiven(double)) == 2


def test_a_method_without_a_handler_is_a_violation(double: Double, client: Client) -> None:
    with pytest.raises(GoogleError) as caught:
        client.send(Call("GET", "iam.googleapis.com", "/v1/projects/acme/roles/mawasu"))
    assert caught.value.status == 501
    assert forgiven(double) == ["the double has no handler for iam.projects.roles.get"]


def test_a_handler_for_a_method_that_there_is_not_is_refused_at_once(double: Double) -> None:
    with pytest.raises(ValueError, match=r"services\.gett.*did you mean"):
        double.route(RUN, "run.projects.locations.services.gett")


def test_a_handler_that_answers_what_google_could_not_is_a_violation(double: Double, client: Client) -> None:
    answering(double, {"url": "x"})
    client.send(SERVICE)
    assert forgiven(double)[0].startswith(f"the double's own answer of {GET}: url: ")


def test_nobody_gets_in_without_a_token(double: Double) -> None:
    answering(double)
    url = f"{double.url}/{RUN}{SERVICE.path}"
    with httpx.Client() as http:
        assert http.get(url).status_code == 401
        assert http.get(url, headers={"authorization": "Bearer made-up"}).status_code == 401
        answer = http.get(url, headers={"authorization": f"Bearer {double.identity.token()}"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("content", "kind", "fault"),
    [
        (b"{", "application/json", "the body is not JSON"),
        (b'{"payload": {}, "payload": {}}', "application/json", "a name comes twice"),
        (b"{}", "text/plain", "content-type 'text/plain' is not application/json"),
    ],
)
def test_a_body_is_json_and_says_so(double: Double, content: bytes, kind: str, fault: str) -> None:
    headers = {"authorization": f"Bearer {double.identity.token()}", "content-type": kind}
    url = f"{double.url}/{SECRETS}/v1/projects/acme/secrets/s:addVersion"
    answer = httpx.post(url, content=content, headers=headers)
    assert answer.status_code == 400
    assert fault in forgiven(double)[0]


def test_answers_come_in_time_for_many_at_once(double: Double, client: Client) -> None:
    answering(double)
    client.send(SERVICE)
    began = time.monotonic()
    with ThreadPoolExecutor(40) as pool:
        assert len(list(pool.map(client.send, [SERVICE] * 40))) == 40
    assert time.monotonic() - began < 1


def test_nothing_is_left_of_a_double_that_was_stopped() -> None:
    before = set(threading.enumerate())
    with Double() as running, httpx.Client() as http:
        http.get(f"{running.url}/{RUN}{SERVICE.path}")  # leaves a connection open
    assert set(threading.enumerate()) == before


# ---------------------------------------------------------------------------------------------------- trouble


def test_trouble_comes_as_often_as_it_was_ordered(double: Double, client: Client) -> None:
    answering(double)
    double.faults.fail(RUN, "GET", "*/services/*", status=503, times=2)
    assert double.faults.left
    assert client.send(SERVICE)
    assert len(double.requests) == 3
    assert double.faults.left == []


def test_a_cut_before_the_effect_leaves_nothing_done(double: Double, client: Client) -> None:
    done: list[str] = []
    answering_once(double, done)
    double.faults.cut_before_effect(RUN)
    client.send(SERVICE)
    assert done == ["get"]


@pytest.mark.parametrize("cut", ["cut_after_effect", "cut_inside_answer"])
def test_a_cut_after_the_effect_has_it_done(double: Double, client: Client, cut: str) -> None:
    done: list[str] = []
    answering_once(double, done)
    getattr(double.faults, cut)(RUN, GET)
    client.send(SERVICE)
    assert done == ["get", "get"]


def answering_once(double: Double, done: list[str]) -> None:
    @double.route(RUN, GET)
    def get(request: Request) -> dict[str, Any]:
        done.append("get")
        return {}


# ---------------------------------------------------------------------------------------------------- operations


def test_an_operation_is_done_after_some_looks(double: Double, client: Client) -> None:
    begun = double.operation(RUN, "v2", PARENT, lambda: {"name": "x"}, polls=3)
    assert "done" not in begun
    assert wait_for(client, RUN, "v2", begun, first=0.001) == {"name": "x"}
    assert len(double.seen("operations.get")) == 3


def test_an_operation_goes_on_when_nobody_looks(double: Double, client: Client) -> None:
    answering(double)
    done: list[str] = []
    double.operation(RUN, "v2", PARENT, lambda: done.append("x"), polls=2)
    client.send(SERVICE)
    assert done == []
    client.send(SERVICE)
    assert done == ["x"]


def test_a_refusal_is_the_error_of_its_operation(double: Double, client: Client) -> None:
    def work() -> dict[str, Any]:
        raise refuse(404, "The image was not found.")

    with pytest.raises(NotFoundError, match="image was not found"):
        wait_for(client, RUN, "v2", double.operation(RUN, "v2", PARENT, work), first=0.001)


def test_an_operation_that_there_is_not_is_not_found(double: Double, client: Client) -> None:
    assert client.find(Call("GET", RUN, f"/v2/{PARENT}/operations/none")) is None


def test_all_operations_may_be_finished_at_once(double: Double) -> None:
    done: list[str] = []
    double.operation(RUN, "v2", PARENT, lambda: done.append("x"), polls=100)
    double.settle()
    assert done == ["x"]


# ---------------------------------------------------------------------------------------------------- collections


def secret(name: str, method: str = "GET", **more: Any) -> Call:
    return Call(method, SECRETS, f"/v1/projects/acme/secrets/{name}", **more)


def created(client: Client, name: str, **body: Any) -> Any:
    query = {"secretId": name}
    return client.send(
        Call("POST", SECRETS, "/v1/projects/acme/secrets", query, {"replication": {"automatic": {}}, **body})
    )


@pytest.fixture
def secrets(double: Double) -> Any:
    return double.kit(SECRETS, "secretmanager.projects.secrets")


def test_a_collection_makes_shows_changes_and_deletes(double: Double, client: Client, secrets: Any) -> None:
    made = created(client, "s", labels={"a": "b"})
    assert made["name"] == "projects/acme/secrets/s"
    assert made["createTime"].endswith("Z")
    assert client.send(secret("s")) == made
    changed = client.send(secret("s", "PATCH", query={"updateMask": "labels"}, body={"labels": {"c": "d"}}))
    assert changed["labels"] == {"c": "d"}
    assert changed["replication"] == {"automatic": {}}
    assert changed["createTime"] == made["createTime"]
    assert changed["etag"] != made["etag"]
    assert client.send(secret("s", "DELETE")) == {}
    assert client.find(secret("s")) is None
    assert secrets.items == {}


def test_what_is_there_is_not_made_twice(client: Client, secrets: Any) -> None:
    created(client, "s")
    with pytest.raises(ConflictError):
        created(client, "s")


def test_an_old_etag_is_refused(client: Client, secrets: Any) -> None:
    old = created(client, "s")["etag"]
    call = secret("s", "PATCH", query={"updateMask": "labels"}, body={"etag": old, "labels": {"a": "b"}})
    client.send(call)
    with pytest.raises(ConflictError):
        client.send(call)
    with pytest.raises(ConflictError):
        client.send(secret("s", "DELETE", query={"etag": old}))


def test_a_list_comes_in_pages(client: Client, secrets: Any) -> None:
    for number in range(5):
        created(client, f"s{number}")
    call = Call("GET", SECRETS, "/v1/projects/acme/secrets", {"pageSize": "2"})
    names = [one["name"].rpartition("/")[2] for one in client.pages(call, "secrets")]
    assert names == ["s0", "s1", "s2", "s3", "s4"]
    assert len(client.send(call)["secrets"]) == 2


def test_a_mask_reaches_inside_and_clears_what_is_not_given(double: Double, client: Client) -> None:
    services = double.kit(RUN, "run.projects.locations.services", whole=True, polls=0)
    name = f"{PARENT}/services/x"
    services.put(
        name, {"template": {"containers": [{"image": "a"}], "serviceAccount": "s"}, "traffic": [{"percent": 100}]}
    )
    body = {"template": {"containers": [{"image": "b"}]}}
    query = {"updateMask": "template.containers,template.serviceAccount,traffic"}
    client.send(Call("PATCH", RUN, f"/v2/{name}", query, body))
    assert services.items[name]["template"] == {"containers": [{"image": "b"}]}
    assert "traffic" not in services.items[name]


def test_a_slow_collection_gives_operations(double: Double, client: Client) -> None:
    double.kit(
        REDIS, "redis.projects.locations.instances", fill=lambda name, thing, before: {**thing, "host": "10.0.0.3"}
    )
    body = {"tier": "BASIC", "memorySizeGb": 1}
    begun = client.send(Call("POST", REDIS, f"/v1/{PARENT}/instances", {"instanceId": "cache"}, body))
    made = wait_for(client, REDIS, "v1", begun, first=0.001)
    assert (made["name"], made["host"]) == (f"{PARENT}/instances/cache", "10.0.0.3")


# ---------------------------------------------------------------------------------------------------- policies

PROJECT = "/v3/projects/acme"
RESOURCES = "cloudresourcemanager.googleapis.com"
CONDITION = {"title": "jobs only", "expression": 'resource.name.startsWith("jobs/")'}


def policy(client: Client, version: int = 3) -> Any:
    body = {"options": {"requestedPolicyVersion": version}}
    return client.send(Call("POST", RESOURCES, f"{PROJECT}:getIamPolicy", body=body, again=True))


def set_policy(client: Client, **value: Any) -> Any:
    return client.send(Call("POST", RESOURCES, f"{PROJECT}:setIamPolicy", body={"policy": value}))


def test_a_policy_is_read_changed_and_written_back(client: Client) -> None:
    now = policy(client)
    bindings = [{"role": "roles/run.invoker", "members": ["serviceAccount:a@acme.iam.gserviceaccount.com"]}]
    set_policy(client, **{**now, "bindings": bindings})
    assert policy(client)["bindings"] == bindings
    with pytest.raises(ConflictError, match="concurrent policy changes"):
        set_policy(client, **{**now, "bindings": bindings})


def test_conditions_need_version_three(client: Client) -> None:
    binding = {"role": "roles/storage.objectUser", "members": ["user:ann@example.com"], "condition": CONDITION}
    with pytest.raises(GoogleError, match="version 3"):
        set_policy(client, bindings=[binding], version=1)
    set_policy(client, bindings=[binding], version=3)
    assert policy(client)["bindings"] == [binding]
    (blind,) = policy(client, version=1)["bindings"]
    assert "_withcond_" in blind["role"]
    assert "condition" not in blind
    with pytest.raises(GoogleError, match="not supported"):
        set_policy(client, bindings=[blind])


def test_members_have_a_kind(client: Client) -> None:
    with pytest.raises(GoogleError, match="malformed"):
        set_policy(client, bindings=[{"role": "roles/viewer", "members": ["ann@example.com"]}])
    assert etag_of({"bindings": []}) == policy(client)["etag"]


def test_a_refusal_looks_like_googles() -> None:
    answer = refuse(404, "gone").answer(RUN)
    assert json.loads(answer.data()[0]) == {"error": {"code": 404, "message": "gone", "status": "NOT_FOUND"}}
    old = RefusedError(412, "no").answer("storage.googleapis.com")
    assert old.body["error"]["errors"][0]["reason"] == "conditionNotMet"
    assert Answer(204, b"").data() == (b"", "application/octet-stream")
