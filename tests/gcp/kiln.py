"""What the tests of images on Google Cloud share: the double with its registry, a log, locks to build from."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mawasu.google.call import Call
from mawasu.google.client import Client
from mawasu.google.storage import Bucket
from mawasu.platforms.gcp.images import GcpImages
from mawasu.platforms.gcp.names import Cloud, beside
from mawasu.ports import Cancel
from mawasu.spec.feature import Gcp
from mawasu.words import Image, ImageSpec, digest_of
from tests.google.conftest import surround
from tests.google.double import cloudbuild, logging
from tests.google.double.cloudbuild import CloudBuild, cloudbuild_of
from tests.google.double.core import Double
from tests.google.double.storage import Storage
from tests.jobs.packages import WHEEL, hash_of, wheel
from tests.jobs.support import Lines

CLOUD = Cloud(project="acme", number="123456789012", region="europe-west1", bucket="acme-mawasu")
SOURCES = beside(CLOUD.bucket, "sources")
GCP = Gcp(project="acme", region="europe-west1", bucket="acme-mawasu")
NAME = "callback/feature/gbdt/1a2b3c4d5e/training"
PYTHON = "3.12.4"


class Kiln:
    """`images` is what is tested; `wheels` a directory of packages, the only index that uv is told of."""

    def __init__(self, double: Double, wheels: Path) -> None:
        self.double = double
        self.builds: CloudBuild = cloudbuild_of(double)
        self.wheels = wheels
        self.client = Client(first_wait=0.01)
        self.images = self.another()
        self.log = Lines()
        self.cancel = Cancel()

    def another(self, gcp: Gcp = GCP, poll: float = 0.02) -> GcpImages:
        """As another machine would have it: nothing is remembered."""
        return GcpImages(CLOUD, gcp, self.client, Bucket(self.client, SOURCES), python=PYTHON, poll=poll)

    def ensure(self, spec: ImageSpec) -> Image:
        return self.images.ensure(spec, self.log, self.cancel)

    def run(self, image: Image, code: str) -> str:
        python = self.builds.images[image.ref] / "bin" / "python"
        done = subprocess.run([python, "-c", code], env={}, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def requests(self, name: str) -> list[Any]:
        return [one.body for one in self.double.seen(name)]


def spec(files: Mapping[str, str | bytes], *, lock: str = "", dockerfile: str = "", name: str = NAME) -> ImageSpec:
    data = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}
    return ImageSpec(digest_of(repr((lock, dockerfile, sorted(data.items()))).encode()), lock, data, name, dockerfile)


def pinned(kiln: Kiln, code: str = "answer = 42\n", hashed: str = "") -> ImageSpec:
    """Hashed requirements of the one package there is."""
    data = wheel({"tiny.py": code})
    (kiln.wheels / WHEEL).write_bytes(data)
    line = f"tiny==1.0 --hash={hashed or hash_of(data)}\n"
    return spec({"api/requirements.txt": line}, lock="api/requirements.txt")


@contextmanager
def a_kiln(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kiln]:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    monkeypatch.setenv("UV_FIND_LINKS", str(wheels))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    with Double() as double:
        logging.install(double)
        cloudbuild.install(double)
        surround(monkeypatch, double, tmp_path)
        storage = Storage(double).start()
        kiln = Kiln(double, wheels)
        try:
            insert = Call(
                "POST",
                "storage.googleapis.com",
                "/storage/v1/b",
                {"project": "acme"},
                {"name": SOURCES},
            )
            kiln.client.send(insert)
            yield kiln
        finally:
            kiln.client.http.close()
            storage.stop()
    if double.violations or double.unchecked:
        pytest.fail(f"{double.violations} {double.unchecked}")
