"""The client against the double: patience, never a second effect, errors that say what to do."""

from __future__ import annotations

import email.utils
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from mawasu.errors import CancelledError, PlatformError, UsageError
from mawasu.google import client as room
from mawasu.google.call import Call
from mawasu.google.client import TRIES, Client, LostError
from mawasu.google.faults import ConflictError, GoogleError, NotFoundError
from mawasu.google.operations import wait_for
from tests.google.conftest import FIRST_WAIT
from tests.google.double.core import Double, Request, refuse

RUN, SECRETS = "run.googleapis.com", "secretmanager.googleapis.com"
PARENT = "projects/acme/locations/europe-west1"
LOOK = Call("GET", RUN, f"/v2/{PARENT}/services/x")
MAKE = Call("POST", SECRETS, "/v1/projects/acme/secrets", {"secretId": "s"}, {"replication": {"automatic": {}}})
MAKE_AGAIN = Call(MAKE.method, MAKE.host, MAKE.path, MAKE.query, MAKE.body, again=True)


BARE = True  # the double without its services: these tests bring what they need


@pytest.fixture(autouse=True)
def services(double: Double) -> dict[str, Any]:
    double.kit(SECRETS, "secretmanager.projects.secrets")
    found = double.kit(RUN, "run.projects.locations.services")
    found.put(f"{PARENT}/services/x", {})
    items: dict[str, Any] = found.items
    return items


# ---------------------------------------------------------------------------------------------------- again


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_look_is_sent_again_after_a_fault_that_passes(double: Double, client: Client, status: int) -> None:
    double.faults.fail(RUN, status=status, times=3)
    assert client.send(LOOK)["name"]
    assert len(double.requests) == 4


@pytest.mark.parametrize("status", [400, 403, 404, 409, 412, 501])
def test_a_fault_that_stays_is_told_at_once(double: Double, client: Client, status: int) -> None:
    double.faults.fail(RUN, status=status)
    with pytest.raises(GoogleError) as caught:
        client.send(LOOK)
    assert caught.value.status == status
    assert len(double.requests) == 1


def test_patience_ends(double: Double, client: Client) -> None:
    double.faults.fail(RUN, status=503, times=TRIES)
    with pytest.raises(GoogleError, match="unavailable") as caught:
        client.send(LOOK)
    assert "run it again later" in caught.value.hint
    assert len(double.requests) == TRIES


def test_a_quota_that_is_spent_for_a_moment_holds_up_every_call(double: Double, client: Client) -> None:
    double.faults.quota(SECRETS, times=2)
    assert client.send(MAKE)["name"] == "projects/acme/secrets/s"


def test_a_server_may_say_how_long_to_wait(double: Double, client: Client) -> None:
    double.faults.fail(RUN, status=429, retry_after="1")
    began = time.monotonic()
    client.send(LOOK)
    assert time.monotonic() - began >= 1


def test_retry_after_is_seconds_or_a_date() -> None:
    soon = email.utils.format_datetime(email.utils.localtime().fromtimestamp(time.time() + 10).astimezone())
    assert 8 < room._asked(soon) <= 10
    assert room._asked("7") == 7
    assert room._asked("100000") == room.LONGEST_WAIT
    assert room._asked("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert room._asked("") == room._asked("soon") == room._asked("-1") == 0


def test_what_may_have_acted_is_not_sent_again(double: Double, client: Client) -> None:
    double.faults.fail(SECRETS, status=503)
    with pytest.raises(GoogleError):
        client.send(MAKE)
    double.faults.cut_after_effect(SECRETS)
    with pytest.raises(LostError, match="the answer was lost") as caught:
        client.send(MAKE)
    assert "run it again" in caught.value.hint
    assert len(double.seen("create")) == 2
    assert client.find(Call("GET", SECRETS, "/v1/projects/acme/secrets/s"))  # it had acted


def test_a_call_that_names_what_it_makes_finds_it_there_the_second_time(double: Double, client: Client) -> None:
    double.faults.cut_after_effect(SECRETS)
    with pytest.raises(ConflictError):
        client.send(MAKE_AGAIN)
    assert len(double.seen("create")) == 2


def test_a_cut_before_the_effect_does_not_matter_then(double: Double, client: Client) -> None:
    double.faults.cut_before_effect(SECRETS, times=2)
    assert client.send(MAKE_AGAIN)["name"]


def test_a_change_is_sent_once_unless_it_says_otherwise(double: Double, client: Client) -> None:
    client.send(MAKE)
    path, query, body = "/v1/projects/acme/secrets/s", {"updateMask": "labels"}, {"labels": {"a": "b"}}
    double.faults.cut_before_effect(SECRETS, "PATCH", times=2)
    with pytest.raises(LostError):
        client.send(Call("PATCH", SECRETS, path, query, body))
    assert client.send(Call("PATCH", SECRETS, path, query, body, again=True))["labels"] == {"a": "b"}


def test_a_deletion_whose_answer_was_lost_finds_nothing(double: Double, client: Client) -> None:
    client.send(MAKE)
    double.faults.cut_after_effect(SECRETS, "DELETE")
    assert client.find(Call("DELETE", SECRETS, "/v1/projects/acme/secrets/s")) is None


def test_half_an_answer_is_asked_for_again(double: Double, client: Client) -> None:
    double.faults.cut_inside_answer(RUN)
    assert client.send(LOOK)["name"]


def test_nobody_at_home_is_told(double: Double) -> None:
    with Double() as gone:
        url = gone.url
    with (
        Client(endpoint=url, first_wait=0.001) as lonely,
        pytest.raises(PlatformError, match="cannot connect") as caught,
    ):
        lonely.send(MAKE)
    assert not isinstance(caught.value, LostError)
    assert "network" in caught.value.hint


# ---------------------------------------------------------------------------------------------------- giving up


def test_giving_up_ends_the_wait(double: Double, client: Client) -> None:
    double.faults.fail(RUN, status=503, retry_after="30")
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    began = time.monotonic()
    with pytest.raises(CancelledError):
        client.send(LOOK, stop)
    assert time.monotonic() - began < 10


def test_what_was_given_up_before_it_began_is_not_sent(double: Double, client: Client) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(CancelledError):
        client.send(LOOK, stop)
    assert double.requests == []


# ---------------------------------------------------------------------------------------------------- many threads


def test_many_threads_share_one_token_and_one_transport(double: Double) -> None:
    with Client(first_wait=FIRST_WAIT) as fresh:
        together = threading.Barrier(10)

        def first(_: int) -> int:
            together.wait()
            fresh.send(LOOK)
            return id(fresh.http)

        with ThreadPoolExecutor(10) as pool:
            assert len(set(pool.map(first, range(10)))) == 1
    assert double.identity.asked == ["jwt-bearer"]


def test_forty_looks_at_once_take_no_time(double: Double, client: Client) -> None:
    client.send(LOOK)
    began = time.monotonic()
    with ThreadPoolExecutor(40) as pool:
        list(pool.map(client.send, [LOOK] * 40))
    assert time.monotonic() - began < 0.8


def test_a_token_that_is_no_good_any_more_is_renewed_once_for_all(double: Double, client: Client) -> None:
    client.send(LOOK)
    double.identity.revoke()
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(client.send, [LOOK] * 10))
    assert double.identity.asked == ["jwt-bearer"] * 2


def test_a_new_token_that_is_no_good_either_is_the_end(double: Double, client: Client) -> None:
    double.faults.fail(RUN, status=401, times=2)
    with pytest.raises(GoogleError) as caught:
        client.send(LOOK)
    assert (caught.value.status, len(double.requests)) == (401, 2)
    assert "gcloud auth application-default login" in caught.value.hint


# ---------------------------------------------------------------------------------------------------- answers


def test_pages_are_read_to_the_end(double: Double, client: Client) -> None:
    for number in range(7):
        client.send(Call(MAKE.method, SECRETS, MAKE.path, {"secretId": f"s{number}"}, MAKE.body))
    found = list(client.pages(Call("GET", SECRETS, MAKE.path, {"pageSize": "3"}), "secrets"))
    assert len(found) == 7
    assert len(double.seen("list")) == 3


def test_a_web_page_in_place_of_an_answer_is_told_as_one(double: Double, client: Client) -> None:
    page = "<!DOCTYPE html><html><head><title>502 Bad Gateway &amp; more</title></head><body>…</body></html>"
    double.faults.fail(RUN, status=502, html=page, times=TRIES)
    with pytest.raises(GoogleError) as caught:
        client.send(LOOK)
    assert str(caught.value).count("<") == 0
    assert "a web page came instead of an answer (502 Bad Gateway & more)" in caught.value.message
    double.faults.fail(RUN, status=200, html=page)
    with pytest.raises(PlatformError, match="not JSON") as other:
        client.send(LOOK)
    assert "proxy" in other.value.hint


def test_a_redirect_is_not_followed(double: Double, client: Client) -> None:
    double.faults.fail(RUN, status=302, html="<title>Sign in to the hotel's network</title>")
    with pytest.raises(GoogleError, match="hotel") as caught:
        client.send(LOOK)
    assert "proxy" in caught.value.hint
    assert len(double.requests) == 1


def test_an_empty_answer_is_an_empty_object(double: Double, client: Client) -> None:
    double.faults.fail(RUN, status=204, html=" ")
    assert client.request(LOOK).status_code == 204
    client.send(MAKE)
    assert client.send(Call("DELETE", SECRETS, "/v1/projects/acme/secrets/s")) == {}


def test_a_body_made_anew_goes_with_each_attempt(double: Double, client: Client) -> None:
    made: list[int] = []

    def body() -> Any:
        made.append(1)
        return iter([json.dumps(MAKE.body).encode()])

    double.faults.fail(SECRETS, status=503, times=2)
    client.request(MAKE_AGAIN, content=body, headers={"content-type": "application/json"})
    assert len(made) == 3


def test_a_streamed_answer_is_read_by_its_caller(double: Double, client: Client) -> None:
    double.faults.fail(RUN, status=503, times=2)
    answer = client.request(LOOK, stream=True)
    assert json.loads(b"".join(answer.iter_bytes()))["name"]
    answer.close()
    double.faults.fail(RUN, status=404)
    with pytest.raises(NotFoundError):
        client.request(LOOK, stream=True)


def test_statuses_may_be_fine_that_are_no_success(double: Double, client: Client) -> None:
    double.faults.fail(RUN, status=308)
    assert client.request(LOOK, fine=lambda status: status in (200, 308)).status_code == 308


# ---------------------------------------------------------------------------------------------------- surroundings


def test_an_endpoint_is_a_url() -> None:
    with pytest.raises(UsageError, match="MAWASU_GOOGLE_ENDPOINT is 'localhost:1'"):
        Client(endpoint="localhost:1")


def test_without_an_endpoint_it_is_google_itself(monkeypatch: pytest.MonkeyPatch, double: Double) -> None:
    with Double() as gone:
        dead = gone.url
    monkeypatch.setenv("HTTPS_PROXY", dead)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Client(endpoint="", first_wait=0.001) as real, pytest.raises(PlatformError, match="cannot connect") as caught:
        real.send(LOOK)
    assert "proxy" in caught.value.hint


def test_a_proxy_that_is_no_url_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "telnet://x:1")
    with pytest.raises(PlatformError, match="HTTPS_PROXY"):
        Client(endpoint="").send(LOOK)


def test_a_proxy_that_refuses_has_not_acted(monkeypatch: pytest.MonkeyPatch, double: Double) -> None:
    """The double is no proxy: it answers CONNECT with 501, as a proxy does that wants none of it."""
    monkeypatch.setenv("HTTPS_PROXY", double.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Client(endpoint="", first_wait=0.001) as behind, pytest.raises(PlatformError, match="cannot connect"):
        behind.send(MAKE)


def test_making_a_client_touches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    Client(endpoint="http://127.0.0.1:1").close()


# ---------------------------------------------------------------------------------------------------- operations


def test_an_operation_that_takes_too_long_is_told_by_its_name(double: Double, client: Client) -> None:
    begun = double.operation(RUN, "v2", PARENT, dict, polls=10**6)
    with pytest.raises(PlatformError, match=r"operations/op-[0-9]+ is not done after 0 s"):
        wait_for(client, RUN, "v2", begun, timeout=0.05, first=0.001)


def test_waiting_for_an_operation_may_be_given_up(double: Double, client: Client) -> None:
    begun = double.operation(RUN, "v2", PARENT, dict, polls=10**6)
    stop = threading.Event()
    threading.Timer(0.05, stop.set).start()
    with pytest.raises(CancelledError, match="waiting for"):
        wait_for(client, RUN, "v2", begun, first=60, cancel=stop)


def test_a_fault_while_waiting_does_not_end_the_wait(double: Double, client: Client) -> None:
    double.faults.fail(RUN, status=503, times=2)
    double.faults.cut_after_effect(RUN, "run.projects.locations.operations.get")
    begun = double.operation(RUN, "v2", PARENT, lambda: {"name": "x"})
    assert wait_for(client, RUN, "v2", begun, first=0.001) == {"name": "x"}


@pytest.mark.parametrize(("status", "kind"), [(404, NotFoundError), (409, ConflictError), (403, GoogleError)])
def test_an_operations_error_is_what_it_would_be_as_an_answer(
    double: Double, client: Client, status: int, kind: type[GoogleError]
) -> None:
    def work() -> dict[str, Any]:
        raise refuse(status, "Permission 'run.services.create' denied on resource 'projects/acme'.")

    begun = double.operation(RUN, "v2", PARENT, work)
    with pytest.raises(kind) as caught:
        wait_for(client, RUN, "v2", begun, first=0.001)
    assert caught.value.status == status
    assert ("roles/run.admin" in caught.value.hint) == (status == 403)


def test_an_operation_that_is_done_is_not_asked_about(double: Double, client: Client) -> None:
    assert wait_for(client, RUN, "v2", {"name": "x", "done": True}) == {}
    assert double.requests == []


def test_headers_of_the_caller_go_along(double: Double, client: Client) -> None:
    @double.route(RUN, "run.projects.locations.services.get")
    def get(request: Request) -> dict[str, Any]:
        return {"description": request.raw.headers["x-goog-request-reason"]}

    answer = client.request(LOOK, headers={"x-goog-request-reason": "test"})
    assert isinstance(answer, httpx.Response)
    assert answer.json() == {"description": "test"}
