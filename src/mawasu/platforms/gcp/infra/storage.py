"""The buckets: the one of records, and those beside it that others than mawasu-build may reach. Pure.

A bucket is the narrowest thing that a role can be given on without a condition, and a condition on a prefix does not
work: Cloud Storage FUSE, through which Vertex AI and Cloud Run show buckets as files, lists with no prefix when it
mounts (cloud.google.com/storage/docs/cloud-storage-fuse/mount-bucket).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mawasu.platforms.gcp import names
from mawasu.platforms.gcp.infra.words import Body, Resource
from mawasu.platforms.gcp.names import MANAGED, Cloud

DAY = 86400
SCRATCH = {"jobs": 30, "jobs-preview": 30, "sources": 7}
"""Days after which what can be made again goes; no job lives so long."""


def buckets(cloud: Cloud) -> Iterator[Resource]:
    yield _bucket(cloud, cloud.bucket, "ledger, models, data, logs: the records", _records())
    for what, why in names.BESIDE.items():
        yield _bucket(cloud, names.beside(cloud.bucket, what), why, _beside(what))


def _bucket(cloud: Cloud, name: str, why: str, body: Body) -> Resource:
    common = {"location": cloud.region.upper(), "storageClass": "STANDARD", "labels": dict(MANAGED)}
    return Resource("bucket", name, {**common, **body}, why, "foundation")


def _records() -> Body:
    """What was overwritten or deleted can be had back for 30 days."""
    rule = {"action": {"type": "Delete"}, "condition": {"daysSinceNoncurrentTime": 30}}
    return {
        "iamConfiguration": _access(public=False),
        "versioning": {"enabled": True},
        "softDeletePolicy": _kept(7),
        "lifecycle": {"rule": [rule, _unfinished()]},
    }


def _beside(what: str) -> Body:
    """Nothing but copies: of records, of commits, of keys' public halves."""
    old = {"action": {"type": "Delete"}, "condition": {"age": SCRATCH[what]}} if what in SCRATCH else None
    return {
        "iamConfiguration": _access(public=what == "keys"),
        "versioning": {"enabled": False},
        "softDeletePolicy": _kept(0),
        "lifecycle": {"rule": [*([old] if old else []), _unfinished()]},
    }


def _access(*, public: bool) -> dict[str, Any]:
    prevention = "inherited" if public else "enforced"
    return {"uniformBucketLevelAccess": {"enabled": True}, "publicAccessPrevention": prevention}


def _kept(days: int) -> dict[str, Any]:
    return {"retentionDurationSeconds": str(days * DAY)}


def _unfinished() -> dict[str, Any]:
    return {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 7}}
