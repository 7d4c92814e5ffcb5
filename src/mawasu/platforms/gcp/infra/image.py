"""The runner image as the infrastructure sees it: is it made, and make it."""

from __future__ import annotations

from mawasu.google.client import Client
from mawasu.google.storage import Bucket
from mawasu.platforms.gcp.names import Cloud, beside
from mawasu.platforms.gcp.runner import ensure_runner, find_runner
from mawasu.ports import Cancel, Log
from mawasu.spec.feature import Gcp


class OwnRunner:
    """Made of the mawasu that is running."""

    def __init__(self, client: Client, gcp: Gcp, log: Log) -> None:
        self._client, self._gcp, self._log = client, gcp, log

    def find(self, cloud: Cloud) -> str:
        return find_runner(cloud, self._gcp, self._client, self._sources(cloud)) or ""

    def ensure(self, cloud: Cloud) -> str:
        return ensure_runner(cloud, self._gcp, self._client, self._sources(cloud), self._log, Cancel())

    def _sources(self, cloud: Cloud) -> Bucket:
        return Bucket(self._client, beside(cloud.bucket, "sources"))
