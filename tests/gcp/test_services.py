"""Services on Google Cloud through the front door: `GcpServices` on the double, whose revisions really run."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from mawasu.errors import BlockedError, CancelledError, PlatformError, StepError
from mawasu.executor.candidate import check_examples
from mawasu.google.call import Call
from mawasu.spec.examples import parse_examples
from mawasu.spec.feature import GcpApi
from mawasu.words import Handler, Health, Resources, digest_of
from tests.gcp.floor import CLOUD, PARENT, RUN, Floor, Lines, a_floor, eventually
from tests.google.double.core import Request

BUILD = "serviceAccount:mawasu-build@acme.iam.gserviceaccount.com"
GATEWAY = "serviceAccount:mawasu-gateway@acme.iam.gserviceaccount.com"

PYTHON = """
import http.server, json, os
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = json.dumps([self.path, os.environ.get("MAWASU_MODEL", "none")]).encode()
        self.send_response(200); self.send_header("content-length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.do_GET()
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""

NODE = """
require('http').createServer((request, response) => {
  if (request.url === '/healthz') return response.end('fine');
  response.end(JSON.stringify([request.url, process.env.MAWASU_MODEL || 'none']));
}).listen(process.env.PORT, '127.0.0.1');
"""

LANGUAGES = {"python3": PYTHON, "node": NODE}


@pytest.fixture
def floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Floor]:
    with a_floor(tmp_path, monkeypatch) as made:
        yield made


def test_the_first_release_answers_with_its_code_and_its_model(floor: Floor) -> None:
    spec = floor.spec(model=floor.model("forty-two"))
    endpoint = floor.deploy(spec)
    assert floor.served(endpoint) == "forty-two"
    assert floor.traffic() == {spec.revision: (100, True)}
    assert floor.objects(f"services/late--production/{spec.revision}/") == [
        "code/f/",
        "code/f/api/handler.py",
        "model/says",
        "worker.py",
    ]


def test_a_candidate_is_asked_while_the_other_serves(floor: Floor) -> None:
    old, new = floor.says("old"), floor.says("new")
    served = floor.deploy(old)
    candidate = floor.start(new)
    assert floor.traffic() == {old.revision: (100, True), new.revision: (0, True)}
    assert floor.ask(candidate.url, candidate.audience, "build").json()[0] == "new"
    assert floor.served(served) == "old"
    floor.services.promote(new.revision)
    assert floor.served(served) == "new"
    assert floor.traffic() == {new.revision: (100, True), old.revision: (0, True)}
    floor.services.stop(old.revision, drain=10)
    assert floor.traffic() == {new.revision: (100, True)}


def test_a_revert_finds_its_revision_and_only_traffic_moves(floor: Floor) -> None:
    old, new = floor.says("old"), floor.says("new")
    floor.deploy(old)
    floor.deploy(new)
    floor.services.stop(old.revision, drain=10)
    before = len(floor.double.requests)
    reverted = floor.says("old")
    assert reverted.revision == old.revision
    endpoint = floor.deploy(reverted)
    assert floor.served(endpoint) == "old"
    asked = floor.double.requests[before:]
    assert not [one for one in asked if one.body and "template" in one.body]
    assert not [one for one in asked if one.host.startswith("storage") and one.method != "GET"]
    assert floor.traffic() == {old.revision: (100, True), new.revision: (0, True)}


def test_another_mawasu_makes_another_revision_of_the_same_release(floor: Floor) -> None:
    spec = floor.says("same")
    newer = floor.new_services(cloud=msgspec.structs.replace(CLOUD, runner="mawasu@sha256:newer"))
    assert newer.name(spec, 1) != spec.revision
    assert floor.services.name(spec, 2) == spec.revision


def test_a_build_that_was_cut_off_after_anything_goes_on_where_it_was(floor: Floor) -> None:
    spec = floor.says("one")
    for method in ("create", "setIamPolicy"):
        floor.double.faults.cut_after_effect(RUN, "POST", f"*{method}*" if method != "create" else "*/services")
    endpoint = floor.start(spec)
    assert floor.start(spec) == endpoint
    floor.services.grant(spec.revision)
    floor.double.faults.cut_after_effect(RUN, "PATCH", "*")
    floor.services.promote(spec.revision)
    floor.services.promote(spec.revision)
    assert floor.served(endpoint) == "one"
    assert len(floor.run.revisions) == 1


# ------------------------------------------------------------------------------------------------ who may call


def test_nobody_but_the_gateway_and_the_build_may_call(floor: Floor) -> None:
    endpoint = floor.start(floor.says("one"))
    assert floor.callers() == {BUILD}
    floor.services.grant(endpoint.revision)
    assert floor.callers() == {BUILD, GATEWAY}
    for url in (endpoint.url, endpoint.audience):
        assert httpx.post(f"{url}/predict", json={}).status_code == 403
        assert floor.ask(url, endpoint.audience, "api").status_code == 403
        assert floor.ask(url, "https://elsewhere.example").status_code == 401
        assert floor.ask(url, endpoint.audience).status_code == 200


def test_who_was_let_in_by_hand_is_shut_out_and_what_else_a_policy_says_stays(floor: Floor) -> None:
    endpoint = floor.start(floor.says("one"))
    viewer = {"role": "roles/run.viewer", "members": ["user:ann@example.com"]}
    night = {"title": "night", "expression": "request.time.getHours() > 20"}
    floor.double.policies[f"//{RUN}/{PARENT}/services/late--production"] = {
        "bindings": [
            {"role": "roles/run.invoker", "members": ["allUsers"]},
            viewer,
            {"role": "roles/run.invoker", "members": ["user:eve@example.com"], "condition": night},
        ]
    }
    floor.services.grant(endpoint.revision)
    assert floor.callers() == {BUILD, GATEWAY}
    assert viewer in floor.double.policies[f"//{RUN}/{PARENT}/services/late--production"]["bindings"]
    asked = len(floor.double.seen("setIamPolicy"))
    floor.services.grant(endpoint.revision)
    assert len(floor.double.seen("setIamPolicy")) == asked


def test_a_policy_that_another_changes_meanwhile_is_read_again(floor: Floor) -> None:
    endpoint = floor.start(floor.says("one"))
    floor.double.faults.fail(RUN, "POST", "*setIamPolicy", status=409, times=2)
    floor.services.grant(endpoint.revision)
    assert floor.callers() == {BUILD, GATEWAY}


# ------------------------------------------------------------------------------------------------ examples


def test_examples_are_asked_at_the_candidates_own_url(floor: Floor) -> None:
    floor.deploy(floor.says("old"))
    candidate = floor.start(floor.says("new"))
    log = Lines()
    answers = check_examples(candidate, EXAMPLES, log, lambda _: [], floor.client.id_token)
    assert answers["greets"][0].body == ["new", {"x": 1}]
    assert log.lines == ["example `greets`: as expected"]


def test_the_exception_behind_a_failed_example_is_found_in_cloud_logging(floor: Floor) -> None:
    spec = floor.spec("def predict(model, batch):\n    raise KeyError('month')\n")
    candidate = floor.start(spec)
    with pytest.raises(BlockedError, match="answered 500, expected 200: KeyError: 'month'"):
        check_examples(
            candidate,
            EXAMPLES,
            Lines(),
            lambda holding: floor.services.printed(spec.revision, 200, holding),
            floor.client.id_token,
        )


EXAMPLES = list(
    parse_examples(
        "- {name: greets, request: {method: POST, path: /predict, body: {x: 1}},"
        " expect: {status: 200, body: [new, {x: 1}]}}\n",
        file="examples.yaml",
    )
)


# ------------------------------------------------------------------------------------------------ failures


def test_a_candidate_that_cannot_be_imported_is_blocked_and_its_exception_named(floor: Floor) -> None:
    old = floor.says("old")
    served = floor.deploy(old)
    bad = floor.spec("import nowhere_to_be_found")
    with pytest.raises(BlockedError) as caught:
        floor.start(bad)
    assert caught.value.message.startswith(f"{bad.revision} was not ready: ")
    assert "ModuleNotFoundError: No module named 'nowhere_to_be_found'" in caught.value.message
    assert 'api/handler.py", line 1, in <module>' in caught.value.hint
    floor.services.stop(bad.revision, drain=0)
    assert floor.traffic() == {old.revision: (100, True)}
    assert floor.served(served) == "old"


def test_after_a_first_release_that_failed_the_next_one_takes_its_place(floor: Floor) -> None:
    bad = floor.spec("import nowhere_to_be_found")
    with pytest.raises(BlockedError):
        floor.start(bad)
    floor.services.stop(bad.revision, drain=0)
    assert list(floor.services.running()) == []
    good = floor.says("good")
    assert floor.served(floor.deploy(good)) == "good"
    assert floor.traffic()[good.revision] == (100, True)


def test_what_failed_is_tried_again_under_another_name(floor: Floor) -> None:
    code = "import secret_of_somebody"
    first = floor.spec(code)
    with pytest.raises(BlockedError):
        floor.start(first)
    again = floor.spec(code)
    assert again.revision != first.revision
    assert floor.spec(code).revision == again.revision


def test_a_server_that_does_not_get_healthy_is_blocked_with_the_contract_in_the_hint(floor: Floor) -> None:
    spec = floor.spec(handler=Handler(command="echo thinking; sleep 60"), resources=Resources(timeout=2))
    with pytest.raises(BlockedError) as caught:
        floor.start(spec)
    assert "was not ready: thinking" in caught.value.message
    assert caught.value.hint.startswith("`GET /healthz` on $PORT must answer 200; the end of its log:")


def test_waiting_ends_when_it_is_given_up(floor: Floor) -> None:
    spec = floor.spec("import time; time.sleep(60)")
    floor.services.start(spec, floor.log)
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        floor.services.wait_ready(spec.revision, 60, cancel)


def test_a_service_that_mawasu_did_not_make_is_left_alone(floor: Floor) -> None:
    spec = floor.says("one")
    floor.start(spec)
    name = f"{PARENT}/services/late--production"
    floor.run.services.items[name]["labels"] = {"team": "others"}
    asked = len(floor.double.seen(http="PATCH")) + len(floor.double.seen(http="DELETE"))
    with pytest.raises(PlatformError, match="was not made by mawasu"):
        floor.services.start(floor.says("two"), floor.log)
    with pytest.raises(PlatformError, match="was not made by mawasu"):
        floor.services.remove("late", "production", drain=0)
    assert len(floor.double.seen(http="PATCH")) + len(floor.double.seen(http="DELETE")) == asked


def test_what_cloud_run_does_not_have_is_refused_before_it_is_asked(floor: Floor) -> None:
    with pytest.raises(StepError, match="more than Cloud Run has beside our server"):
        floor.spec(resources=Resources(cpu=8))
    with pytest.raises(StepError, match="Cloud Run keeps the variable PORT to itself"):
        floor.spec(secrets={"PORT": "projects/acme/secrets/p/versions/latest"})
    assert floor.double.seen("services.create") == []


# ------------------------------------------------------------------------------------------------ side by side


def test_two_builds_that_change_a_service_at_once_both_succeed(floor: Floor) -> None:
    served = floor.deploy(floor.says("old"))
    specs = [floor.says(f"candidate {number}") for number in range(3)]
    threads = [threading.Thread(target=floor.services.start, args=(spec, floor.log)) for spec in specs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    traffic = floor.traffic()
    assert all(traffic[spec.revision] == (0, True) for spec in specs)
    assert floor.served(served) == "old"


def test_a_change_by_another_in_between_is_kept(floor: Floor) -> None:
    old = floor.says("old")
    floor.deploy(old)
    patch = floor.double._routes["run.projects.locations.services.patch"]
    meddled: list[str] = []

    def meddle(request: Request) -> Any:
        if not meddled:
            meddled.append("once")
            item = floor.run.services.items[f"{PARENT}/services/late--production"]
            floor.run.services.put(item["name"], {**item, "description": "a hand was here"})
        return patch(request)

    floor.double.route(RUN, "run.projects.locations.services.patch")(meddle)
    new = floor.says("new")
    floor.start(new)
    assert floor.service()["description"] == "a hand was here"
    assert floor.traffic() == {old.revision: (100, True), new.revision: (0, True)}
    assert len(floor.double.seen(http="PATCH")) == 3  # the promotion, the refused one, the same again


# ------------------------------------------------------------------------------------------------ what it is made of


def test_secrets_are_references_and_no_value_passes_through(floor: Floor) -> None:
    code = "import os\ndef predict(model, batch):\n    return [os.environ['MAPS_TOKEN'] for _ in batch]\n"
    secret = "projects/acme/secrets/mawasu-late--production--MAPS_TOKEN"
    spec = floor.spec(code, secrets={"MAPS_TOKEN": f"{secret}/versions/latest"})
    endpoint = floor.deploy(spec)
    body = floor.double.seen("services.create")[0].body
    server, worker = body["template"]["containers"]
    wanted = {"name": "MAPS_TOKEN", "valueSource": {"secretKeyRef": {"secret": secret, "version": "latest"}}}
    assert wanted in worker["env"]
    assert "MAPS_TOKEN" not in str(server)
    answer = floor.ask(endpoint.audience, endpoint.audience)
    assert answer.json() == f"value of {secret}"


@pytest.mark.parametrize("language", [language for language in LANGUAGES if shutil.which(language)])
def test_a_server_of_the_users_own_is_served(floor: Floor, language: str) -> None:
    source = floor.source({"site": LANGUAGES[language]}, root="")
    spec = floor.spec(handler=Handler(command=f"{language} site"), source=source, model=floor.model("m"))
    endpoint = floor.deploy(spec)
    answer = floor.ask(endpoint.audience, endpoint.audience, path="/a?b=1")
    assert answer.json() == ["/a?b=1", "/mawasu/files/model"]
    assert answer.headers["mawasu-release"] == spec.release


def test_links_become_the_files_they_lead_to(floor: Floor) -> None:
    spec = floor.says("linked")
    link = floor.repo.blob(b"handler.py")
    tree = msgspec.structs.replace(spec.source.tree, files={**spec.source.tree.files})
    entry = next(iter(tree.files.values()))
    files = {**tree.files, "f/api/same.py": msgspec.structs.replace(entry, mode="120000", oid=link)}
    source = msgspec.structs.replace(spec.source, tree=msgspec.structs.replace(tree, files=files))
    linked = floor.named(msgspec.structs.replace(spec, source=source, handler=Handler("api.same:predict")))
    assert floor.served(floor.deploy(linked)) == "linked"


def test_a_link_that_leads_nowhere_is_refused(floor: Floor) -> None:
    spec = floor.says("linked")
    entry = next(iter(spec.source.tree.files.values()))
    gone = msgspec.structs.replace(entry, mode="120000", oid=floor.repo.blob(b"gone.py"))
    tree = msgspec.structs.replace(spec.source.tree, files={**spec.source.tree.files, "f/here.py": gone})
    with pytest.raises(StepError, match=r"the link f/here\.py leads nowhere among the declared files"):
        floor.start(msgspec.structs.replace(spec, source=msgspec.structs.replace(spec.source, tree=tree)))


def test_only_who_has_the_traffic_is_kept_warm(floor: Floor) -> None:
    floor.services = floor.new_services(GcpApi(network="inner", subnet="south"), redis="redis://10.0.0.3:6379")
    first = floor.says("one", replicas=2, most=5)
    floor.start(first)
    assert "scaling" not in floor.service()
    template = floor.double.seen("services.create")[0].body["template"]
    assert template["scaling"] == {"maxInstanceCount": 5}
    assert template["vpcAccess"]["networkInterfaces"] == [{"network": "inner", "subnetwork": "south"}]
    server, worker = template["containers"]
    assert {"name": "MAWASU_REDIS_URL", "value": "redis://10.0.0.3:6379"} in server["env"]
    assert "MAWASU_REDIS_URL" not in [one["name"] for one in worker["env"]]  # what it writes there all would be given
    floor.services.promote(first.revision)
    assert floor.service()["scaling"] == {"minInstanceCount": 2}
    preview = floor.says("one", environment="preview-x", replicas=2, preview=True)
    floor.deploy(preview)
    assert floor.service("late--preview-x")["scaling"] == {"minInstanceCount": 0}


# ------------------------------------------------------------------------------------------------ looking, removing


def test_what_runs_is_what_has_traffic(floor: Floor) -> None:
    old, new = floor.says("old", replicas=1), floor.says("new", environment="staging")
    floor.deploy(old)
    floor.deploy(new)
    floor.start(floor.says("candidate"))
    found = {one.revision: (one.health, one.replicas) for one in floor.services.running()}
    assert found == {old.revision: (Health.READY, 1), new.revision: (Health.READY, 0)}


def test_what_its_own_code_printed_is_shown_last_line_last(floor: Floor) -> None:
    spec = floor.spec("print('one'); print('two')\ndef predict(model, batch): return batch")
    floor.start(spec)
    assert floor.services.printed(spec.revision, 10, "is loaded") == [
        "one",
        "two",
        "mawasu: api.handler:predict is loaded",
    ]
    assert floor.services.printed(spec.revision, 1) == ["mawasu: api.handler:predict is loaded"]
    assert floor.services.printed("late--production-0000000000", 10) == []


def test_a_preview_goes_with_its_service_its_files_and_its_processes(floor: Floor) -> None:
    kept = floor.deploy(floor.says("kept"))
    preview = floor.says("gone", environment="preview-x", preview=True)
    endpoint = floor.deploy(preview)
    floor.services.remove("late", "preview-x", drain=10)
    assert floor.client.find(Call("GET", RUN, f"/v2/{PARENT}/services/late--preview-x")) is None
    assert floor.objects("services/late--preview-x/") == []
    assert floor.ask(endpoint.url, endpoint.audience).status_code == 404
    assert floor.served(kept) == "kept"
    floor.services.remove("late", "preview-x", drain=10)
    floor.services.stop(preview.revision, drain=10)


def test_a_worker_that_ends_is_replaced(floor: Floor) -> None:
    code = "import os\ndef predict(model, batch):\n    os._exit(3) if batch[0]['x'] == 0 else None\n    return batch\n"
    endpoint = floor.deploy(floor.spec(code))
    headers = {"authorization": f"Bearer {floor.client.id_token(endpoint.audience)}"}
    assert httpx.post(f"{endpoint.audience}/predict", json={"x": 0}, headers=headers).status_code == 503
    eventually(lambda: floor.ask(endpoint.audience, endpoint.audience).status_code == 200)


def test_names_fit_cloud_run_however_long_the_feature_is_called(floor: Floor) -> None:
    spec = floor.says("one", feature="f" * 60, environment="preview-" + "e" * 60, release=digest_of(b"r"))
    assert len(spec.revision) <= 63
    assert floor.start(spec).revision == spec.revision
