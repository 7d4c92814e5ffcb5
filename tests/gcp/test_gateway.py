"""The gateway of a feature on Google Cloud: what is asked of Google, in which order, and what a cut-off leaves."""

from __future__ import annotations

import msgspec
import pytest

from mawasu.cli import keys
from mawasu.errors import PlatformError, SpecError, UsageError
from mawasu.gateway import espv2
from mawasu.google.call import Call
from mawasu.google.client import Client, LostError
from mawasu.google.faults import GoogleError
from mawasu.words import Endpoint, Share, Split, Unit
from tests.gcp.gateway_world import FEATURE, HOST, NAME, RUN, World, api, environ, world
from tests.google.conftest import client, double, gcs  # noqa: F401 -- fixtures
from tests.google.double import servicemanagement
from tests.google.double.core import Double
from tests.google.double.storage import Storage

KEY: list[object] = [{"key": []}]
OPEN: list[object] = []


@pytest.fixture
def google(double: Double, client: Client, gcs: Storage) -> World:  # noqa: F811
    made = world(double, client)
    for name in (made.cloud.bucket, made.cloud.published):
        client.send(Call("POST", "storage.googleapis.com", "/storage/v1/b", {"project": "acme"}, {"name": name}))
    return made


def test_the_first_switch_reserves_the_host_and_serves_every_site(google: World) -> None:
    gateway = google.gateway()
    gateway.switch([api(x=KEY), api("staging", x=KEY, y=OPEN)])
    assert gateway.url == f"https://{HOST}"
    assert list(google.served["paths"]) == [
        f"/{FEATURE}/production/x",
        f"/{FEATURE}/staging/x",
        f"/{FEATURE}/staging/y",
    ]
    service = google.services[NAME]
    assert service["invokerIamDisabled"] is True
    assert service["template"]["serviceAccount"] == "mawasu-gateway@acme.iam.gserviceaccount.com"
    assert service["labels"]["managed-by"] == "mawasu"
    assert google.managed.enabled
    assert google.managed.rollouts[-1]["trafficPercentStrategy"] == {"percentages": {"2026-11-23r0": 100}}


def test_a_gateway_without_a_switch_has_no_address(google: World) -> None:
    with pytest.raises(PlatformError, match="has no gateway yet"):
        _ = google.gateway().url


def test_the_order_is_a_candidate_then_the_apis_then_the_gateway(google: World) -> None:
    google.gateway().switch([api(x=KEY)])
    google.events.clear()
    google.gateway().switch([api(x=KEY), api("staging", y=KEY)])
    revision = google.services[NAME]["template"]["revision"]
    assert google.events[-3:] == ["production r1", "staging r1", f"gateway {revision}"]
    prepared, taken = (one.body["traffic"] for one in google.double.seen("services.patch")[-2:])
    assert [one["percent"] for one in prepared] == [100, 0]
    assert prepared[1]["revision"] == revision
    assert [(one["revision"], one["percent"]) for one in taken] == [(revision, 100)]


def test_an_unchanged_document_submits_nothing_and_still_promotes(google: World) -> None:
    google.gateway().switch([api(x=KEY)])
    google.double.requests.clear()
    google.events.clear()
    google.gateway().switch([api(x=KEY)])
    assert not [one for one in google.double.requests if one.method != "GET"]
    assert google.events == ["production r1"]


def test_a_revert_takes_the_old_configuration_up_again(google: World) -> None:
    for site in (api(x=KEY), api(y=KEY), api(x=KEY)):
        google.gateway().switch([site])
    assert len(google.managed.configs) == 2
    assert list(google.served["paths"]) == [f"/{FEATURE}/production/x"]
    rolled = [list(one["trafficPercentStrategy"]["percentages"]) for one in google.managed.rollouts]
    assert rolled == [["2026-11-23r0"], ["2026-11-23r1"], ["2026-11-23r0"]]


def test_an_environment_that_is_gone_is_no_longer_served_and_the_last_takes_the_gateway_along(google: World) -> None:
    google.gateway().switch([api(x=KEY), api("staging", x=KEY)])
    google.gateway().switch([api(x=KEY)])
    assert list(google.served["paths"]) == [f"/{FEATURE}/production/x"]
    google.gateway().switch([])
    assert not google.services
    google.gateway().switch([])


def test_a_faulty_document_changes_nothing(google: World) -> None:
    with pytest.raises(SpecError, match="with or without credentials"):
        google.gateway().switch([api(x=[{"key": []}, {}])])
    assert not google.double.requests[-1].id.startswith("run")
    assert not google.services


def test_a_split_is_refused_before_anything_is_made(google: World) -> None:
    split = Split(Unit("consumer"), "salt", (Share(Endpoint("r2"), 2000),))
    with pytest.raises(PlatformError, match="cannot split"):
        google.gateway().switch([msgspec.structs.replace(api(x=KEY), split=split)])
    assert google.services == {}


def test_what_endpoints_says_is_shown_and_an_error_of_it_stops_the_switch(
    google: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    google.gateway().switch([api(x=KEY)])
    before = google.services[NAME]["traffic"]
    where = f"openapi.json: Operation 'get' in path '/{FEATURE}/production/y'"
    found = [
        {"kind": "WARNING", "location": where, "message": "is odd"},
        {"kind": "ERROR", "location": where, "message": "is wrong"},
    ]
    monkeypatch.setattr(servicemanagement, "diagnostics", lambda *_: found)
    with pytest.raises(SpecError) as caught:
        google.gateway().switch([api(y=KEY)])
    assert [str(fault) for fault in caught.value.faults] == [f"auth/openapi.yaml: {where}: is wrong"]
    assert google.said[-2:] == [f"warning: auth/openapi.yaml: {where}: is odd", f"error: {caught.value.faults[0]}"]
    assert google.services[NAME]["traffic"] == before


def test_open_operations_are_shown_as_endpoints_warns_of_them(google: World) -> None:
    google.gateway().switch([api(x=OPEN)])
    assert any(line.startswith("warning: auth/openapi.yaml: ") for line in google.said)


def test_a_service_that_was_deleted_is_undeleted(google: World) -> None:
    google.gateway().switch([api(x=KEY)])
    google.managed.deleted = True
    google.gateway().switch([api(x=KEY)])
    assert google.double.seen("services.undelete")
    assert not google.managed.deleted


WRITES = (
    "run.projects.locations.services.create",
    "run.projects.locations.services.patch",
    "servicemanagement.services.create",
    "servicemanagement.services.configs.submit",
    "servicemanagement.services.rollouts.create",
    "serviceusage.services.enable",
)


@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize("after", [True, False])
def test_a_lost_answer_is_made_good_by_running_it_again(google: World, method: str, after: bool) -> None:
    cut = google.double.faults.cut_after_effect if after else google.double.faults.cut_before_effect
    cut("*", method, times=1)
    try:
        google.gateway().switch([api(x=KEY)])
    except LostError:
        google.double.settle()
        google.gateway().switch([api(x=KEY)])
    assert list(google.served["paths"]) == [f"/{FEATURE}/production/x"]
    assert len(google.managed.configs) == 1
    assert google.managed.enabled


def test_a_revision_that_does_not_start_gets_no_traffic(google: World) -> None:
    google.gateway().switch([api(x=KEY)])
    before = google.services[NAME]["traffic"]
    documents = google.managed.documents

    class Forgetful(dict[str, object]):
        def __contains__(self, key: object) -> bool:
            return key in documents

    google.managed.documents = Forgetful()  # type: ignore[assignment]
    with pytest.raises(PlatformError, match="does not start: it exited"):
        google.gateway().switch([api(y=KEY)])
    (with_traffic,) = [one for one in google.services[NAME]["traffic"] if one["percent"]]
    assert with_traffic["revision"] == before[0]["revision"]
    assert "production r1" not in google.events[-1:]


def test_two_builds_at_once_do_not_overwrite_each_other(google: World) -> None:
    google.gateway().switch([api(x=KEY)])
    google.double.faults.fail(RUN, "run.projects.locations.services.patch", status=409)
    with pytest.raises(PlatformError, match="another build changed the gateway"):
        google.gateway().switch([api(y=KEY)])
    google.gateway().switch([api(y=KEY)])
    assert list(google.served["paths"]) == [f"/{FEATURE}/production/y"]


def test_a_missing_right_is_said_with_the_role_that_gives_it(google: World) -> None:
    google.double.faults.deny("servicemanagement.googleapis.com", "servicemanagement.services.create", HOST)
    with pytest.raises(GoogleError, match=r"roles/servicemanagement\.admin"):
        google.gateway().switch([api(x=KEY)])


def test_espv2_is_told_its_configuration_its_origins_and_to_forget_revoked_keys(google: World) -> None:
    google.gateway(cors=("https://a.example", 'https://b".example,++')).switch([api(x=KEY)])
    told = environ(google.services[NAME]["template"])
    assert told["ENDPOINTS_SERVICE_NAME"] == HOST
    assert told["ENDPOINTS_SERVICE_VERSION"] == "2026-11-23r0"
    arguments = espv2.unescaped(told["ESPv2_ARGS"])
    assert '--cors_allow_origin_regex=^(https://a\\.example|https://b"\\.example,\\+\\+)$' in arguments
    assert {"--jwks_cache_duration_in_s=60", "--jwt_cache_size=0"} <= set(arguments)


def test_keys_that_open_the_feature_are_published_and_nothing_else_of_them(google: World) -> None:
    google.gateway().switch([api(x=KEY)])
    assert google.key_set == ["nobody"]
    mine, token = google.ring.create("shop", [f"{FEATURE}/production"])
    everything, _ = google.ring.create("office", ["*"])
    google.ring.create("other", ["pricing/*"])
    assert google.key_set == sorted([mine.id, everything.id])
    assert [key.consumer for key in google.ring.list()] == ["shop", "office", "other"]
    google.ring.revoke(mine.id)
    assert google.key_set == [everything.id]
    written = [one for one in google.double.seen("storage.objects.insert") if "mawasu-keys" in one.path]
    assert {one.body["cacheControl"] for one in written} == {"no-store"}
    assert token not in str(google.double.requests)
    assert "shop" not in str([one.body for one in written])


def test_mawasu_keys_works_on_the_records_of_a_project(google: World, capsys: pytest.CaptureFixture[str]) -> None:
    google.gateway().switch([api(x=KEY)])
    at = f"gs://{google.cloud.bucket}"
    keys.create("shop", [f"{FEATURE}/production"], None, at, as_json=False)
    token, note = capsys.readouterr()
    assert len(token.strip().split(".")) == 3
    assert "within 60 s" in note
    (made,) = google.ring.list()
    keys.list_keys(at, as_json=False)
    assert made.id in capsys.readouterr().out
    keys.revoke(made.id, at, as_json=False)
    assert (google.ring.list(), google.key_set) == ([], ["nobody"])
    with pytest.raises(UsageError, match="no API key"):
        keys.revoke(made.id, at, as_json=False)


def test_keys_made_at_the_same_time_are_all_published(google: World) -> None:
    from concurrent.futures import ThreadPoolExecutor

    google.gateway().switch([api(x=KEY)])
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda n: google.ring.create(f"c{n}", ["*"])[0].id, range(6)))
    assert google.key_set == sorted(made)


def test_googles_own_keys_publish_nothing(google: World) -> None:
    google.gateway(keys="google").switch([api(x=KEY)])
    assert google.served["securityDefinitions"]["key"] == {"type": "apiKey", "in": "header", "name": "x-api-key"}
    assert not google.double.seen("storage.objects.insert")
