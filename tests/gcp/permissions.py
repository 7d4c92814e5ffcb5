"""What mawasu-build calls while it runs pushes, and what it must hold for that.

Method (by its id in Google's discovery documents) → permission, role that has it. From the methods' reference pages and
cloud.google.com/iam/docs/roles-permissions.
"""

from __future__ import annotations

_EDITOR = "roles/cloudbuild.builds.editor"
_CONNECTION = "roles/cloudbuild.connectionViewer"
_RUN = "roles/run.admin"
_VERTEX = "roles/aiplatform.user"
_OBJECTS = "roles/storage.objectUser"
_SECRETS = "roles/secretmanager.admin"
_ENDPOINTS = "roles/servicemanagement.admin"
_USAGE = "roles/serviceusage.serviceUsageAdmin"
_IMAGES = "roles/artifactregistry.reader"

NEEDS = {
    # pushes and images; who names the account of a build also needs iam.serviceAccounts.actAs on it
    "cloudbuild.projects.locations.builds.create": ("cloudbuild.builds.create", _EDITOR),
    "cloudbuild.projects.locations.builds.get": ("cloudbuild.builds.get", _EDITOR),
    "cloudbuild.projects.locations.builds.list": ("cloudbuild.builds.list", _EDITOR),
    "cloudbuild.projects.locations.builds.cancel": ("cloudbuild.builds.update", _EDITOR),
    "cloudbuild.projects.locations.builds.retry": ("cloudbuild.builds.create", _EDITOR),
    "cloudbuild.projects.locations.triggers.list": ("cloudbuild.builds.list", _EDITOR),
    "cloudbuild.projects.locations.triggers.create": ("cloudbuild.builds.create", _EDITOR),
    "cloudbuild.projects.locations.triggers.patch": ("cloudbuild.builds.update", _EDITOR),
    "cloudbuild.projects.locations.triggers.delete": ("cloudbuild.builds.update", _EDITOR),
    "cloudbuild.projects.locations.connections.get": ("cloudbuild.connections.get", _CONNECTION),
    "cloudbuild.projects.locations.connections.repositories.list": ("cloudbuild.repositories.list", _CONNECTION),
    "cloudbuild.projects.locations.connections.repositories.fetchGitRefs": (
        "cloudbuild.repositories.fetchGitRefs",
        _CONNECTION,
    ),
    "cloudbuild.projects.locations.connections.repositories.get": ("cloudbuild.repositories.get", _CONNECTION),
    "cloudbuild.projects.locations.connections.repositories.accessReadWriteToken": (
        "cloudbuild.repositories.accessReadWriteToken",
        "roles/cloudbuild.tokenAccessor",
    ),
    "artifactregistry.projects.locations.repositories.packages.tags.get": ("artifactregistry.tags.get", _IMAGES),
    "artifactregistry.projects.locations.repositories.packages.versions.get": (
        "artifactregistry.versions.get",
        _IMAGES,
    ),
    # jobs
    "aiplatform.projects.locations.customJobs.create": ("aiplatform.customJobs.create", _VERTEX),
    "aiplatform.projects.locations.customJobs.get": ("aiplatform.customJobs.get", _VERTEX),
    "aiplatform.projects.locations.customJobs.list": ("aiplatform.customJobs.list", _VERTEX),
    "aiplatform.projects.locations.customJobs.cancel": ("aiplatform.customJobs.cancel", _VERTEX),
    "logging.entries.list": ("logging.logEntries.list", "roles/logging.viewer"),
    # APIs, gateways, and the job that looks after them
    "run.projects.locations.services.create": ("run.services.create", _RUN),
    "run.projects.locations.services.get": ("run.services.get", _RUN),
    "run.projects.locations.services.list": ("run.services.list", _RUN),
    "run.projects.locations.services.patch": ("run.services.update", _RUN),
    "run.projects.locations.services.delete": ("run.services.delete", _RUN),
    "run.projects.locations.services.getIamPolicy": ("run.services.getIamPolicy", _RUN),
    "run.projects.locations.services.setIamPolicy": ("run.services.setIamPolicy", _RUN),
    "run.projects.locations.services.revisions.get": ("run.revisions.get", _RUN),
    "run.projects.locations.operations.get": ("run.operations.get", _RUN),
    "run.projects.locations.jobs.get": ("run.jobs.get", _RUN),
    "run.projects.locations.jobs.create": ("run.jobs.create", _RUN),
    "run.projects.locations.jobs.patch": ("run.jobs.update", _RUN),
    "run.projects.locations.jobs.getIamPolicy": ("run.jobs.getIamPolicy", _RUN),
    "run.projects.locations.jobs.setIamPolicy": ("run.jobs.setIamPolicy", _RUN),
    "servicemanagement.services.get": ("servicemanagement.services.get", _ENDPOINTS),
    "servicemanagement.services.create": ("servicemanagement.services.create", _ENDPOINTS),
    "servicemanagement.services.undelete": ("servicemanagement.services.delete", _ENDPOINTS),
    "servicemanagement.services.configs.list": ("servicemanagement.services.get", _ENDPOINTS),
    "servicemanagement.services.configs.submit": ("servicemanagement.services.update", _ENDPOINTS),
    "servicemanagement.services.rollouts.list": ("servicemanagement.services.get", _ENDPOINTS),
    "servicemanagement.services.rollouts.create": ("servicemanagement.services.update", _ENDPOINTS),
    "servicemanagement.operations.get": ("servicemanagement.services.get", _ENDPOINTS),
    "serviceusage.services.get": ("serviceusage.services.get", _USAGE),
    "serviceusage.services.enable": ("serviceusage.services.enable", _USAGE),
    "serviceusage.operations.get": ("serviceusage.operations.get", _USAGE),
    "redis.projects.locations.instances.get": ("redis.instances.get", "roles/redis.viewer"),
    # records, files and keys
    "storage.objects.get": ("storage.objects.get", _OBJECTS),
    "storage.objects.list": ("storage.objects.list", _OBJECTS),
    "storage.objects.insert": ("storage.objects.create", _OBJECTS),
    "storage.objects.rewrite": ("storage.objects.create", _OBJECTS),
    "storage.objects.delete": ("storage.objects.delete", _OBJECTS),
    # secrets: whether they are there, who reads them, never what they are
    "secretmanager.projects.secrets.list": ("secretmanager.secrets.list", _SECRETS),
    "secretmanager.projects.secrets.create": ("secretmanager.secrets.create", _SECRETS),
    "secretmanager.projects.secrets.patch": ("secretmanager.secrets.update", _SECRETS),
    "secretmanager.projects.secrets.getIamPolicy": ("secretmanager.secrets.getIamPolicy", _SECRETS),
    "secretmanager.projects.secrets.setIamPolicy": ("secretmanager.secrets.setIamPolicy", _SECRETS),
    "secretmanager.projects.secrets.versions.list": ("secretmanager.versions.list", _SECRETS),
    "cloudresourcemanager.projects.get": ("resourcemanager.projects.get", _EDITOR),
}

BY_HAND = (
    "apikeys.",
    "artifactregistry.projects.locations.operations.",
    "artifactregistry.projects.locations.repositories.create",
    "artifactregistry.projects.locations.repositories.delete",
    "artifactregistry.projects.locations.repositories.get",
    "artifactregistry.projects.locations.repositories.patch",
    "artifactregistry.projects.locations.repositories.setIamPolicy",
    "cloudbuild.projects.locations.connections.getIamPolicy",
    "cloudbuild.projects.locations.connections.setIamPolicy",
    "cloudbuild.projects.locations.connections.repositories.create",
    "cloudbuild.projects.locations.connections.repositories.delete",
    "cloudbuild.projects.locations.operations.",
    "cloudresourcemanager.projects.getIamPolicy",
    "cloudresourcemanager.projects.setIamPolicy",
    "cloudscheduler.",
    "iam.",
    "redis.projects.locations.instances.create",
    "redis.projects.locations.instances.delete",
    "redis.projects.locations.instances.patch",
    "redis.projects.locations.operations.",
    "run.projects.locations.jobs.delete",
    "secretmanager.projects.secrets.delete",
    "servicemanagement.services.delete",
    "servicemanagement.services.list",
    "serviceusage.services.batchEnable",
    "serviceusage.services.list",
    "storage.buckets.",
)
"""What only `mawasu gcp apply`, `status` and `destroy` call, as the person who runs them: ids, or how they begin."""


def is_by_hand(method: str) -> bool:
    return method.startswith(BY_HAND)
