"""Images as containers in Artifact Registry, one for each key, made by nested Cloud Builds."""

from __future__ import annotations

from importlib.metadata import version

from mawasu.google.client import Client
from mawasu.google.storage import Bucket
from mawasu.platforms.gcp.builders import IMAGES, Wanted, cache_tag, readable_tag
from mawasu.platforms.gcp.dockerfile import context
from mawasu.platforms.gcp.names import Cloud
from mawasu.platforms.gcp.nested import POLL, NestedBuilds
from mawasu.ports import Cancel, Log
from mawasu.spec.feature import Gcp
from mawasu.words import Digest, Image, ImageSpec


class GcpImages:
    """Implements `ports.Images`. `python` is the version that keys name (`Machine.python`), X.Y.Z."""

    def __init__(
        self, cloud: Cloud, gcp: Gcp, client: Client, bucket: Bucket, *, python: str, poll: float = POLL
    ) -> None:
        self._cloud = cloud
        self._python = python
        self._builds = NestedBuilds(cloud, gcp.images, client, bucket, poll=poll)
        self._known: dict[Digest, Digest] = {}

    def has(self, key: Digest) -> bool:
        return self._find(key) is not None

    def ensure(self, spec: ImageSpec, log: Log, cancel: Cancel) -> Image:
        """Make the image unless the registry has it. Raises StepError, CancelledError, PlatformError."""
        digest = self._find(spec.key) or self._make(spec, log, cancel)
        self._known[spec.key] = digest
        return Image(spec.key, f"{self._cloud.registry}/{IMAGES}@{digest}")

    def _find(self, key: Digest) -> Digest | None:
        """What was found is remembered: a build asks for the same image before each of its jobs."""
        found = self._known.get(key) or self._builds.find(IMAGES, key)
        if found:
            self._known[key] = found
        return found

    def _make(self, spec: ImageSpec, log: Log, cancel: Cancel) -> Digest:
        title = spec.dockerfile or spec.lock or "the image"
        wanted = Wanted(IMAGES, spec.key, (readable_tag(spec.name),), cache_tag(spec.name), title)
        return self._builds.ensure(wanted, context(spec, self._python, version("uv")), log, cancel)
