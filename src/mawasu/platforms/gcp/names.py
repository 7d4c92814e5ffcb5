"""Every name that mawasu gives to things on Google Cloud, each grammar in one place. Pure."""

from __future__ import annotations

import hashlib
import re

import msgspec

from mawasu.spec.environments import PREVIEW
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

    def jobs(self, preview: bool) -> str:
        """The bucket of what jobs are given and give back."""
        return beside(self.bucket, _of_class("jobs", preview))

    def services(self, preview: bool) -> str:
        """The bucket of the code and models that services run."""
        return beside(self.bucket, _of_class("services", preview))

    @property
    def sources(self) -> str:
        """The bucket of what images are made from."""
        return beside(self.bucket, "sources")


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
    "training": "runs training and evaluation: users' code runs as it",
    "training-preview": "runs training and evaluation of previews: users' code of any branch runs as it",
    "api": "runs APIs: users' code runs as it",
    "api-preview": "runs APIs of previews: users' code of any branch runs as it",
    "gateway": "the only one that may call APIs",
    "scheduler": "wakes `mawasu reconcile`",
}
"""Service accounts by what they are for."""

BESIDE = {
    "jobs": "what training and evaluation are given and give back: copies, deleted after 30 days",
    "jobs-preview": "the same of previews, whose code reaches no other",
    "services": "code and models of the APIs' revisions, which their instances see as files",
    "services-preview": "the same of previews, whose code reaches no other",
    "sources": "what images are made from: deleted after 7 days",
    "keys": "public: the public halves of API keys, which ESPv2 fetches without credentials; nothing secret is in it",
}
"""Buckets beside the one of records, by what they are for: users' code reaches its own, and never the records."""

_LONGEST_BUCKET = 63  # cloud.google.com/storage/docs/buckets#naming


def beside(bucket: str, what: str) -> str:
    """A bucket of `BESIDE`; `bucket` is the one of records."""
    if what not in BESIDE:
        raise ValueError(f"{what!r} is no bucket of mawasu")
    return _short(f"{bucket}-{what}", _LONGEST_BUCKET)


def buckets(bucket: str) -> tuple[str, ...]:
    """All of them, the one of records first."""
    return (bucket, *(beside(bucket, what) for what in BESIDE))


def published(bucket: str) -> str:
    """The bucket of what everybody may read, beside the one of records."""
    return beside(bucket, "keys")


def is_preview(environment: str) -> bool:
    """No stable environment's name begins so: the language has it."""
    return environment.startswith(PREVIEW)


def training_account(cloud: Cloud, preview: bool) -> str:
    """The account that jobs run as."""
    return account(cloud, _of_class("training", preview))


def api_account(cloud: Cloud, preview: bool) -> str:
    """The account that services run as."""
    return account(cloud, _of_class("api", preview))


def _of_class(what: str, preview: bool) -> str:
    """What previews have is theirs, and nothing of it a stable environment's: this suffix keeps them apart."""
    return f"{what}-preview" if preview else what


def account(cloud: Cloud, what: str) -> str:
    """The e-mail address of a service account."""
    if what not in ACCOUNTS:
        raise ValueError(f"{what!r} is no service account of mawasu")
    return f"mawasu-{what}@{cloud.project}.iam.gserviceaccount.com"


def service(feature: str, environment: str) -> str:
    """The Cloud Run service of a feature in an environment; another one for every pair. At most 49 of `a-z0-9-`."""
    return _short(f"{feature}--{environment}", SERVICE_LONGEST)


def gateway(feature: str) -> str:
    """The Cloud Run service of a feature's gateway. No environment is called `gateway` … `--` keeps them apart."""
    return _short(f"{feature}--0gateway", SERVICE_LONGEST)


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
    where = "preview" if is_preview(environment) else environment
    return f"mawasu-{feature}-{where}-{name}"


def trigger(feature: str, environment: str) -> str:
    """The Cloud Build trigger of a feature in an environment. At most 64 letters, digits and `-`."""
    return _short(f"mawasu-{feature}--{environment}", 64)


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


def _short(text: str, longest: int, whole: str | None = None) -> str:
    """`text` if it fits (and does not look cut), else its beginning and a digest of the whole."""
    if whole is None and len(text) <= longest and not _CUT.fullmatch(text):
        return text
    mark = hashlib.sha256((whole or text).encode()).hexdigest()[:12]
    return f"{text[: longest - 14].rstrip('-_.')}-x{mark}"
