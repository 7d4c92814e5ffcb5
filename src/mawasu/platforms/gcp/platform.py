"""The platform on Google Cloud put together for one feature, as a run of Cloud Build has it."""

from __future__ import annotations

import platform
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from mawasu.errors import PlatformError
from mawasu.google import redis, run
from mawasu.google.client import Client
from mawasu.google.storage import Bucket
from mawasu.platforms.gcp import names
from mawasu.platforms.gcp.gateway import GcpGateway
from mawasu.platforms.gcp.images import GcpImages
from mawasu.platforms.gcp.jobs import GcpJobs, Pace
from mawasu.platforms.gcp.keys import KeySets
from mawasu.platforms.gcp.names import Cloud
from mawasu.platforms.gcp.services import GcpServices
from mawasu.spec.feature import Gcp
from mawasu.store.cloud import CloudStore
from mawasu.words import Endpoint, Site, Value


class Tempo(Value, frozen=True):
    """How often Google is asked how far things are, in seconds: gently, since it answers a project so often only."""

    jobs: Pace = Pace()
    images: float = 5.0
    services: float = 1.0
    gateway: float = 0.5


class GcpPlatform:
    """`ports.Platform`. `scratch` is a directory for files on their way; `say` takes lines for people."""

    architecture = "x86_64"  # of every machine that Vertex AI and Cloud Run give without being asked

    def __init__(
        self,
        client: Client,
        cloud: Cloud,
        settings: Gcp,
        feature: str,
        store: CloudStore,
        scratch: Path,
        say: Callable[[str], None],
        tempo: Tempo = Tempo(),  # noqa: B008 - a frozen value
    ) -> None:
        self._client, self._cloud = client, cloud
        bucket = Bucket(client, cloud.bucket)
        self.store = store
        sources = Bucket(client, names.beside(cloud.bucket, "sources"))
        self.images = GcpImages(cloud, settings, client, sources, python=self.python, poll=tempo.images)
        self.jobs = GcpJobs(cloud, settings.training, client, partial(Bucket, client), store, scratch, tempo.jobs)
        api, cache = settings.api, ""
        if settings.redis:
            cache, network = _redis(client, cloud)
            api = msgspec.structs.replace(api, network=api.network or network)
        self.services = GcpServices(cloud, api, client, partial(Bucket, client), store, cache, tempo.services)
        self.gateway = GcpGateway(
            client,
            cloud,
            feature,
            settings.gateway,
            KeySets(client, names.published(cloud.bucket), bucket),
            promote=self._promote,
            say=say,
            first=tempo.gateway,
        )

    @property
    def python(self) -> str:
        """Images are made with the Python that mawasu itself runs on."""
        return platform.python_version()

    def address(self, feature: str, environment: str) -> Endpoint:
        """Where an environment's service answers, whichever revision has its traffic. Raises PlatformError."""
        name = names.service(feature, environment)
        found = self._client.find(run.get(f"{self._cloud.parent}/services/{name}"))
        if found is None or not found.get("uri"):
            raise PlatformError(f"there is no Cloud Run service {name}", "push to its branch again")
        return Endpoint("", url=str(found["uri"]), audience=str(found["uri"]))

    def _promote(self, site: Site) -> None:
        """Sites of other environments name no revision: theirs stays as it is."""
        if site.endpoint.revision:
            self.services.promote(site.endpoint.revision)


def _redis(client: Client, cloud: Cloud) -> tuple[str, str]:
    """The cache's URL, and the network that it can be reached in."""
    found = client.find(redis.get_instance(cloud.project, cloud.region, names.REDIS))
    if found is None or not found.get("host"):
        raise PlatformError(f"there is no Redis instance {names.REDIS} yet", "`mawasu gcp apply` makes it")
    return f"redis://{found['host']}:{found.get('port', 6379)}", str(found["authorizedNetwork"]).rpartition("/")[2]
