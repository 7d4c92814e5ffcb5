"""Requests to the Cloud Storage JSON API (storage.v1, objects) as values, and their answers read. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from mawasu.errors import UsageError
from mawasu.google.call import Call, path
from mawasu.google.faults import GoogleError, NotFoundError
from mawasu.words import Value

HOST = "storage.googleapis.com"
MARK = "mawasu-mark"
"""Metadata that tells who created an object: after a lost answer, whoever did it knows its own work again."""

GRAIN = 256 * 2**10  # bytes; every chunk but the last is a multiple (cloud.google.com/storage/docs/resumable-uploads)
_FIELDS = "name,size,updated,generation,md5Hash,crc32c,metadata"
_TYPE = "application/octet-stream"


class Found(Value, frozen=True):
    """An object of a bucket. `updated` is in seconds since the epoch; `md5` and `crc32c` in base64, as Google has them.

    A composite object has no `md5`.
    """

    name: str
    size: int
    updated: float
    generation: int
    md5: str = ""
    crc32c: str = ""
    mark: str = ""


class Upload(NamedTuple):
    """A call with the bytes and headers that go with it."""

    call: Call
    headers: Mapping[str, str]
    content: bytes


def bucket_of(url: str) -> str:
    """The name in `gs://BUCKET`. Raises UsageError (cloud.google.com/storage/docs/buckets#naming)."""
    match = re.fullmatch(r"gs://([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])/?", url)
    if match is None:
        raise UsageError(f"{url!r} is no bucket", "write it as gs://BUCKET, without a path")
    return match[1]


def found(answer: Mapping[str, Any]) -> Found:
    """An Object resource as a value (int64 are strings there, times RFC 3339)."""
    return Found(
        answer["name"],
        int(answer.get("size", 0)),
        datetime.fromisoformat(answer["updated"]).timestamp(),
        int(answer.get("generation", 0)),
        answer.get("md5Hash", ""),
        answer.get("crc32c", ""),
        answer.get("metadata", {}).get(MARK, ""),
    )


def stat(bucket: str, name: str) -> Call:
    return Call("GET", HOST, _object(bucket, name), {"fields": _FIELDS})


def media(bucket: str, name: str, generation: int = 0) -> Call:
    """The bytes of an object; with `generation`, of exactly this one."""
    pinned = {"generation": str(generation)} if generation else {}
    return Call("GET", HOST, _object(bucket, name), {"alt": "media", **pinned})


def delete(bucket: str, name: str, generation: int = 0) -> Call:
    """With `generation`: only if the object is still this one."""
    return Call("DELETE", HOST, _object(bucket, name), {"ifGenerationMatch": str(generation)} if generation else {})


def listing(bucket: str, prefix: str, delimiter: str, start: str, token: str) -> Call:
    """One page of names: `start` is the first name wanted, `token` the page before's."""
    query = {"prefix": prefix, "delimiter": delimiter, "startOffset": start, "pageToken": token}
    fields = f"items({_FIELDS}),prefixes,nextPageToken"
    given = {key: value for key, value in query.items() if value}
    return Call("GET", HOST, path("storage", "v1", "b", bucket, "o"), {**given, "fields": fields})


def rewrite(bucket: str, source: str, into: str, target: str, generation: int, token: str) -> Call:
    """One round of a copy inside Google: large ones take several, each with the token of the one before."""
    where = _object(bucket, source) + "/rewriteTo" + path("b", into, "o", target)
    fields = "done,rewriteToken,totalBytesRewritten,objectSize"
    given = {"sourceGeneration": str(generation) if generation else "", "rewriteToken": token}
    query = {"fields": fields, **{key: value for key, value in given.items() if value}}
    return Call("POST", HOST, where, query, again=True)


def insert(bucket: str, name: str, data: bytes, md5: str, boundary: str, *, once: bool, mark: str) -> Upload:
    """A whole object in one request (multipart/related). `md5` is checked by Google before the object exists."""
    facts = json.dumps(_facts(name, md5, mark), separators=(",", ":"))
    head = f"--{boundary}\r\ncontent-type: application/json; charset=UTF-8\r\n\r\n{facts}\r\n"
    head += f"--{boundary}\r\ncontent-type: {_TYPE}\r\n\r\n"
    content = head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
    headers = {"content-type": f"multipart/related; boundary={boundary}"}
    return Upload(_insertion(bucket, "multipart", once), headers, content)


def start(bucket: str, name: str, size: int, md5: str, *, once: bool, mark: str) -> Upload:
    """Begin a resumable upload: the answer's Location header is the session (`session`)."""
    headers = {"content-type": "application/json; charset=UTF-8", "x-upload-content-length": str(size)}
    content = json.dumps(_facts(name, md5, mark), separators=(",", ":")).encode()
    return Upload(_insertion(bucket, "resumable", once), {**headers, "x-upload-content-type": _TYPE}, content)


def session(location: str) -> Call:
    """Where the chunks of a resumable upload go. Never sent again unasked: first `progress` says how far it came."""
    parts = urlsplit(location)
    before, _, after = parts.path.partition("/upload/")  # a private endpoint may put something before it
    return Call("PUT", HOST, "/upload/" + (after or before.lstrip("/")), dict(parse_qsl(parts.query)), single=True)


def chunk(offset: int, length: int, size: int) -> dict[str, str]:
    """The header of a chunk: `length` bytes from `offset` on, of `size` in all."""
    return {"content-range": f"bytes {offset}-{offset + length - 1}/{size}"}


def progress(size: int) -> dict[str, str]:
    """The header that asks a session how far it came."""
    return {"content-range": f"bytes */{size}"}


def persisted(header: str) -> int:
    """How many bytes a session has, from the Range header of its answer (`bytes=0-524287`; none: nothing)."""
    return int(header.rpartition("-")[2]) + 1 if header else 0


def hashes(header: str) -> dict[str, str]:
    """The `x-goog-hash` header (`crc32c=…,md5=…`) by algorithm."""
    return dict(part.strip().split("=", 1) for part in header.split(",") if "=" in part)


def explained(bucket: str, name: str, call: Call, error: GoogleError) -> GoogleError:
    """The error with the bucket's name and what to do, where Google's answer alone does not say it."""
    if error.status == 400 and "md5" in error.message.lower():
        hint = "leave no process behind that still writes there"
        return ChangedError(f"{name} changed while it was uploaded to gs://{bucket}", hint, status=400)
    about_bucket = "bucket does not exist" in error.message or not _of_an_object(call)
    if isinstance(error, NotFoundError) and about_bucket:
        hint = "`mawasu gcp apply` makes it; or is the name wrong?"
        return MissingBucketError(f"there is no bucket gs://{bucket}", hint, status=404, reason=error.reason)
    if error.status == 403 and (not error.hint or "roles/storage." in error.hint or "role that" in error.hint):
        role, verb = ("objectViewer", "read") if call.method == "GET" else ("objectUser", "write")
        said = error.message.partition(": ")[2]
        hint = f"give who runs this the role roles/storage.{role} on gs://{bucket}"
        message = f"no permission to {verb} in gs://{bucket}: {said}"
        return GoogleError(message, hint, status=403, reason=error.reason)
    return error


class ChangedError(GoogleError):
    """Bytes arrived that are not those of the checksum that was told first: no object appeared."""


class MissingBucketError(GoogleError):
    """The bucket itself is not there: no answer about its objects."""


def _object(bucket: str, name: str) -> str:
    return path("storage", "v1", "b", bucket, "o", name)


def _of_an_object(call: Call) -> bool:
    return "/o/" in call.path or "upload_id" in call.query


def _insertion(bucket: str, kind: str, once: bool) -> Call:
    where = "/upload" + path("storage", "v1", "b", bucket, "o")
    query = {"uploadType": kind, **({"ifGenerationMatch": "0"} if once else {})}
    return Call("POST", HOST, where, query, again=True)


def _facts(name: str, md5: str, mark: str) -> dict[str, Any]:
    facts: dict[str, Any] = {"name": name, "contentType": _TYPE, "md5Hash": md5}
    return {**facts, "metadata": {MARK: mark}} if mark else facts
