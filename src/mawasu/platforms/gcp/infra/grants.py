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

BUCKETS = {
    "jobs": {"training": "roles/storage.objectUser"},
    "jobs-preview": {"training-preview": "roles/storage.objectUser"},
    "services": {"api": "roles/storage.objectViewer"},
    "services-preview": {"api-preview": "roles/storage.objectViewer"},
    "sources": {"images": "roles/storage.objectViewer"},
    "keys": {},
}
"""Who else than mawasu-build reaches the buckets beside the records (`names.BESIDE`): bucket → account → role."""

EVERYBODY = "allUsers"
"""The member that makes something public."""
PUBLIC = frozenset({EVERYBODY, "allAuthenticatedUsers"})


def member(cloud: Cloud, what: str) -> str:
    return f"serviceAccount:{names.account(cloud, what)}"


def body_of(grants: Iterable[Grant]) -> Body:
    """Grants as the body of a policy resource: readable keys, so that a difference reads as a sentence."""
    return {"grants": {key(grant): grant.expression or ALWAYS for grant in grants}}


ALWAYS = "always"


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
        account = who if who in PUBLIC else f"serviceAccount:{who}@{cloud.project}.iam.gserviceaccount.com"
        found.append(Grant(role, account, title, "" if condition == ALWAYS else condition))
    return found


# ---------------------------------------------------------------------------------------------- policies


def foundation(cloud: Cloud, *, connection: str, redis: bool) -> Iterator[Resource]:
    """Every policy but those of secrets."""
    yield _project(cloud, redis)
    yield from _buckets(cloud)
    yield _repository(cloud)
    for what in ACTS_AS:
        grants = [Grant("roles/iam.serviceAccountUser", member(cloud, "build"))]
        yield policy(f"account/mawasu-{what}", grants, f"builds start things as mawasu-{what}")
    if connection:
        grants = [
            Grant("roles/cloudbuild.connectionViewer", member(cloud, "build")),
            Grant("roles/cloudbuild.readTokenAccessor", member(cloud, "build")),
        ]
        yield policy(f"connection/{connection}", grants, "builds read the repository, and nothing else of GitHub")


def job(cloud: Cloud, name: str) -> Resource:
    grants = [Grant("roles/run.invoker", member(cloud, "scheduler"))]
    return policy(f"job/{name}", grants, "Cloud Scheduler may start this job and no other", "features")


def secret(cloud: Cloud, name: str, steps: Iterable[str], owner: str, *, preview: bool) -> Resource:
    accounts = {"training": names.training_account, "api": names.api_account}
    readers = [f"serviceAccount:{accounts[step](cloud, preview)}" for step in sorted(steps)]
    grants = [Grant("roles/secretmanager.secretAccessor", reader) for reader in readers]
    return policy(f"secret/{name}", grants, "only the step that declares it reads it", "features", owner)


def _project(cloud: Cloud, redis: bool) -> Resource:
    grants = [Grant(role, member(cloud, what)) for what, roles in PROJECT.items() for role in roles]
    grants.append(
        Grant("roles/secretmanager.admin", member(cloud, "build"), "mawasu secrets, never values", own_secrets(cloud))
    )
    if redis:
        grants.append(Grant("roles/redis.viewer", member(cloud, "build")))
    return policy(f"project/{cloud.project}", grants, "what no narrower place can say")


def _buckets(cloud: Cloud) -> Iterator[Resource]:
    build = Grant("roles/storage.objectUser", member(cloud, "build"))
    yield policy(f"bucket/{cloud.bucket}", [build], "the records are mawasu-build's alone: no code of users sees them")
    for what, others in BUCKETS.items():
        grants = [build, *(Grant(role, member(cloud, other)) for other, role in others.items())]
        why = f"{names.BESIDE[what].partition(':')[0]}: for {' and '.join(others)} alone"
        if what == "keys":
            grants.append(Grant("roles/storage.objectViewer", EVERYBODY))
            why = names.BESIDE[what]
        yield policy(f"bucket/{names.beside(cloud.bucket, what)}", grants, why)


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
