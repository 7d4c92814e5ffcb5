"""What the tests of services on Google Cloud share: Google's double whose revisions really run, and one to vary."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec
import pytest

from mawasu.google.call import Call
from mawasu.google.client import Client
from mawasu.google.storage import Bucket
from mawasu.platforms.gcp.names import Cloud, account, beside
from mawasu.platforms.gcp.services import GcpServices
from mawasu.spec.feature import GcpApi
from mawasu.store.cloud import CloudStore
from mawasu.words import Digest, Endpoint, File, Handler, Image, Resources, ServiceSpec, Source, Tree, digest_of
from tests.git.repos import Repo
from tests.google.conftest import surround
from tests.google.double import logging, run
from tests.google.double.core import Double
from tests.google.double.run import Run, run_of
from tests.google.double.storage import Storage

T = TypeVar("T")
RUN = "run.googleapis.com"
REGISTRY = "europe-west1-docker.pkg.dev/acme/mawasu"
CLOUD = Cloud("acme", "123456789012", "europe-west1", "acme-mawasu", f"{REGISTRY}/mawasu@{digest_of(b'runner')}")
IMAGE = Image(digest_of(b"image"), f"{REGISTRY}/late@{digest_of(b'layers')}")
SETTINGS = GcpApi()
PARENT = "projects/acme/locations/europe-west1"

ECHO = """
def load(model):
    return open(model + "/says").read() if model else "WORD"
def predict(model, batch):
    return [[model, item] for item in batch]
"""


class Lines:
    """A step's log, as a list."""

    path = None

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: str) -> None:
        self.lines.append(line)


class Floor:
    """Where revisions are deployed. A spec's code lives in `f/api/handler.py` of a commit."""

    def __init__(self, double: Double, client: Client, directory: Path) -> None:
        self.double = double
        self.client = client
        self.run: Run = run_of(double)
        self.repo = Repo(directory / "repo")
        self.directory = directory
        self.bucket = Bucket(client, CLOUD.bucket)
        self.store = CloudStore(self.bucket)
        self.log = Lines()
        self.services = self.new_services()

    def new_services(self, settings: GcpApi = SETTINGS, redis: str = "", cloud: Cloud = CLOUD) -> GcpServices:
        """As another build makes them."""
        return GcpServices(cloud, settings, self.client, partial(Bucket, self.client), self.store, redis, look=0.02)

    def source(self, files: Mapping[str, str], root: str = "f") -> Source:
        tree = {path: File("100644", self.repo.blob(text.encode())) for path, text in files.items()}
        return Source(str(self.repo.dir), root, Tree(tree))

    def spec(self, code: str = ECHO, **fields: Any) -> ServiceSpec:
        """A named revision."""
        told: dict[str, Any] = {
            "revision": "",
            "feature": "late",
            "environment": "production",
            "release": digest_of(code.encode()),
            "source": self.source({"f/api/handler.py": code}),
            "image": IMAGE,
            "handler": Handler("api.handler:predict"),
            "model": None,
            "resources": Resources(timeout=20),
            "replicas": 0,
        }
        return self.named(ServiceSpec(**{**told, **fields}))

    def named(self, spec: ServiceSpec, build: int = 1) -> ServiceSpec:
        return msgspec.structs.replace(spec, revision=self.services.name(spec, build))

    def says(self, word: str, **fields: Any) -> ServiceSpec:
        return self.spec(ECHO.replace("WORD", word), **fields)

    def model(self, text: str) -> Digest:
        path = self.directory / f"model-{text}"
        path.mkdir()
        (path / "says").write_text(text)
        return self.store.put_tree(path)

    def start(self, spec: ServiceSpec) -> Endpoint:
        """Until it is ready."""
        endpoint = self.services.start(spec, self.log)
        self.services.wait_ready(spec.revision, spec.resources.timeout, threading.Event())
        return endpoint

    def deploy(self, spec: ServiceSpec) -> Endpoint:
        """All the way."""
        endpoint = self.start(spec)
        self.services.grant(spec.revision)
        self.services.promote(spec.revision)
        return endpoint

    def ask(self, url: str, audience: str, who: str = "gateway", path: str = "/predict") -> httpx.Response:
        token = self.double.identity.id_token(audience, account(CLOUD, who))
        return httpx.post(f"{url}{path}", json={"x": 1}, headers={"authorization": f"Bearer {token}"}, timeout=20)

    def served(self, endpoint: Endpoint) -> Any:
        """What callers of the service get."""
        response = self.ask(endpoint.audience, endpoint.audience)
        assert response.status_code == 200, response.text
        return response.json()[0]

    def service(self, name: str = "late--production") -> dict[str, Any]:
        found: dict[str, Any] = self.client.send(Call("GET", RUN, f"/v2/{PARENT}/services/{name}"))
        return found

    def traffic(self, name: str = "late--production") -> dict[str, tuple[int, bool]]:
        """Revision → its percent, and whether it has a URL of its own."""
        return {one["revision"]: (one.get("percent", 0), "tag" in one) for one in self.service(name)["traffic"]}

    def callers(self, name: str = "late--production") -> set[str]:
        bindings = self.double.policies[f"//{RUN}/{PARENT}/services/{name}"]["bindings"]
        return {member for one in bindings if one["role"] == "roles/run.invoker" for member in one["members"]}

    def objects(self, prefix: str) -> list[str]:
        bucket = Bucket(self.client, beside(CLOUD.bucket, "services"))
        return [found.name.removeprefix(prefix) for found in bucket.list(prefix)]


def eventually(get: Callable[[], T | None], timeout: float = 20.0) -> T:
    """The first true answer of `get`."""
    give_up = time.monotonic() + timeout
    while not (answer := get()):
        assert time.monotonic() < give_up, "it never happened"
        time.sleep(0.01)
    return answer


@contextmanager
def a_floor(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Floor]:
    """With a Google of its own. At the end every request was right, and no process is left."""
    with Double() as double:
        logging.install(double)
        run.install(double)
        storage = Storage(double).start()
        surround(monkeypatch, double, directory)
        try:
            with Client(first_wait=0.005) as client:
                for name in (CLOUD.bucket, beside(CLOUD.bucket, "services"), beside(CLOUD.bucket, "services-preview")):
                    made = {"name": name}
                    client.send(Call("POST", "storage.googleapis.com", "/storage/v1/b", {"project": "acme"}, made))
                yield Floor(double, client, directory)
        finally:
            run_of(double).close()
            storage.stop()
    assert double.violations == []
    assert double.unchecked == []
