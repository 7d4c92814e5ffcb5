"""Every name that mawasu gives to things on Google Cloud, each grammar in one place. Pure."""

from __future__ import annotations

import hashlib
import re

import msgspec

from mawasu.words import Digest, Value

MANAGED = {"managed-by": "mawasu"}
"""The label of all that mawasu owns: nothing without it is ever changed or deleted."""

SERVICE_LONGEST = 49  # Cloud Run, services.create: serviceId
_CUT = re.compile(r".*-x[0-9a-f]{12}")


class Cloud(Value, frozen=True):
    """Where mawasu is at home on Google Cloud: what all adapters are told."""

    project: str
    number: str  # the project's number
    region: str
    bucket: str
    runner: str = ""  # the image that has mawasu inside, by digest
    connection: str = ""  # Cloud Build's to GitHub

    @property
    def parent(self) -> str:
        return f"projects/{self.project}/locations/{self.region}"

    @property
    def registry(self) -> str:
        """Of images: `<registry>/<package>@<digest>`."""
        return f"{self.region}-docker.pkg.dev/{self.project}/{REPOSITORY}"

    @property
    def published(self) -> str:
        return published(self.bucket)


VARIABLE = "MAWASU_CLOUD"
"""Where a run finds its `Cloud`, as JSON: from whoever made the trigger, never from what was pushed."""


def told(cloud: Cloud) -> str:
    return msgspec.json.encode(cloud).decode()


def cloud_of(text: str) -> Cloud:
    """Inverse of `told`. Raises msgspec.DecodeError."""
    return msgspec.json.decode(text, type=Cloud)


REDIS = "mawasu"  # the Memorystore instance
REPOSITORY = "mawasu"  # in Artifact Registry

ACCOUNTS = {
    "build": "runs pushes: `mawasu build` and `mawasu reconcile`",
    "images": "makes images: users' Dockerfiles and packages run as it",
    "training": "runs training and evaluation for stable environments: users' code runs as it",
    "training-preview": "runs training and evaluation for previews: users' code runs as it",
    "api": "runs APIs of stable environments: users' code runs as it",
    "api-preview": "runs APIs of previews: users' code runs as it",
    "gateway": "the only one that may call APIs",
    "scheduler": "wakes `mawasu reconcile`",
}
"""Service accounts by what they are for."""


BUCKETS = {
    "jobs": "what jobs are given and give back",
    "jobs-preview": "what jobs of previews are given and give back",
    "services": "code and models of what serves",
    "services-preview": "code and models of previews",
    "sources": "what images are made from",
    "keys": "public halves of API keys, for gateways to fetch: everybody may read them",
}
"""Buckets beside the one of records, which no user's code ever reaches (decisions/0014)."""


def beside(bucket: str, what: str) -> str:
    """The name of one of them; `bucket` is the one of records."""
    if what not in BUCKETS:
        raise ValueError(f"{what!r} is no bucket of mawasu")
    return f"{bucket}-{what}"


def of_class(what: str, preview: bool) -> str:
    """The account or bucket of a class of environments: what a preview can reach, nothing stable relies on."""
    return f"{what}-preview" if preview else what


def published(bucket: str) -> str:
    """The bucket of what everybody may read."""
    return beside(bucket, "keys")


def account(cloud: Cloud, what: str) -> str:
    """The e-mail address of a service account."""
    if what not in ACCOUNTS:
        raise ValueError(f"{what!r} is no service account of mawasu")
    return f"mawasu-{what}@{cloud.project}.iam.gserviceaccount.com"


def service(feature: str, environment: str) -> str:
    """The Cloud Run service of a feature in an environment; another one for every pair. At most 49 of `a-z0-9-`."""
    return _short(f"{_plain(feature)}--{environment}", SERVICE_LONGEST)


def gateway(feature: str) -> str:
    """The Cloud Run service of a feature's gateway. No environment is called `gateway` … `--` keeps them apart."""
    return _short(f"{_plain(feature)}--0gateway", SERVICE_LONGEST)


def revision(service: str, release: Digest, runner: str) -> str:
    """The Cloud Run revision of a release: the same for the same release and the same mawasu. At most 63."""
    made = hashlib.sha256(f"{release} {runner}".encode()).hexdigest()[:10]
    return f"{service}-{made}"


def service_of(revision: str) -> str:
    """The service of a revision."""
    return revision.rpartition("-")[0]


def tag(revision: str) -> str:
    """The traffic tag of a revision: with the service's name it makes one label of a host name."""
    return f"r{revision.rpartition('-')[2]}"


def secret(feature: str, environment: str, name: str) -> str:
    """The Secret Manager secret that holds a feature's secret in an environment (all previews share one)."""
    where = "preview" if environment.startswith("preview-") else environment
    return f"mawasu-{_plain(feature)}--{where}--{name}"


def trigger(feature: str, environment: str) -> str:
    """The Cloud Build trigger of a feature in an environment. At most 64 letters, digits and `-`."""
    return _short(f"mawasu-{_plain(feature)}--{environment}", 64)


def link(github: str) -> str:
    """The name under which a connection knows the repository `owner/name`. At most 63 of `A-Za-z0-9_-`."""
    return _short(re.sub(r"[^A-Za-z0-9_-]", "-", github), 63, github if re.search(r"[^A-Za-z0-9_/-]", github) else None)


def label(text: str) -> str:
    """A label's value: at most 63 of `a-z0-9_-`. What does not fit is cut and marked with a digest."""
    plain = re.sub(r"[^a-z0-9_-]", "-", text.lower())
    return plain if plain == text and len(plain) <= 63 else _short(plain, 63, text)


def labels(feature: str, environment: str = "") -> dict[str, str]:
    """Of everything that belongs to a feature."""
    found = {**MANAGED, "mawasu-feature": label(feature)}
    return {**found, "mawasu-environment": label(environment)} if environment else found


def _plain(feature: str) -> str:
    """A feature's name without `--`, which parts names: `a--b` in `c` and `a` in `b--c` are two things."""
    if "--" not in feature and not feature.endswith("-") and not _CUT.fullmatch(feature):
        return feature
    mark = hashlib.sha256(feature.encode()).hexdigest()[:12]
    return f"{re.sub('-+', '-', feature).rstrip('-')}-x{mark}"


def _short(text: str, longest: int, whole: str | None = None) -> str:
    """`text` if it fits (and does not look cut), else its beginning and a digest of the whole."""
    if whole is None and len(text) <= longest and not _CUT.fullmatch(text):
        return text
    mark = hashlib.sha256((whole or text).encode()).hexdigest()[:12]
    return f"{text[: longest - 14].rstrip('-_')}-x{mark}"
