"""IAM policies of any resource: read, changed and written back, with etags (cloud.google.com/iam/docs/policies).

The traps of the real thing are here: a condition is only seen by who asks for version 3, and a policy whose etag is old
is refused.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from tests.google.double.documents import OLD
from tests.google.double.faults import refuse

if TYPE_CHECKING:
    from tests.google.double.core import Request

VERBS = ("getIamPolicy", "setIamPolicy", "testIamPermissions")

_MEMBER = re.compile(
    r"allUsers|allAuthenticatedUsers|(user|group|serviceAccount):[^@\s:]+@[^@\s]+|domain:\S+"
    r"|(principal|principalSet)://iam\.googleapis\.com/\S+|project(Owner|Editor|Viewer):\S+"
)
_ROLE = re.compile(r"roles/[a-zA-Z]+(\.[a-zA-Z]+)*|(projects|organizations)/[^/]+/roles/[\w.]+")


def answer(request: Request, verb: str) -> dict[str, Any]:
    """What the three methods of every resource with a policy do."""
    resource = next(iter(request.params.values()))
    name = f"//{request.host}/{resource}"
    if verb == "testIamPermissions":
        return {"permissions": request.body.get("permissions") or request.queries.get("permissions", [])}
    policies = request.double.policies
    found = policies.get(name, {"bindings": []})
    if verb == "setIamPolicy":
        old = request.method.api in OLD
        policies[name] = found = _set(request.body if old else request.body["policy"], found, 412 if old else 409)
        return _with_etag(found)
    asked = request.body.get("options", {}).get("requestedPolicyVersion")
    version = asked or next((one for key, one in request.query.items() if key.endswith("equestedPolicyVersion")), 1)
    return _with_etag(found if int(version) >= 3 else _without_conditions(found))


def _set(policy: dict[str, Any], found: dict[str, Any], conflict: int) -> dict[str, Any]:
    if (etag := policy.get("etag")) and etag != etag_of(found):
        raise refuse(
            conflict,
            "There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff.",
            code="ABORTED" if conflict == 409 else "",
        )
    bindings = policy.get("bindings", [])
    for one in bindings:
        if not _ROLE.fullmatch(one.get("role", "")):
            raise refuse(400, f"Role {one.get('role')} is not supported for this resource.")
        for member in one.get("members", []):
            if not _MEMBER.fullmatch(member):
                raise refuse(400, f"The member {member} is of an unknown type or malformed.")
        if "condition" in one and policy.get("version") != 3:
            raise refuse(400, "Specifying conditions in policy bindings requires policy version 3.")
    kept = [{**one, "members": sorted(set(one["members"]))} for one in bindings if one.get("members")]
    version = 3 if any("condition" in one for one in kept) else 1
    return {"version": version, "bindings": kept}


def etag_of(policy: dict[str, Any]) -> str:
    text = json.dumps(policy.get("bindings", []), sort_keys=True)
    return base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()


def _with_etag(policy: dict[str, Any]) -> dict[str, Any]:
    bindings = policy.get("bindings", [])
    shown = {"version": policy.get("version", 1), "etag": policy.get("etag") or etag_of(policy)}
    return {**shown, **({"bindings": bindings} if bindings else {})}


def _without_conditions(policy: dict[str, Any]) -> dict[str, Any]:
    """As a caller sees it that does not know of conditions."""
    shown = []
    for one in policy.get("bindings", []):
        if condition := one.get("condition"):
            mark = hashlib.sha256(json.dumps(condition, sort_keys=True).encode()).hexdigest()[:20]
            one = {"role": f"{one['role']}_withcond_{mark}", "members": one["members"]}
        shown.append(one)
    return {"version": 1, "bindings": shown, "etag": etag_of(policy)}
