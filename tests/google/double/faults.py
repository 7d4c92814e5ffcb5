"""Trouble on order, with the bodies that Google writes (google.aip.dev/193; storage's and compute's older `errors`)."""

from __future__ import annotations

import fnmatch
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CODES = {
    400: (3, "INVALID_ARGUMENT"),
    401: (16, "UNAUTHENTICATED"),
    403: (7, "PERMISSION_DENIED"),
    404: (5, "NOT_FOUND"),
    409: (6, "ALREADY_EXISTS"),
    412: (9, "FAILED_PRECONDITION"),
    429: (8, "RESOURCE_EXHAUSTED"),
    499: (1, "CANCELLED"),
    500: (13, "INTERNAL"),
    501: (12, "UNIMPLEMENTED"),
    503: (14, "UNAVAILABLE"),
    504: (4, "DEADLINE_EXCEEDED"),
}
"""google.rpc.Code's number and name by HTTP status."""

_REASONS = {
    400: "invalid",
    401: "authError",
    403: "forbidden",
    404: "notFound",
    409: "conflict",
    412: "conditionNotMet",
}


@dataclass(frozen=True)
class Answer:
    """What goes back: a JSON value, or bytes. Headers are added to those the server writes itself."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def data(self) -> tuple[bytes, str]:
        """The bytes and their type."""
        if isinstance(self.body, bytes):
            return self.body, "application/octet-stream"
        return json.dumps(self.body, indent=2).encode(), "application/json; charset=UTF-8"


class RefusedError(Exception):
    """A handler says no: becomes Google's error answer (or the error of the operation whose work it was)."""

    def __init__(
        self, status: int, message: str, *, code: str = "", details: list[dict[str, Any]] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.details = status, message, details or []
        self.code = code or CODES.get(status, (2, "UNKNOWN"))[1]

    def answer(self, host: str = "") -> Answer:
        error: dict[str, Any] = {"code": self.status, "message": self.message}
        if host.startswith(("storage.", "compute.")):
            reason = _REASONS.get(self.status, "backendError")
            error["errors"] = [{"message": self.message, "domain": "global", "reason": reason}]
        else:
            error["status"] = self.code
        if self.details:
            error["details"] = self.details
        return Answer(self.status, {"error": error})

    def rpc(self) -> dict[str, Any]:
        """As google.rpc.Status: the error of an operation."""
        numbers = {name: number for number, name in CODES.values()} | {"ABORTED": 10}
        return {"code": numbers.get(self.code, 2), "message": self.message, "details": self.details}


def refuse(status: int, message: str, *, code: str = "", details: list[dict[str, Any]] | None = None) -> RefusedError:
    """To be raised."""
    return RefusedError(status, message, code=code, details=details)


def quota_spent(host: str, project: str, number: str) -> RefusedError:
    metric = f"{host}/write_requests"
    return refuse(
        429,
        f"Quota exceeded for quota metric 'Write requests' and limit 'Write requests per minute' of service '{host}' "
        f"for consumer 'project_number:{number}'.",
        details=[
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "RATE_LIMIT_EXCEEDED",
                "domain": "googleapis.com",
                "metadata": {
                    "consumer": f"projects/{number}",
                    "quota_limit": "WriteRequestsPerMinutePerProject",
                    "quota_limit_value": "60",
                    "quota_metric": metric,
                    "service": host,
                },
            }
        ],
    )


def api_disabled(host: str, project: str, number: str) -> RefusedError:
    title = host.partition(".")[0].capitalize()
    url = f"https://console.developers.google.com/apis/api/{host}/overview?project={number}"
    text = (
        f"{title} API has not been used in project {number} before or it is disabled. Enable it by visiting {url} then "
        "retry. If you enabled this API recently, wait a few minutes for the action to propagate to our systems and "
        "retry."
    )
    metadata = {
        "activationUrl": url,
        "consumer": f"projects/{number}",
        "containerInfo": number,
        "service": host,
        "serviceTitle": f"{title} API",
    }
    return refuse(
        403,
        text,
        details=[
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "SERVICE_DISABLED",
                "domain": "googleapis.com",
                "metadata": metadata,
            },
            {"@type": "type.googleapis.com/google.rpc.LocalizedMessage", "locale": "en-US", "message": text},
            {
                "@type": "type.googleapis.com/google.rpc.Help",
                "links": [{"description": "Google developers console API activation", "url": url}],
            },
        ],
    )


def permission_denied(host: str, permission: str, resource: str, caller: str) -> RefusedError:
    if host.startswith("storage."):
        return refuse(
            403,
            f"{caller} does not have {permission} access to the Google Cloud Storage "
            f"{'object' if '.objects.' in permission else 'bucket'}. Permission '{permission}' denied on resource "
            "(or it may not exist).",
        )
    return refuse(
        403,
        f"Permission '{permission}' denied on resource '//{host}/{resource}' (or it may not exist).",
        details=[
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "IAM_PERMISSION_DENIED",
                "domain": host,
                "metadata": {"permission": permission, "resource": resource},
            }
        ],
    )


@dataclass
class _Planned:
    host: str
    method: str
    path: str
    times: int  # how often it still happens; -1: always
    kind: str  # answer, before, after, half
    answer: Answer | None = None

    def fits(self, host: str, method: str, id: str, path: str) -> bool:
        return (
            self.times != 0
            and fnmatch.fnmatch(host, self.host)
            and (fnmatch.fnmatch(method, self.method) or fnmatch.fnmatch(id, self.method))
            and fnmatch.fnmatch(path, self.path)
        )


class Faults:
    """Trouble to come. `host`, `method` (HTTP's, or a discovery id), `path` are shell patterns; `times=-1`: for ever.

    A request that fits several meets the one that was ordered first; each happens `times` times, then no more.
    """

    def __init__(self, project: str, number: str) -> None:
        self.project, self.number = project, number
        self._planned: list[_Planned] = []
        self._lock = threading.Lock()

    def fail(
        self,
        host: str,
        method: str = "*",
        path: str = "*",
        status: int = 503,
        times: int = 1,
        *,
        retry_after: str = "",
        error: RefusedError | None = None,
        html: str = "",
    ) -> None:
        """Answer with a status instead of acting; `error` for a body of its own, `html` for what a proxy writes."""
        refused = error or refuse(status, f"The service is currently {CODES.get(status, (2, 'unknown'))[1].lower()}.")
        answer = refused.answer(host) if not html else Answer(status, html.encode(), {"content-type": "text/html"})
        headers = {**answer.headers, **({"retry-after": retry_after} if retry_after else {})}
        self._plan(_Planned(host, method, path, times, "answer", Answer(answer.status, answer.body, headers)))

    def quota(self, host: str, method: str = "*", path: str = "*", times: int = 1) -> None:
        """429 RESOURCE_EXHAUSTED."""
        self.fail(host, method, path, times=times, error=quota_spent(host, self.project, self.number))

    def disable(self, host: str) -> None:
        """403 SERVICE_DISABLED until `enable`."""
        self.fail(host, times=-1, error=api_disabled(host, self.project, self.number))

    def deny(
        self, host: str, permission: str, resource: str, method: str = "*", path: str = "*", times: int = -1
    ) -> None:
        """403 PERMISSION_DENIED that names permission and resource."""
        caller = f"mawasu-build@{self.project}.iam.gserviceaccount.com"
        self.fail(host, method, path, times=times, error=permission_denied(host, permission, resource, caller))

    def cut_before_effect(self, host: str, method: str = "*", path: str = "*", times: int = 1) -> None:
        """Close the connection instead of acting."""
        self._plan(_Planned(host, method, path, times, "before"))

    def cut_after_effect(self, host: str, method: str = "*", path: str = "*", times: int = 1) -> None:
        """Act, then close the connection without an answer."""
        self._plan(_Planned(host, method, path, times, "after"))

    def cut_inside_answer(self, host: str, method: str = "*", path: str = "*", times: int = 1) -> None:
        """Act, send half of the answer, then close the connection."""
        self._plan(_Planned(host, method, path, times, "half"))

    def clear(self, host: str = "*") -> None:
        """No more trouble at a host (an API was enabled, a role given)."""
        with self._lock:
            self._planned = [one for one in self._planned if not fnmatch.fnmatch(one.host, host)]

    enable = clear

    def take(self, host: str, method: str, id: str, path: str) -> tuple[str, Answer | None]:
        """What happens to this request: ("", None), or a kind of trouble and the answer that it gives."""
        with self._lock:
            for one in self._planned:
                if one.fits(host, method, id, path):
                    one.times -= one.times > 0
                    return one.kind, one.answer
        return "", None

    @property
    def left(self) -> list[str]:
        """Trouble that was ordered and has not happened: a test that ends with some has not shown what it says."""
        with self._lock:
            return [
                f"{one.kind} {one.method} {one.host}{one.path} ×{one.times}" for one in self._planned if one.times > 0
            ]

    def _plan(self, planned: _Planned) -> None:
        with self._lock:
            self._planned.append(planned)
