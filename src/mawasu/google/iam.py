"""IAM: service accounts, and policies of whatever has one. Builders and one pure change; nothing is sent here.

cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts, …/reference/rest/v1/Policy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mawasu.google.call import Call, path
from mawasu.words import Value

HOST = "iam.googleapis.com"
PROJECTS = "cloudresourcemanager.googleapis.com"
VERSION = 3
"""Of policies: the only one that holds conditions."""


class Grant(Value, frozen=True):
    """One member has one role, always or when a condition holds. `expression` is CEL, `title` names it for people."""

    role: str
    member: str  # serviceAccount:…
    title: str = ""
    expression: str = ""


class Target(Value, frozen=True):
    """What a policy stands on: how it is read and how it is set."""

    get: Call
    set: Call  # its body is left out: `policy` makes it
    bare: bool = False  # Cloud Storage takes the policy itself, not {policy: …}


# ---------------------------------------------------------------------------------------------- service accounts


def list_accounts(project: str) -> Call:
    return Call("GET", HOST, path("v1", "projects", project, "serviceAccounts"), {"pageSize": "100"})


def create_account(project: str, name: str, description: str) -> Call:
    body = {"accountId": name, "serviceAccount": {"displayName": name, "description": description}}
    return Call("POST", HOST, path("v1", "projects", project, "serviceAccounts"), body=body, again=True)


def patch_account(project: str, email: str, description: str) -> Call:
    body = {"serviceAccount": {"description": description}, "updateMask": "description"}
    return Call("PATCH", HOST, path("v1", "projects", project, "serviceAccounts", email), body=body, again=True)


def delete_account(project: str, email: str) -> Call:
    return Call("DELETE", HOST, path("v1", "projects", project, "serviceAccounts", email))


# ---------------------------------------------------------------------------------------------- policies


def of_project(project: str) -> Target:
    """By POST with the version in the body, alone among all (v3 projects.getIamPolicy)."""
    at = path("v3", "projects", project)
    body = {"options": {"requestedPolicyVersion": VERSION}}
    get = Call("POST", PROJECTS, f"{at}:getIamPolicy", body=body, again=True)
    return Target(get, Call("POST", PROJECTS, f"{at}:setIamPolicy", again=True))


def of_account(project: str, email: str) -> Target:
    at = path("v1", "projects", project, "serviceAccounts", email)
    get = Call("POST", HOST, f"{at}:getIamPolicy", {"options.requestedPolicyVersion": str(VERSION)}, again=True)
    return Target(get, Call("POST", HOST, f"{at}:setIamPolicy", again=True))


def of_resource(host: str, at: str) -> Target:
    """Of anything else (google.iam.v1): `at` is its path with the version, escaped."""
    get = Call("GET", host, f"{at}:getIamPolicy", {"options.requestedPolicyVersion": str(VERSION)})
    return Target(get, Call("POST", host, f"{at}:setIamPolicy", again=True))


def of_bucket(bucket: str) -> Target:
    at = path("storage", "v1", "b", bucket, "iam")
    host = "storage.googleapis.com"
    return Target(Call("GET", host, at, {"optionsRequestedPolicyVersion": str(VERSION)}), Call("PUT", host, at), True)


def set_policy(target: Target, policy: Mapping[str, Any]) -> Call:
    body = dict(policy) if target.bare else {"policy": dict(policy)}
    return Call(target.set.method, target.set.host, target.set.path, body=body, again=target.set.again)


def grants_of(policy: Mapping[str, Any], mine: Callable[[str], bool]) -> list[Grant]:
    """What members of ours have, by this policy."""
    found = []
    for binding in policy.get("bindings", []):
        condition = binding.get("condition") or {}
        for member in binding.get("members", []):
            if mine(member):
                title, expression = condition.get("title", ""), condition.get("expression", "")
                found.append(Grant(binding["role"], member, title, expression))
    return found


def changed(policy: Mapping[str, Any], wanted: Iterable[Grant], mine: Callable[[str], bool]) -> dict[str, Any]:
    """The policy with our members having exactly what is wanted; members that are not ours, and the etag, stay."""
    bindings = []
    for binding in policy.get("bindings", []):
        others = [member for member in binding.get("members", []) if not mine(member)]
        if others:
            bindings.append({**binding, "members": others})
    for grant in wanted:
        _add(bindings, grant)
    return {**{key: policy[key] for key in ("etag", "auditConfigs") if key in policy}, "version": VERSION} | {
        "bindings": bindings
    }


def _add(bindings: list[dict[str, Any]], grant: Grant) -> None:
    condition = {"title": grant.title, "expression": grant.expression} if grant.expression else None
    for binding in bindings:
        have = binding.get("condition")
        same = (have or {}).get("expression", "") == grant.expression and (have or {}).get("title", "") == grant.title
        if binding["role"] == grant.role and same:
            binding["members"] = [*binding["members"], grant.member]
            return
    bindings.append({"role": grant.role, "members": [grant.member], **({"condition": condition} if condition else {})})
