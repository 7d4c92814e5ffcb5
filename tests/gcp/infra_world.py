"""A Google Cloud project for the tests of the infrastructure, and features that want something of it."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from mawasu.google.client import Client
from mawasu.platforms.gcp.infra.apply import Report
from mawasu.platforms.gcp.infra.converge import Given, Plan, converge, look
from mawasu.platforms.gcp.infra.words import Wanted
from mawasu.spec import load
from tests.google.conftest import surround
from tests.google.double import infra as service
from tests.google.double.core import Double
from tests.google.double.infra import Infra
from tests.google.double.storage import Storage

RUNNER = "europe-west1-docker.pkg.dev/acme-ml/mawasu/mawasu@sha256:" + "a" * 64
QUICK = 0.002  # seconds before the first look at what takes time

GCP = "{project: acme-ml, region: europe-west1, github: acme/resumes}"

MAWASU_YAML = """
feature: {name}
data:
  resumes:
    source: {{files: data/resumes.csv}}
training:
  paths: [training/**]
  lock: training/uv.lock
  command: python training/train.py
  data: [resumes]
  secrets: [HUB_TOKEN]
api:
  paths: [api/**]
  lock: api/requirements.txt
  handler: api.handler:predict
  examples: api/examples.yaml
  secrets: [MAPS_TOKEN]
  scale: {{min: {least}}}
auth:
  openapi: auth/openapi.yaml
gcp: {gcp}
"""

FILES = frozenset(
    {
        "data/resumes.csv",
        "training/train.py",
        "training/uv.lock",
        "training/pyproject.toml",
        "api/handler.py",
        "api/requirements.txt",
        "api/examples.yaml",
        "auth/openapi.yaml",
    }
)


@functools.cache
def wanted(name: str = "callback", gcp: str = GCP, least: int = 0, root: str = "") -> Wanted:
    """A feature with a secret in each part, in production, staging and previews."""
    file = f"{root}/mawasu.yaml" if root else "mawasu.yaml"
    text = MAWASU_YAML.format(name=name, gcp=gcp, least=least)
    return Wanted(file, load(text, file=file, root=root, paths=FILES))


SMALL = f"""
feature: small
environments: {{production: {{branch: main}}}}
training: {{paths: [training/**], command: python training/train.py, secrets: [TOKEN]}}
gcp: {GCP}
"""


@functools.cache
def small() -> Wanted:
    """One environment, one secret: few requests."""
    return Wanted("mawasu.yaml", load(SMALL, file="mawasu.yaml", root="", paths=FILES))


class World:
    """A project, our client, and what tests do with them again and again."""

    def __init__(self, double: Double, client: Client) -> None:
        self.double, self.client = double, client

    @property
    def infra(self) -> Infra:
        return service.infra(self.double)

    def look(self, *features: Wanted, person: bool = True) -> Plan:
        return look(self.client, features or (wanted(),), Given(RUNNER), person=person)

    def apply(self, features: Sequence[Wanted] = (), *, person: bool = True, patience: float = 1.0) -> Report:
        """Runs `apply` to its end; what failed is in the report, unless it failed while looking."""
        chosen = features or (wanted(),)
        return converge(self.client, chosen, Given(RUNNER), person=person, pause=QUICK, patience=patience)

    def ready(self, *features: Wanted) -> World:
        """A project where all is as wanted, and GitHub is connected."""
        self.infra.connect()
        report = self.apply(features)
        assert report.error is None
        return self


@contextmanager
def running(patch: pytest.MonkeyPatch, home: Path) -> Iterator[World]:
    """Every request must have been right."""
    with Double("acme-ml") as double:
        service.install(double)
        surround(patch, double, home)
        storage = Storage(double).start()
        try:
            with Client(first_wait=QUICK) as client:
                yield World(double, client)
        finally:
            storage.stop()
        assert double.violations == []
        assert double.unchecked == []
