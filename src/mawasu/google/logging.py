"""Requests to Cloud Logging (logging.v2, entries.list) as values, and entries read. Pure."""

from __future__ import annotations

import calendar
import datetime
import re
from collections.abc import Mapping
from typing import Any, Final

from mawasu.google.call import Call
from mawasu.words import Value

HOST: Final = "logging.googleapis.com"
LARGEST_PAGE: Final = 1000


class Entry(Value, frozen=True):
    """One log entry. `time` is as Google writes it (RFC 3339, up to nanoseconds); (`time`, `id`) names the entry."""

    time: str
    id: str
    severity: str
    text: str  # "" if it says nothing to people
    labels: Mapping[str, str] = {}  # of its resource


def listing(project: str, wanted: Mapping[str, str], since: str = "") -> Call:
    """One page of the entries whose fields have these values, the oldest first, from the time `since` on.

    Sent again without harm, though a POST. cloud.google.com/logging/docs/view/logging-query-language
    """
    terms = [f"{field}={_quoted(value)}" for field, value in wanted.items()]
    if since:
        terms.append(f"timestamp>={_quoted(since)}")
    body = {
        "resourceNames": [f"projects/{project}"],
        "filter": " AND ".join(terms),
        "orderBy": "timestamp asc",
        "pageSize": LARGEST_PAGE,
    }
    return Call("POST", HOST, "/v2/entries:list", body=body, again=True)


def following(call: Call, token: str) -> Call:
    """The next page of a listing: entries.list takes its token in the body."""
    return Call(call.method, call.host, call.path, body={**call.body, "pageToken": token}, again=True)


def entry(answer: Mapping[str, Any]) -> Entry:
    return Entry(
        time=answer.get("timestamp", ""),
        id=answer.get("insertId", ""),
        severity=answer.get("severity", "DEFAULT"),
        text=_text(answer),
        labels=answer.get("resource", {}).get("labels", {}),
    )


def instant(time: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 time in UTC, whatever the number of its digits."""
    match = re.fullmatch(r"(\d+)-(\d+)-(\d+)T(\d+):(\d+):(\d+)(?:\.(\d{1,9}))?Z", time)
    if match is None:
        raise ValueError(f"{time!r} is not a time as Google writes it")
    *whole, fraction = match.groups()
    return calendar.timegm((*map(int, whole), 0, 0, 0)) * 10**9 + int((fraction or "").ljust(9, "0"))


def written(nanoseconds: int) -> str:
    """Inverse of `instant`."""
    whole, fraction = divmod(nanoseconds, 10**9)
    text = datetime.datetime.fromtimestamp(whole, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{fraction:09}Z"


def _text(answer: Mapping[str, Any]) -> str:
    """Vertex AI's agents write `jsonPayload.message`, its service `textPayload`."""
    payload = answer.get("jsonPayload")
    if isinstance(payload, dict):
        return str(payload.get("message", ""))
    return str(answer.get("textPayload", ""))


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
