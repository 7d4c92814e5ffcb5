"""Storage behind the double: fake-gcs-server's own behaviour, and what the double adds to it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from mawasu.google.call import Call
from mawasu.google.client import Client
from mawasu.google.faults import ConflictError, GoogleError
from tests.google.double.core import Double
from tests.google.double.storage import Storage
from tests.google.double.uploads import PIECE

HOST = "storage.googleapis.com"


BARE = True  # the double without its services: these tests bring what they need


def put(client: Client, bucket: str, name: str, data: bytes, **query: str) -> Any:
    asked = {"uploadType": "media", "name": name, **query}
    call = Call("POST", HOST, f"/upload/storage/v1/b/{bucket}/o", asked)
    return client.request(call, content=data, headers={"content-type": "text/plain"}).json()


def place(bucket: str, name: str) -> str:
    return f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}"


def read(client: Client, bucket: str, name: str) -> bytes:
    return client.request(Call("GET", HOST, place(bucket, name), {"alt": "media"})).content


def begin(client: Client, bucket: str, name: str, about: dict[str, Any] | None = None, **query: str) -> str:
    call = Call("POST", HOST, f"/upload/storage/v1/b/{bucket}/o", {"uploadType": "resumable", "name": name, **query})
    content = json.dumps(about or {}).encode()
    answer = client.request(call, content=content, headers={"content-type": "application/json"})
    return str(answer.headers["location"])


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client() as made:
        yield made


def test_an_object_is_written_once(client: Client, bucket: str) -> None:
    made = put(client, bucket, "ledger/1", b"one", ifGenerationMatch="0")
    with pytest.raises(ConflictError) as caught:
        put(client, bucket, "ledger/1", b"two", ifGenerationMatch="0")
    assert caught.value.status == 412
    assert read(client, bucket, "ledger/1") == b"one"
    put(client, bucket, "ledger/1", b"three", ifGenerationMatch=made["generation"])
    assert read(client, bucket, "ledger/1") == b"three"


def test_a_list_has_pages_prefixes_and_only_the_fields_asked_for(client: Client, bucket: str) -> None:
    for name in ("a/1", "a/2", "b/1"):
        put(client, bucket, name, b"x")
    call = Call(
        "GET", HOST, f"/storage/v1/b/{bucket}/o", {"maxResults": "1", "fields": "items(name,size),nextPageToken"}
    )
    assert list(client.pages(call, "items")) == [{"name": name, "size": "1"} for name in ("a/1", "a/2", "b/1")]
    call = Call("GET", HOST, f"/storage/v1/b/{bucket}/o", {"delimiter": "/"})
    assert client.send(call)["prefixes"] == ["a/", "b/"]


def test_a_resumable_upload_comes_in_chunks_and_tells_how_far_it_is(
    double: Double, client: Client, bucket: str, http: httpx.Client
) -> None:
    data = os.urandom(PIECE + 10)
    session = begin(client, bucket, "r", {"metadata": {"k": "v"}})
    assert session.startswith(f"{double.url}/{HOST}/upload/")
    assert http.put(session, headers={"content-range": "bytes */*"}).status_code == 308
    first = http.put(session, content=data[:PIECE], headers={"content-range": f"bytes 0-{PIECE - 1}/*"})
    assert (first.status_code, first.headers["range"]) == (308, f"bytes=0-{PIECE - 1}")
    asked = http.put(session, headers={"content-range": f"bytes */{len(data)}"})
    assert (asked.status_code, asked.headers["range"]) == (308, f"bytes=0-{PIECE - 1}")
    rest = {"content-range": f"bytes {PIECE}-{len(data) - 1}/{len(data)}"}
    done = http.put(session, content=data[PIECE:], headers=rest)
    assert done.json()["metadata"] == {"k": "v"}
    assert (
        http.put(session, headers={"content-range": "bytes */*"}).json() == done.json()
    )  # a lost answer is told again
    assert read(client, bucket, "r") == data


def test_chunks_that_google_would_not_take_are_refused(client: Client, bucket: str, http: httpx.Client) -> None:
    session = begin(client, bucket, "r")
    small = http.put(session, content=b"x", headers={"content-range": "bytes 0-0/*"})
    gap = http.put(session, content=b"x", headers={"content-range": "bytes 5-5/6"})
    short = http.put(session, content=b"x", headers={"content-range": "bytes 0-5/6"})
    assert [small.status_code, gap.status_code, short.status_code] == [400] * 3


def test_an_empty_object_may_be_uploaded_so_too(client: Client, bucket: str, http: httpx.Client) -> None:
    session = begin(client, bucket, "empty")
    assert http.put(session, content=b"").json()["size"] == "0"


def test_an_upload_that_was_given_up_is_gone(client: Client, bucket: str, http: httpx.Client) -> None:
    session = begin(client, bucket, "r")
    assert http.delete(session).status_code == 499
    assert http.put(session, content=b"x").status_code == 499
    assert client.find(Call("GET", HOST, place(bucket, "r"))) is None


def test_a_precondition_is_looked_at_when_the_upload_ends(client: Client, bucket: str, http: httpx.Client) -> None:
    session = begin(client, bucket, "r", ifGenerationMatch="0")
    put(client, bucket, "r", b"first")
    assert http.put(session, content=b"second").status_code == 412
    assert read(client, bucket, "r") == b"first"


def test_a_stream_may_be_uploaded(client: Client, bucket: str, http: httpx.Client) -> None:
    session = begin(client, bucket, "r")
    assert http.put(session, content=iter([b"a" * 70000, b"b"])).json()["size"] == "70001"


def test_a_cut_upload_goes_on_where_it_was(double: Double, client: Client, bucket: str, http: httpx.Client) -> None:
    data = os.urandom(2 * PIECE)
    session = begin(client, bucket, "r")
    double.faults.cut_after_effect(HOST, "PUT")
    with pytest.raises(httpx.RemoteProtocolError):
        http.put(session, content=data[:PIECE], headers={"content-range": f"bytes 0-{PIECE - 1}/{len(data)}"})
    asked = http.put(session, headers={"content-range": f"bytes */{len(data)}"})
    assert asked.headers["range"] == f"bytes=0-{PIECE - 1}"
    http.put(session, content=data[PIECE:], headers={"content-range": f"bytes {PIECE}-{len(data) - 1}/{len(data)}"})
    assert read(client, bucket, "r") == data


def test_bytes_that_are_not_those_announced_are_refused(client: Client, bucket: str, http: httpx.Client) -> None:
    md5 = base64.b64encode(hashlib.md5(b"right").digest()).decode()
    assert http.put(begin(client, bucket, "r", {"md5Hash": md5}), content=b"wrong").status_code == 400
    assert client.find(Call("GET", HOST, place(bucket, "r"))) is None
    assert http.put(begin(client, bucket, "r", {"md5Hash": md5}), content=b"right").status_code == 200


def test_a_multipart_upload_is_checked_and_stored(double: Double, client: Client, bucket: str) -> None:
    def send(about: dict[str, Any]) -> httpx.Response:
        part = b"--x\r\ncontent-type: application/json\r\n\r\n%b\r\n--x\r\ncontent-type: text/plain\r\n\r\nhi\r\n--x--"
        call = Call("POST", HOST, f"/upload/storage/v1/b/{bucket}/o", {"uploadType": "multipart"})
        kind = {"content-type": "multipart/related; boundary=x"}
        return client.request(call, content=part % json.dumps(about).encode(), headers=kind)

    assert send({"name": "m", "metadata": {"a": "b"}}).json()["metadata"] == {"a": "b"}
    assert read(client, bucket, "m") == b"hi"
    with pytest.raises(GoogleError, match="metdata"):
        send({"name": "m", "metdata": {"a": "b"}})
    double.violations.clear()


def test_a_big_object_is_streamed_both_ways(client: Client, bucket: str, http: httpx.Client) -> None:
    data = os.urandom(9 * 2**20)
    http.put(begin(client, bucket, "big"), content=data)
    answer = client.request(Call("GET", HOST, place(bucket, "big"), {"alt": "media"}), stream=True)
    assert b"".join(answer.iter_bytes()) == data
    answer.close()


def test_a_copy_is_made_on_the_servers_side(client: Client, bucket: str) -> None:
    put(client, bucket, "a", b"x")
    path = f"{place(bucket, 'a')}/rewriteTo/b/{bucket}/o/{quote('b/c', safe='')}"
    assert client.send(Call("POST", HOST, path, {"ifGenerationMatch": "0"}, again=True))["done"]
    assert read(client, bucket, "b/c") == b"x"
    with pytest.raises(ConflictError):
        client.send(Call("POST", HOST, path, {"ifGenerationMatch": "0"}))


def test_a_buckets_settings_are_kept(client: Client, bucket: str) -> None:
    rule = {"action": {"type": "Delete"}, "condition": {"age": 7, "matchesPrefix": ["jobs/"]}}
    changed = {"labels": {"managed-by": "mawasu"}, "lifecycle": {"rule": [rule]}, "versioning": {"enabled": True}}
    client.send(Call("PATCH", HOST, f"/storage/v1/b/{bucket}", body=changed, again=True))
    client.send(Call("PATCH", HOST, f"/storage/v1/b/{bucket}", body={"labels": {"managed-by": None}}, again=True))
    found = client.send(Call("GET", HOST, f"/storage/v1/b/{bucket}"))
    assert (found["lifecycle"], found["labels"], found["metageneration"]) == ({"rule": [rule]}, {}, "3")
    (listed,) = client.pages(Call("GET", HOST, "/storage/v1/b", {"project": "acme"}), "items")
    assert listed == found


def test_a_buckets_policy_is_not_wrapped(client: Client, bucket: str) -> None:
    path = f"/storage/v1/b/{bucket}/iam"
    now = client.send(Call("GET", HOST, path, {"optionsRequestedPolicyVersion": "3"}))
    bindings = [{"role": "roles/storage.objectUser", "members": ["user:ann@example.com"]}]
    client.send(Call("PUT", HOST, path, body={**now, "bindings": bindings}))
    with pytest.raises(ConflictError) as caught:
        client.send(Call("PUT", HOST, path, body={**now, "bindings": []}))
    assert caught.value.status == 412


def test_a_request_to_storage_is_checked_as_well(double: Double, client: Client, bucket: str) -> None:
    with pytest.raises(GoogleError, match="maxResult"):
        client.send(Call("GET", HOST, f"/storage/v1/b/{bucket}/o", {"maxResult": "1"}))
    assert len(double.violations) == 1
    double.violations.clear()


def test_no_process_is_left(double: Double) -> None:
    running = Storage(double).start()
    assert running.pid
    pid = running.pid
    running.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
