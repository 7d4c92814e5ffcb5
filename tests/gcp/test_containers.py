"""The two containers of a revision, as values."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from mawasu.errors import StepError
from mawasu.google.run import Container, Probe
from mawasu.platforms.gcp.containers import template
from mawasu.platforms.gcp.names import Cloud
from mawasu.serving.config import Config
from mawasu.spec.feature import GcpApi
from mawasu.words import Handler, Image, Resources, ServiceSpec, Source, Tree, digest_of

CLOUD = Cloud("acme", "1", "europe-west1", "acme-mawasu", "registry/mawasu@sha256:1")
SPEC = ServiceSpec(
    revision="late--production-0123456789",
    feature="late",
    environment="production",
    release=digest_of(b"release"),
    source=Source("/repo", "f", Tree({})),
    image=Image(digest_of(b"image"), "registry/late@sha256:2"),
    handler=Handler("api.handler:predict", max_batch=8),
    model=digest_of(b"model"),
    resources=Resources(cpu=1.5, memory=3 * 2**30, timeout=30),
)


def containers(settings: GcpApi | None = None, **fields: Any) -> tuple[Container, Container]:
    spec = msgspec.structs.replace(SPEC, **fields)
    server, worker = template(spec, CLOUD, settings or GcpApi()).containers
    return server, worker


def told(server: Container) -> Config:
    return msgspec.json.decode(server.command[-1], type=Config)


def test_a_handlers_worker_and_our_server_meet_at_a_socket_in_memory() -> None:
    server, worker = containers()
    assert worker.command == (
        *("python", "/mawasu/files/worker.py", "--socket", "/mawasu/run/worker.sock"),
        *("--handler", "api.handler:predict", "--workers", "1", "--memory", str(3 * 2**30)),
        *("--model", "/mawasu/files/model"),
    )
    assert worker.working == "/mawasu/files/code/f"
    assert told(server) == Config(
        "",
        "/mawasu/run/worker.sock",
        SPEC.release,
        max_batch=8,
        prefix="/late/production",
        site="late/production",
        labels={"feature": "late", "environment": "production", "revision": SPEC.revision},
    )
    assert server.mounts == {"run": "/mawasu/run"}
    assert worker.mounts == {"run": "/mawasu/run", "files": "/mawasu/files"}


def test_a_server_of_the_users_own_listens_beside_ours_and_is_told_where() -> None:
    server, worker = containers(handler=Handler(command="node server.js"), model=None)
    assert worker.command == ("/bin/sh", "-c", "export PORT=8081\nnode server.js")
    assert told(server).worker == "http://127.0.0.1:8081"
    assert "MAWASU_MODEL" not in worker.environ


def test_only_our_server_takes_requests_and_its_probe_speaks_for_both() -> None:
    server, worker = containers()
    assert (server.port, worker.port) == (8080, 0)
    assert server.startup == Probe("/-/ready", period=1, failures=30)
    assert worker.startup is None


def test_an_api_that_takes_longer_to_load_than_cloud_run_waits_gets_all_it_waits() -> None:
    server, _ = containers(resources=Resources(timeout=900))
    assert server.startup == Probe("/-/ready", period=1, failures=240)


def test_the_worker_gets_the_smallest_size_that_has_what_it_asks() -> None:
    _, worker = containers()
    assert (worker.cpu, worker.memory) == ("2", "3072Mi")
    assert worker.environ["OMP_NUM_THREADS"] == "2"


def test_files_are_those_of_the_revision_and_no_other() -> None:
    made = template(SPEC, CLOUD, GcpApi())
    assert made.files["files"].directory == "services/late--production/late--production-0123456789"
    assert made.account == "mawasu-api@acme.iam.gserviceaccount.com"


@pytest.mark.parametrize(
    ("resources", "fault"),
    [
        (Resources(cpu=7), "asks for 7 cores and 2048 MiB, more than Cloud Run has beside our server"),
        (Resources(memory=40 * 2**30), "asks for 1 cores and 40960 MiB"),
        (Resources(accelerator="NVIDIA_L4", accelerators=1), "api.resources.accelerator is NVIDIA_L4"),
    ],
)
def test_what_it_cannot_have_is_refused_with_the_line_to_change(resources: Resources, fault: str) -> None:
    with pytest.raises(StepError, match=fault):
        containers(resources=resources)
