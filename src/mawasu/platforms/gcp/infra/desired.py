"""What a project should hold for the features of a repository: a pure function, the same for the same settings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from mawasu.platforms.gcp import names
from mawasu.platforms.gcp.infra import grants
from mawasu.platforms.gcp.infra.triggers import UNKNOWN_RUNNER, triggers
from mawasu.platforms.gcp.infra.words import Body, Facts, Resource, Scope, Wanted
from mawasu.platforms.gcp.names import MANAGED, Cloud
from mawasu.spec.environments import PREVIEW
from mawasu.spec.feature import Feature

APIS = {
    "aiplatform.googleapis.com": "training",
    "artifactregistry.googleapis.com": "images",
    "cloudbuild.googleapis.com": "pushes and images",
    "cloudresourcemanager.googleapis.com": "who may do what",
    "cloudscheduler.googleapis.com": "expiry and refresh",
    "endpoints.googleapis.com": "the gateway",
    "iam.googleapis.com": "service accounts",
    "iamcredentials.googleapis.com": "tokens of service accounts",
    "logging.googleapis.com": "logs",
    "run.googleapis.com": "APIs and the gateway",
    "secretmanager.googleapis.com": "secrets",
    "servicecontrol.googleapis.com": "the gateway",
    "servicemanagement.googleapis.com": "the gateway",
    "serviceusage.googleapis.com": "turning APIs on",
    "storage.googleapis.com": "records, data and models",
}

REPOSITORY_LABEL = "mawasu-repository"
RECONCILE = "mawasu-reconcile"
EVERY = "*/30 * * * *"
DAY = 86400
SCRATCH = ("jobs", "jobs-preview", "sources")
"""Buckets (`names.BUCKETS`) whose objects can be made again; what matters of them is in the store."""


def desired(features: Sequence[Wanted], scope: Scope, cloud: Cloud, facts: Facts) -> list[Resource]:
    """All resources, in no order that matters (`kinds.LEVELS` has that)."""
    chosen = [one.feature for one in features]
    owner = names.label(scope.github) if scope.github else ""
    found = [
        _apis(chosen, scope),
        *_accounts(cloud),
        *_buckets(cloud, chosen),
        _repository(),
        *grants.foundation(
            cloud,
            connection=scope.connection if facts.connected else "",
            redis=scope.redis is not None,
            public=_publishes(chosen),
            refresh=any(data.refresh is not None for one in chosen for data in one.data),
        ),
        _job(cloud),
        grants.job(cloud, RECONCILE),
        _schedule(cloud),
        *_secrets(chosen, cloud, facts, owner),
    ]
    if scope.redis is not None:
        found.append(_redis(scope, owner))
    if facts.connected and scope.github:
        found.append(_link(scope, facts))
        found += [
            trigger for one in chosen for trigger in triggers(one, cloud, facts.repository, owner=facts.repository)
        ]
    return found


def repository_of(scope: Scope) -> str:
    """The resource name under which Cloud Build will know the repository."""
    place = f"projects/{scope.project}/locations/{scope.region}"
    return f"{place}/connections/{scope.connection}/repositories/{names.link(scope.github)}"


def uri_of(github: str) -> str:
    return f"https://github.com/{github}.git"


# ---------------------------------------------------------------------------------------------- foundation


def _apis(features: Sequence[Feature], scope: Scope) -> Resource:
    apis = set(APIS)
    if scope.redis is not None:
        apis |= {"redis.googleapis.com", "compute.googleapis.com"}  # Compute Engine's is where networks are
    if any(one.gcp is not None and one.gcp.gateway.keys == "google" for one in features):
        apis.add("apikeys.googleapis.com")
    why = "what mawasu calls; an API that is on costs nothing"
    return Resource("apis", scope.project, {"apis": dict.fromkeys(sorted(apis), True)}, why, "foundation")


def _accounts(cloud: Cloud) -> Iterator[Resource]:
    for what, why in names.ACCOUNTS.items():
        body = {"email": names.account(cloud, what), "description": f"{why} ({mark()})"}
        yield Resource("account", f"mawasu-{what}", body, why, "foundation")


def mark() -> str:
    """For what has a description, but no labels."""
    return ": ".join(next(iter(MANAGED.items())))


def _publishes(features: Sequence[Feature]) -> bool:
    """Whether something must be public; where an organisation forbids that, all features use Google's own keys."""
    return any(one.gcp is None or one.gcp.gateway.keys == "mawasu" for one in features)


def _buckets(cloud: Cloud, features: Sequence[Feature]) -> Iterator[Resource]:
    yield _bucket(cloud, cloud.bucket, "ledger, models, data, logs: the records, which no user's code reaches")
    for what, why in names.BUCKETS.items():
        if what == "keys" and not _publishes(features):
            continue
        yield _bucket(cloud, names.beside(cloud.bucket, what), why, what)


def _bucket(cloud: Cloud, name: str, why: str, what: str = "") -> Resource:
    """`what` is "" for the one of records, whose objects live as long as it does."""
    body = {
        "location": cloud.region.upper(),
        "storageClass": "STANDARD",
        "labels": dict(MANAGED),
        "iamConfiguration": {
            "uniformBucketLevelAccess": {"enabled": True},
            "publicAccessPrevention": "inherited" if what == "keys" else "enforced",
        },
        "versioning": {"enabled": not what},
        "softDeletePolicy": {"retentionDurationSeconds": "0" if what else str(7 * DAY)},
        "lifecycle": {"rule": _lifecycle(what)},
    }
    return Resource("bucket", name, body, why, "foundation")


def _lifecycle(what: str) -> list[Body]:
    """Scratch goes after 30 days; what was overwritten or deleted of the records can be had back for 30."""
    delete = {"type": "Delete"}
    rules: list[Body] = [{"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 7}}]
    if what in SCRATCH:
        rules.insert(0, {"action": delete, "condition": {"age": 30}})
    if not what:
        rules.insert(0, {"action": delete, "condition": {"daysSinceNoncurrentTime": 30}})
    return rules


def _repository() -> Resource:
    policies: Mapping[str, Body] = {
        "keep-tagged": {"action": "KEEP", "condition": {"tagState": "TAGGED"}},
        "keep-recent": {"action": "KEEP", "mostRecentVersions": {"keepCount": 10}},
        "delete-old": {"action": "DELETE", "condition": {"tagState": "UNTAGGED", "olderThan": f"{30 * DAY}s"}},
    }
    body = {
        "format": "DOCKER",
        "description": "Images of mawasu",
        "labels": dict(MANAGED),
        "cleanupPolicies": {name: {"id": name, **policy} for name, policy in policies.items()},
        "cleanupPolicyDryRun": False,
    }
    return Resource("repository", names.REPOSITORY, body, "images; what no tag names goes after 30 days", "foundation")


def _redis(scope: Scope, owner: str) -> Resource:
    assert scope.redis is not None
    network = scope.network or "default"
    body = {
        "displayName": "mawasu",
        "tier": "BASIC",
        "memorySizeGb": max(1, math.ceil(scope.redis / 2**30)),
        "redisVersion": "REDIS_7_2",
        "authorizedNetwork": f"projects/{scope.project}/global/networks/{network}",
        "connectMode": "DIRECT_PEERING",
        "labels": {**MANAGED, **_owned(owner)},
    }
    return Resource("redis", names.REDIS, body, f"the cache, in network {network}", "foundation", owner)


def _schedule(cloud: Cloud) -> Resource:
    body = {
        "description": f"starts {RECONCILE} ({mark()})",
        "schedule": EVERY,
        "timeZone": "Etc/UTC",
        "attemptDeadline": "180s",
        "httpTarget": {
            "uri": f"https://run.googleapis.com/v2/{cloud.parent}/jobs/{RECONCILE}:run",
            "httpMethod": "POST",
            "oauthToken": {
                "serviceAccountEmail": names.account(cloud, "scheduler"),
                "scope": "https://www.googleapis.com/auth/cloud-platform",
            },
        },
    }
    return Resource("schedule", RECONCILE, body, "refresh, expiry and deleted branches, every 30 minutes", "foundation")


def _link(scope: Scope, facts: Facts) -> Resource:
    body = {"name": facts.repository, "remoteUri": uri_of(scope.github)}
    return Resource("link", scope.github, body, "pushes to it are seen", "foundation")


# ---------------------------------------------------------------------------------------------- features


def _job(cloud: Cloud) -> Resource:
    container = {
        "image": cloud.runner or UNKNOWN_RUNNER,
        "command": ["mawasu"],
        "args": ["reconcile"],
        "env": [{"name": names.VARIABLE, "value": names.told(cloud)}],
        "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
    }
    task = {
        "containers": [container],
        "serviceAccount": names.account(cloud, "build"),
        "timeout": "3600s",
        "maxRetries": 0,  # it comes again by itself
    }
    body = {"labels": dict(MANAGED), "template": {"taskCount": 1, "template": task}}
    return Resource("job", RECONCILE, body, "refresh, expiry and deleted branches; takes up builds that were cut off")


def _secrets(features: Sequence[Feature], cloud: Cloud, facts: Facts, owner: str) -> Iterator[Resource]:
    """A place for the value of every declared name in every stable environment, and who reads it.

    Previews get none unless somebody made the secret: then only who reads it is wanted.
    """
    for feature in features:
        for environment in feature.environments:
            for name, readers in _declared(feature).items():
                id = names.secret(feature.name, PREVIEW if environment.preview else environment.name, name)
                if environment.preview and id not in facts.secrets:
                    continue
                if not environment.preview:
                    why = f"{name} of {feature.name} in {environment.name}, for {' and '.join(sorted(readers))}"
                    labels = {**names.labels(feature.name, environment.name), **_owned(owner)}
                    body = {
                        "replication": {"userManaged": {"replicas": [{"location": cloud.region}]}},
                        "labels": labels,
                    }
                    yield Resource("secret", id, body, why, owner=owner)
                allowed = {names.of_class(what, environment.preview) for what in readers}
                yield grants.secret(cloud, id, allowed, owner)


def _owned(owner: str) -> dict[str, str]:
    return {REPOSITORY_LABEL: owner} if owner else {}


def _declared(feature: Feature) -> dict[str, set[str]]:
    """Secrets by name, each with the accounts whose step declares it."""
    found: dict[str, set[str]] = {}
    for what, part in (("training", feature.training), ("api", feature.api)):
        for name in part.secrets if part is not None else ():
            found.setdefault(name, set()).add(what)
    return found
