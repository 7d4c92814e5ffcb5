"""Cloud Logging: entries of monitored resources, listed by field and time. They may come late, and out of order."""

from __future__ import annotations

import re
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.google.double.core import Double, Request, refuse

HOST = "logging.googleapis.com"
_TERM = re.compile(r'([\w.]+)(>=|=~|=)"((?:[^"\\]|\\.)*)"')
_OF: weakref.WeakKeyDictionary[Double, Logs] = weakref.WeakKeyDictionary()


@dataclass
class _Kept:
    entry: dict[str, Any]
    hidden: int  # listings that do not show it yet


class Logs:
    """What was written. With `late`, every second entry is not there for so many listings."""

    def __init__(self, double: Double) -> None:
        self.late = 0
        self._double = double
        self._kept: list[_Kept] = []

    def write(self, kind: str, labels: Mapping[str, str], payload: Mapping[str, Any], log: str = "") -> None:
        """One entry, now. `payload` is `textPayload` or `jsonPayload`."""
        with self._double.lock:
            number = len(self._kept)
            project = self._double.project
            entry = {
                "insertId": f"i{number:08}",
                "logName": f"projects/{project}/logs/{log or kind}",
                "resource": {"type": kind, "labels": {"project_id": project, **labels}},
                "severity": "INFO",
                "timestamp": self._double.now(),
                **payload,
            }
            self._kept.append(_Kept({**entry, "receiveTimestamp": entry["timestamp"]}, self.late * (number % 2)))

    def list(self, request: Request) -> dict[str, Any]:
        body = request.body
        if body.get("resourceNames") != [f"projects/{self._double.project}"]:
            raise refuse(400, "resource_names must name the project")
        terms = _terms(body.get("filter", ""))
        order = body.get("orderBy", "timestamp asc")
        if order not in ("timestamp asc", "timestamp desc"):
            raise refuse(400, f"Unsupported order_by: {order}")
        shown = [one.entry for one in self._kept if one.hidden <= 0 and _fits(one.entry, terms)]
        for one in self._kept:
            one.hidden -= 1
        shown.sort(key=lambda entry: (entry["timestamp"], entry["insertId"]), reverse=order.endswith("desc"))
        start, size = int(body.get("pageToken") or 0), body.get("pageSize", 50)
        more = {"nextPageToken": str(start + size)} if len(shown) > start + size else {}
        return {"entries": shown[start : start + size], **more}


def _terms(text: str) -> list[tuple[str, str, str]]:
    """The part of the Logging query language that is asked here: fields with `=` and `=~`, times with `>=`, joined by
    AND."""
    found = []
    for part in text.split(" AND ") if text else []:
        match = _TERM.fullmatch(part)
        if match is None or (match[2] == ">=" and match[1] != "timestamp"):
            raise refuse(400, f"Unparseable filter: syntax error at {part!r}")
        found.append((match[1], match[2], re.sub(r"\\(.)", r"\1", match[3])))
    return found


def _fits(entry: Mapping[str, Any], terms: list[tuple[str, str, str]]) -> bool:
    for field, operator, wanted in terms:
        value: Any = entry
        for name in field.split("."):
            value = value.get(name, {})
        if operator == ">=" and value < _micros(wanted):
            return False
        if operator == "=~" and not re.search(wanted, value):
            return False
        if operator == "=" and value != wanted:
            return False
    return True


def _micros(time: str) -> str:
    """The double's own times have six digits; what is asked may have nine."""
    return re.sub(r"(\.\d{6})\d*Z", r"\1Z", time)


def logs_of(double: Double) -> Logs:
    return _OF[double]


def install(double: Double) -> None:
    logs = _OF[double] = Logs(double)
    double.route(HOST, "logging.entries.list")(logs.list)
