"""The real gcloud, where it is installed, against the double: does it take what we render?

    def test_x(gcloud: Gcloud) -> None:
        gcloud("builds", "triggers", "import", "--source", str(path))

Every API goes to the double, which checks what gcloud makes of our files as it checks our own requests. Nothing leaves
the machine: what has no endpoint here meets a proxy that does not exist.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.google.double.core import Double

APIS = {
    "aiplatform": "aiplatform",
    "artifactregistry": "artifactregistry",
    "cloudbuild": "cloudbuild",
    "cloudresourcemanager": "cloudresourcemanager",
    "cloudscheduler": "cloudscheduler",
    "iam": "iam",
    "logging": "logging",
    "redis": "redis",
    "run": "run",
    "secretmanager": "secretmanager",
    "servicemanagement": "servicemanagement",
    "serviceusage": "serviceusage",
    "storage": "storage",
}
"""gcloud's name of an API (`api_endpoint_overrides/…`) by Google's."""


class Gcloud:
    """Runs gcloud with a configuration of its own, as `email`. Its output is returned; a failure fails the test."""

    def __init__(self, double: Double, home: Path, email: str = "") -> None:
        self.program = shutil.which("gcloud") or ""
        (home / "token").write_text(double.identity.token(email))
        kept = {name: value for name, value in os.environ.items() if not re.match("CLOUDSDK_|GOOGLE_|GCE_", name)}
        self.environ = kept | {
            "CLOUDSDK_CONFIG": str(home / "config"),
            "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(home / "token"),
            "CLOUDSDK_CORE_PROJECT": double.project,
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
            "CLOUDSDK_CORE_DISABLE_FILE_LOGGING": "1",
            "CLOUDSDK_CORE_CHECK_GCE_METADATA": "0",
            "CLOUDSDK_CORE_SURVEY_DISABLE_PROMPTS": "1",
            "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
            "CLOUDSDK_PYTHON_SITEPACKAGES": "0",
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "HTTP_PROXY": "http://127.0.0.1:9",
            "NO_PROXY": "127.0.0.1",
            "PYTHONPATH": "",
        }
        for name, api in APIS.items():
            override = f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{name.upper()}"
            self.environ[override] = f"{double.url}/{api}.googleapis.com/"

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run([self.program, *arguments], env=self.environ, capture_output=True, text=True, timeout=120)
        if done.returncode:
            pytest.fail(f"gcloud {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout


@pytest.fixture
def gcloud(double: Double, tmp_path: Path) -> Gcloud:
    """For tests that have the fixture `double`."""
    home = tmp_path / "gcloud"
    home.mkdir()
    made = Gcloud(double, home)
    if not made.program:
        pytest.skip("gcloud is not installed: whether it takes what is rendered is not checked here")
    return made
