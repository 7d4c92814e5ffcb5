"""Google's error answers as mawasu's errors: what, where, and the next step. Pure.

The error model is google.rpc.Status (google.aip.dev/193); storage's older one (`errors: [{reason}]`) is read too.
"""

from __future__ import annotations

import html
import re
from typing import Any

from mawasu.errors import PlatformError
from mawasu.google.call import Call


class GoogleError(PlatformError):
    """An answer of Google that is not success. `status` is HTTP's, `reason` Google's own word for it ("" if none)."""

    code = "google"

    def __init__(self, message: str, hint: str = "", *, status: int = 0, reason: str = "") -> None:
        super().__init__(message, hint)
        self.status = status
        self.reason = reason


class NotFoundError(GoogleError):
    """404: the thing is not there."""


class ConflictError(GoogleError):
    """409 or 412: it is there already, or is not as it was when we looked."""


def fault_of(call: Call, status: int, body: Any) -> GoogleError:
    """The error that an answer stands for; `body` is its JSON value, or its text."""
    body = body[0] if isinstance(body, list) and len(body) == 1 else body  # of streaming methods
    error = body.get("error") if isinstance(body, dict) else None
    error = error if isinstance(error, dict) else {}
    text = str(error.get("message") or (_plain(body) if isinstance(body, str) else "") or f"status {status}").strip()
    details = [one for one in error.get("details") or () if isinstance(one, dict)]
    reason = _reason(error, details)
    what = f"{call.method} {call.host}{call.path}"
    kind = {404: NotFoundError, 409: ConflictError, 412: ConflictError}.get(status, GoogleError)
    return kind(f"{what}: {_line(text)}", _hint(call, status, text, reason, details), status=status, reason=reason)


def _reason(error: dict[str, Any], details: list[dict[str, Any]]) -> str:
    found = [
        str(one["reason"])
        for one in (*details, *(error.get("errors") or ()))
        if isinstance(one, dict) and "reason" in one
    ]
    return next(iter(found), str(error.get("status", "")))


def _hint(call: Call, status: int, text: str, reason: str, details: list[dict[str, Any]]) -> str:
    metadata = {key: str(value) for one in details for key, value in (one.get("metadata") or {}).items()}
    if 300 <= status < 400:
        return "does something between here and Google answer in its place (a proxy, a sign-in page)?"
    if status == 401:
        return "sign in again: `gcloud auth application-default login`"
    if status == 429 or reason in _SPENT:
        return "a quota of the project is spent: wait, or raise it (IAM & Admin → Quotas)"
    if status == 403:
        return _forbidden(call, text, reason, metadata)
    if status == 404 and "/projects/" in call.path and re.search(r"[Pp]roject .*(not found|not exist)", text):
        return _PROJECT
    if status >= 500:
        return "Google's side failed, and went on failing: run it again later"
    return ""


_SPENT = frozenset({"RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED", "rateLimitExceeded", "userRateLimitExceeded"}) | {
    "quotaExceeded"
}
_PROJECT = "is gcp.project in mawasu.yaml right, and may you see it? `gcloud projects list`"


def _forbidden(call: Call, text: str, reason: str, metadata: dict[str, str]) -> str:
    """The next step after a 403: its reasons are google.api.ErrorReason's; where there is none, the text says it."""
    project = (metadata.get("consumer") or "").removeprefix("projects/") or _project(call) or "PROJECT"
    if "requires a quota project" in text:
        return (
            f"say whose quota counts: gcloud auth application-default set-quota-project {_project(call) or 'PROJECT'}"
        )
    if reason in ("SERVICE_DISABLED", "accessNotConfigured") or "has not been used in project" in text:
        service = metadata.get("service") or call.host
        return f"`mawasu gcp apply` enables it, or: gcloud services enable {service} --project {project}"
    if reason in ("CONSUMER_INVALID", "CONSUMER_SUSPENDED"):
        return _PROJECT
    if reason == "BILLING_DISABLED" or "requires billing to be enabled" in text:
        return f"link a billing account: https://console.cloud.google.com/billing/linkedaccount?project={project}"
    if reason == "USER_PROJECT_DENIED":
        return f"give who runs this the role roles/serviceusage.serviceUsageConsumer on {project}"
    permission = metadata.get("permission") or _found(r"[Pp]ermission '?([a-z][A-Za-z]*\.[A-Za-z.]+[A-Za-z])'?", text)
    permission = permission or _found(r"does not have ([a-z]+\.[A-Za-z.]+[A-Za-z]) access", text)
    account = _found(r"on service account '?([^\s']+)", text)
    named = account or metadata.get("resource") or _found(r"(?:on resource|for resource|access to) '([^']+)'", text)
    who = _found(r"^(\S+@\S+) does not have", text) or "who runs this"
    lacks = f" (it lacks {permission})" if permission else ""
    return f"give {who} the role {role_for(permission, call.host)} on {named or _project(call) or 'the project'}{lacks}"


_ROLES = {
    "aiplatform": "roles/aiplatform.user",
    "artifactregistry": "roles/artifactregistry.admin",
    "cloudbuild": "roles/cloudbuild.builds.editor",
    "cloudscheduler": "roles/cloudscheduler.admin",
    "iam": "roles/iam.serviceAccountAdmin",
    "logging": "roles/logging.viewer",
    "redis": "roles/redis.admin",
    "resourcemanager": "roles/resourcemanager.projectIamAdmin",
    "cloudresourcemanager": "roles/resourcemanager.projectIamAdmin",
    "run": "roles/run.admin",
    "secretmanager": "roles/secretmanager.admin",
    "servicemanagement": "roles/servicemanagement.admin",
    "serviceusage": "roles/serviceusage.serviceUsageAdmin",
    "storage": "roles/storage.admin",
}


def role_for(permission: str, host: str) -> str:
    """A predefined role that holds a permission such as `run.services.create`."""
    if permission.lower() == "iam.serviceaccounts.actas":
        return "roles/iam.serviceAccountUser"
    service = permission.partition(".")[0] or host.partition(".")[0].rpartition("-")[2]
    return _ROLES.get(service, f"that holds {permission}" if permission else "that this call needs")


def _project(call: Call) -> str:
    return _found(r"/projects/([^/:]+)", call.path) or call.query.get("project", "")


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[1] if match else ""


def _plain(text: str) -> str:
    """What a text says; of an HTML page its title, since something else than the API wrote it."""
    if not text.lstrip().startswith("<"):
        return text
    title = _found(r"(?is)<title[^>]*>(.*?)</title>", text) or "no title"
    return f"a web page came instead of an answer ({html.unescape(title).strip()})"


def _line(text: str) -> str:
    return " ".join(text.split())[:600]
