"""The triggers of a feature: one per environment, each with the files that make it fire and the one step it runs. Pure.

cloud.google.com/build/docs/api/reference/rest/v1/projects.locations.triggers#BuildTrigger.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator

from mawasu.platforms.gcp import names
from mawasu.platforms.gcp.cloudbuild import branch_regex
from mawasu.platforms.gcp.infra.words import Body, Resource
from mawasu.platforms.gcp.names import Cloud
from mawasu.spec.feature import Environment, Feature
from mawasu.spec.globs import is_plain

TAG = "managed-by-mawasu"
"""Triggers have no labels: this tag says whose they are."""

LONGEST = 86400  # seconds: Cloud Build's own limit
SPARE = 7200  # for images, examples, waiting for machines
UNKNOWN_RUNNER = "the runner image, which is made first"


def triggers(feature: Feature, cloud: Cloud, repository: str, owner: str) -> Iterator[Resource]:
    for environment in feature.environments:
        body = trigger(feature, environment, cloud, repository)
        why = f"a push to {environment.branch} builds {feature.name} for {environment.name}"
        yield Resource("trigger", names.trigger(feature.name, environment.name), body, why, owner=owner)


def trigger(feature: Feature, environment: Environment, cloud: Cloud, repository: str) -> Body:
    """All that decides what runs stands in the trigger: nothing that is pushed changes what runs as mawasu-build.

    Fields that mawasu leaves empty are said too, so that one set by hand is seen.
    """
    return {
        "name": names.trigger(feature.name, environment.name),
        "description": f"mawasu: {feature.name} → {environment.name}",
        "tags": [TAG, f"feature-{feature.name}", f"environment-{environment.name}"],
        "disabled": False,
        "repositoryEventConfig": {"repository": repository, "push": push_filter(feature, environment)},
        "includedFiles": included_files(feature),
        "ignoredFiles": [],
        "filter": "",
        "substitutions": {},
        "serviceAccount": f"projects/{cloud.project}/serviceAccounts/{names.account(cloud, 'build')}",
        "build": _build(feature, cloud, posixpath.basename(repository)),
    }


def push_filter(feature: Feature, environment: Environment) -> Body:
    """Which pushes a trigger takes. Previews take what no stable environment takes.

    RE2 cannot subtract: where previews are of every branch the stable ones are inverted; where they are of some, a
    branch that a stable environment takes too fires both triggers, and the second build finds everything done.
    """
    stable = [one.branch for one in feature.environments if not one.preview]
    if environment.preview and environment.branch == "**" and stable:
        return {"branch": branch_regex(*stable), "invertRegex": True}
    return {"branch": branch_regex(environment.branch), "invertRegex": False}


def _build(feature: Feature, cloud: Cloud, repository: str) -> Body:
    arguments = ["build", "--commit", "$COMMIT_SHA", "--branch", "$BRANCH_NAME", "--feature", feature.name]
    # A `$` would be a substitution; the id says which run walks a build.
    told = names.told(cloud).replace("$", "$$")
    environ = ["BUILD_ID=$BUILD_ID", f"MAWASU_REPOSITORY={repository}", f"{names.VARIABLE}={told}"]
    step = {"name": cloud.runner or UNKNOWN_RUNNER, "entrypoint": "mawasu", "args": arguments, "env": environ}
    return {
        "steps": [step],
        "timeout": f"{_seconds(feature)}s",
        # With a service account of one's own Cloud Build wants to be told where the log goes.
        "options": {"logging": "CLOUD_LOGGING_ONLY", "env": [], "secretEnv": [], "volumes": []},
        "tags": ["mawasu", f"feature-{feature.name}"],
    }


def _seconds(feature: Feature) -> int:
    """Training, both evaluations and some spare time; what takes longer is taken up by `mawasu reconcile`."""
    training = feature.training.timeout if feature.training else 0
    evaluation = 2 * feature.evaluation.timeout if feature.evaluation else 0
    return min(LONGEST, int(training + evaluation) + SPARE)


def included_files(feature: Feature) -> list[str]:
    """Everything that the feature reads, from the repository's root, as globs of Cloud Build. Keys decide the rest.

    More than needed costs an empty build, less loses a push: so whatever could be read is in.
    """
    files, globs = ["mawasu.yaml", "data.lock"], [glob for data in feature.data for glob in data.source.files]
    for part in (feature.training, feature.api):
        if part is not None:
            globs += part.paths
            files += _image_files(part.lock, part.dockerfile)
    if feature.evaluation is not None:
        globs += feature.evaluation.paths
    if feature.api is not None and feature.api.examples:
        files.append(feature.api.examples)
    if feature.auth is not None:
        globs += feature.auth.paths
        files.append(feature.auth.openapi)
    found = {posixpath.join(feature.root, file) for file in files}
    return sorted(found.union(*(_globs(posixpath.join(feature.root, glob), found) for glob in globs)))


def _image_files(lock: str | None, dockerfile: str | None) -> Iterator[str]:
    if lock:
        yield lock
        if lock.endswith("uv.lock"):
            yield posixpath.join(posixpath.dirname(lock), "pyproject.toml")
    if dockerfile:
        yield dockerfile


def _globs(glob: str, files: Collection[str]) -> Iterator[str]:
    """One of mawasu's globs in Cloud Build's (Go's filepath.Match with `**`): a directory's name takes all below it,
    `**` may stand for nothing, and sets are negated with `^`."""
    if glob in files:
        return
    glob = glob.replace("[!", "[^")
    if glob.endswith("/"):
        yield f"{glob}**"
        return
    yield glob
    if is_plain(glob):
        yield f"{glob}/**"
    if "**/" in glob:
        yield glob.replace("**/", "")
