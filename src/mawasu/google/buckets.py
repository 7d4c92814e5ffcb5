"""Buckets of Cloud Storage, not what is in them (cloud.google.com/storage/docs/json_api/v1/buckets)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mawasu.google.call import Call, path

HOST = "storage.googleapis.com"


def get_bucket(bucket: str) -> Call:
    return Call("GET", HOST, path("storage", "v1", "b", bucket))


def insert_bucket(project: str, bucket: str, body: Mapping[str, Any]) -> Call:
    at = path("storage", "v1", "b")
    return Call("POST", HOST, at, {"project": project}, {"name": bucket, **body}, again=True)


def patch_bucket(bucket: str, body: Mapping[str, Any]) -> Call:
    return Call("PATCH", HOST, path("storage", "v1", "b", bucket), body=dict(body), again=True)


def delete_bucket(bucket: str) -> Call:
    return Call("DELETE", HOST, path("storage", "v1", "b", bucket))


def list_versions(bucket: str) -> Call:
    """All objects, the noncurrent ones too."""
    return Call("GET", HOST, path("storage", "v1", "b", bucket, "o"), {"versions": "true", "maxResults": "1000"})


def delete_version(bucket: str, name: str, generation: str) -> Call:
    return Call("DELETE", HOST, path("storage", "v1", "b", bucket, "o", name), {"generation": generation})
