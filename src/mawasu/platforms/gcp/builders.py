"""The nested Cloud Build that makes one image: its steps are a function of the settings. Pure.

buildx (default) keeps the layers of all stages in the registry and runs a Dockerfile's commands in BuildKit's own
containers, which are not on Cloud Build's network and so do not reach the credentials of the build. kaniko runs them in
the step itself, where those credentials are; it is for those whose Dockerfiles need it.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from mawasu.platforms.gcp.names import Cloud, account, beside
from mawasu.spec.environments import slug_of
from mawasu.spec.feature import GcpImages
from mawasu.words import Digest, Value

IMAGES = "images"  # one package for all features: an image is found by its key alone, whoever made it
CACHE = "cache"  # layers

DOCKER = "gcr.io/cloud-builders/docker"
"""Google's own, with buildx in it: the one that fits the daemon of Cloud Build's machines and lies on them already."""

BUILDKIT = "moby/buildkit:v0.33.0"

KANIKO = "ghcr.io/osscontainertools/kaniko:v1.27.6"
"""The fork that lives: Google archived its own in June 2025, Chainguard's takes security fixes only and publishes no
images; this one releases every few weeks, images included (also as `martizih/kaniko`, behind Docker Hub's limits)."""

MACHINE = "E2_HIGHCPU_8"  # 8 cores: installing, compressing and compiling use them all; a minute costs $0.016
TIMEOUT = 3300
"""Seconds. The registry's token that Cloud Build lays beside docker lives for an hour: a push after that is refused."""

QUEUE = 1800  # seconds until a build that gets no machine is given up
_LONGEST_TAG = 128


class Wanted(Value, frozen=True):
    """An image to be made: where to (`package` of the registry) and under which tags."""

    package: str
    key: Digest
    tags: tuple[str, ...]  # beside the key's own
    cache: str  # images with the same one share layers
    title: str  # in errors: the lock or Dockerfile it is made from


def key_tag(key: Digest) -> str:
    """The tag that an image is found by, and the tag of the Cloud Build that makes it."""
    return f"key-{key.removeprefix('sha256:')}"


def readable_tag(name: str) -> str:
    """`feature/branch/commit/part` as one docker tag: `feature-slug_of_branch-commit-part`, at most 128 characters."""
    feature, *branch, commit, part = name.split("/") if name.count("/") >= 3 else ["image", name, "", ""]
    return _tag("-".join(piece for piece in (feature, slug_of("/".join(branch)), commit, part) if piece))


def cache_tag(name: str) -> str:
    """Where the layers of `feature/branch/commit/part` are kept: all commits of a feature's part share them."""
    return _tag(f"{name.partition('/')[0]}-{name.rpartition('/')[2]}")


def _tag(text: str) -> str:
    """`text` if it is a tag (`\\w[\\w.-]{0,127}`), else what is fit of it and a digest."""
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", text).lstrip(".-")
    if plain and plain == text and len(plain) <= _LONGEST_TAG:
        return plain
    return f"{plain[: _LONGEST_TAG - 14]}-x{hashlib.sha256(text.encode()).hexdigest()[:12]}".lstrip("-")


def image_build(cloud: Cloud, settings: GcpImages, wanted: Wanted, source: str, dockerfile: str) -> dict[str, Any]:
    """The body of `builds.create`. `source` is the context, a tar.gz in the bucket; `dockerfile` a path in it."""
    steps = {"buildx": _buildx, "kaniko": _kaniko}[settings.builder](cloud, settings, wanted, dockerfile)
    return {
        "source": {"storageSource": {"bucket": beside(cloud.bucket, "sources"), "object": source}},
        "steps": steps,
        "timeout": f"{TIMEOUT}s",
        "queueTtl": f"{QUEUE}s",
        "serviceAccount": f"projects/{cloud.project}/serviceAccounts/{account(cloud, 'images')}",
        "tags": ["mawasu", "mawasu-image", key_tag(wanted.key)],
        "options": {
            "machineType": MACHINE,
            # With a service account of one's own, logs go to Cloud Logging or to a bucket of one's own, where this
            # account would have to write; to write log entries it needs roles/logging.logWriter, and can read nothing.
            "logging": "CLOUD_LOGGING_ONLY",
        },
    }


def literal(text: str) -> str:
    """Text in which Cloud Build finds no substitution."""
    return text.replace("$", "$$")


def _tags(cloud: Cloud, wanted: Wanted) -> list[str]:
    return [f"{cloud.registry}/{wanted.package}:{tag}" for tag in (key_tag(wanted.key), *wanted.tags)]


def _buildx(cloud: Cloud, settings: GcpImages, wanted: Wanted, dockerfile: str) -> list[dict[str, Any]]:
    cache = f"type=registry,ref={cloud.registry}/{CACHE}:{wanted.cache}"
    build = [
        "buildx",
        "build",
        "--builder=mawasu",
        "--platform=linux/amd64",
        "--progress=plain",
        f"--file={dockerfile}",
        f"--cache-from={cache}",
        # a cache that cannot be written costs time, not the image
        f"--cache-to={cache},mode=max,image-manifest=true,oci-mediatypes=true,ignore-error=true",
        # With an attestation beside it a tag names an index: not every place that runs images takes one.
        "--provenance=false",
        "--sbom=false",
        *(f"--tag={tag}" for tag in _tags(cloud, wanted)),
        "--push",
        ".",
    ]
    create = ["buildx", "create", "--name=mawasu", "--driver=docker-container", f"--driver-opt=image={BUILDKIT}"]
    return [
        {"id": "builder", "name": DOCKER, "args": [*create, "--bootstrap"]},
        {"id": "image", "name": DOCKER, "args": [literal(argument) for argument in build]},
    ]


def _kaniko(cloud: Cloud, settings: GcpImages, wanted: Wanted, dockerfile: str) -> list[dict[str, Any]]:
    arguments = [
        "--context=dir:///workspace",
        f"--dockerfile=/workspace/{dockerfile}",
        "--cache=true",
        f"--cache-repo={cloud.registry}/{CACHE}",
        f"--cache-ttl={settings.cache_ttl:.0f}s",
        "--push-retry=3",
        *(f"--destination={tag}" for tag in _tags(cloud, wanted)),
    ]
    return [{"id": "image", "name": KANIKO, "args": [literal(argument) for argument in arguments]}]
