"""Who may do what, and why: the least that each service account needs, on the narrowest thing that can be named. Pure.

Roles: cloud.google.com/iam/docs/roles-permissions; conditions: …/iam/docs/conditions-attribute-reference.

Nothing here follows from what is pushed, but the secrets: so a production build needs no power over who may do what in
the project, and has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mawasu.google.iam import Grant
from mawasu.platforms.gcp import names
from mawasu.platforms.gcp.infra.words import Body, Resource, Stage
from mawasu.platforms.gcp.names import Cloud

PROJECT = {
    "build": {
        "roles/cloudbuild.builds.editor": "starts the builds of images, and keeps triggers as the features want them",
        "roles/aiplatform.user": "starts training",
        "roles/logging.viewer": "reads what jobs print",
        "roles/logging.logWriter": "writes its own log",
        # Nothing narrower may say who calls a service (run.services.setIamPolicy); a condition cannot name services.
        "roles/run.admin": "deploys APIs and gateways, and lets the gateway call them",
        # Nothing narrower may create an Endpoints service.
        "roles/servicemanagement.admin": "rolls the gateways' configurations out",
        "roles/serviceusage.serviceUsageAdmin": "turns a gateway's own Endpoints service on",
    },
    "images": {"roles/logging.logWriter": "writes the log of a build"},
    "training": {"roles/logging.logWriter": "writes what the job prints"},
    "training-preview": {"roles/logging.logWriter": "writes what the job prints"},
    "gateway": {
        "roles/servicemanagement.serviceController": "checks keys and reports calls",
        "roles/cloudtrace.agent": "writes traces",
    },
}
"""Roles on the whole project: account → role → why."""

ACTS_AS = ("build", "images", "training", "training-preview", "api", "api-preview", "gateway")
"""Accounts that mawasu-build starts something as: itself too, for the triggers and `mawasu reconcile`."""


def member(cloud: Cloud, what: str) -> str:
    return f"serviceAccount:{names.account(cloud, what)}"


def body_of(grants: Iterable[Grant]) -> Body:
    """Grants as the body of a policy resource: readable keys, so that a difference reads as a sentence."""
    return {"grants": {key(grant): grant.expression or ALWAYS for grant in grants}}


ALWAYS = "always"
EVERYBODY = "allUsers"


def key(grant: Grant) -> str:
    who = grant.member.removeprefix("deleted:").removeprefix("serviceAccount:").partition("@")[0]
    gone = " (deleted account)" if grant.member.startswith("deleted:") else ""
    where = f" if {grant.title or grant.expression}" if grant.expression else ""
    return f"{who}{gone}: {grant.role}{where}"


def policy(name: str, grants: Iterable[Grant], why: str, stage: Stage = "foundation", owner: str = "") -> Resource:
    return Resource("policy", name, body_of(grants), why, stage, owner)


def of(resource: Resource, cloud: Cloud) -> list[Grant]:
    """The grants that `body_of` wrote."""
    found = []
    for text, condition in resource.body["grants"].items():
        who, _, rest = text.partition(": ")
        role, _, title = rest.partition(" if ")
        account = who if who == EVERYBODY else f"serviceAccount:{who}@{cloud.project}.iam.gserviceaccount.com"
        found.append(Grant(role, account, title, "" if condition == ALWAYS else condition))
    return found


# ---------------------------------------------------------------------------------------------- policies


def foundation(cloud: Cloud, *, connection: str, redis: bool, public: bool, refresh: bool) -> Iterator[Resource]:
    """Every policy but those of secrets. `refresh`: whether new data is committed by the clock."""
    yield _project(cloud, redis)
    yield from _buckets(cloud, public)
    yield _repository(cloud)
    for what in ACTS_AS:
        grants = [Grant("roles/iam.serviceAccountUser", member(cloud, "build"))]
        yield policy(f"account/mawasu-{what}", grants, f"builds start things as mawasu-{what}")
    if connection:
        grants = [
            Grant("roles/cloudbuild.connectionViewer", member(cloud, "build")),
            # Nothing narrower may write one repository of a connection: connections have policies, repositories none.
            Grant(f"roles/cloudbuild.{'tokenAccessor' if refresh else 'readTokenAccessor'}", member(cloud, "build")),
        ]
        what = "read the repository, and commit new data to it," if refresh else "read the repository,"
        yield policy(f"connection/{connection}", grants, f"builds {what} and nothing else of GitHub")


def job(cloud: Cloud, name: str) -> Resource:
    grants = [Grant("roles/run.invoker", member(cloud, "scheduler"))]
    return policy(f"job/{name}", grants, "Cloud Scheduler may start this job and no other", "features")


def secret(cloud: Cloud, name: str, readers: Iterable[str], owner: str) -> Resource:
    grants = [Grant("roles/secretmanager.secretAccessor", member(cloud, what)) for what in sorted(readers)]
    return policy(f"secret/{name}", grants, "only the step that declares it reads it", "features", owner)


def _project(cloud: Cloud, redis: bool) -> Resource:
    grants = [Grant(role, member(cloud, what)) for what, roles in PROJECT.items() for role in roles]
    grants.append(
        Grant("roles/secretmanager.admin", member(cloud, "build"), "mawasu secrets, never values", own_secrets(cloud))
    )
    if redis:
        grants.append(Grant("roles/redis.viewer", member(cloud, "build")))
    return policy(f"project/{cloud.project}", grants, "what no narrower place can say")


READERS = {
    "jobs": ("roles/storage.objectUser", "training"),
    "jobs-preview": ("roles/storage.objectUser", "training-preview"),
    "services": ("roles/storage.objectViewer", "api"),
    "services-preview": ("roles/storage.objectViewer", "api-preview"),
    "sources": ("roles/storage.objectViewer", "images"),
    "keys": ("roles/storage.objectViewer", ""),  # everybody
}
"""Who reaches a bucket besides builds: whole buckets, since what mounts one lists it from its top."""


def _buckets(cloud: Cloud, public: bool) -> Iterator[Resource]:
    builds = Grant("roles/storage.objectUser", member(cloud, "build"))
    yield policy(f"bucket/{cloud.bucket}", [builds], "only builds reach the records")
    for what, (role, who) in READERS.items():
        if not who and not public:
            continue
        found = [builds, Grant(role, member(cloud, who) if who else EVERYBODY)]
        why = f"{f'mawasu-{who}' if who else 'everybody'} reads {names.BUCKETS[what]}"
        yield policy(f"bucket/{names.beside(cloud.bucket, what)}", found, why)


def _repository(cloud: Cloud) -> Resource:
    grants = [
        Grant("roles/artifactregistry.reader", member(cloud, "build")),
        Grant("roles/artifactregistry.writer", member(cloud, "images")),
    ]
    return policy(f"repository/{names.REPOSITORY}", grants, "only builds of images write images")


def own_secrets(cloud: Cloud) -> str:
    """Secrets of mawasu's names, and making one (which is asked of the project); not a version, which is the value."""
    project = "resource.type == 'cloudresourcemanager.googleapis.com/Project'"
    type_ = "resource.type == 'secretmanager.googleapis.com/Secret'"
    return f"{project} || ({type_} && resource.name.startsWith('projects/{cloud.number}/secrets/mawasu-'))"
