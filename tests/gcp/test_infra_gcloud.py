"""The real gcloud takes a trigger as we write it: its own idea of the API, not ours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.gcp.infra_world import running


@pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed")
def test_gcloud_imports_our_trigger(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with running(monkeypatch, tmp_path) as world:
        world.ready()
        wanted = next(one for one in world.look().desired if one.kind == "trigger")
        world.infra.triggers.clear()
        source, token = tmp_path / "trigger.json", tmp_path / "token"
        source.write_text(json.dumps(wanted.body))
        token.write_text(world.client.credentials.token())
        environ = {
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDBUILD": f"{world.double.url}/cloudbuild.googleapis.com/",
            "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(token),
            "CLOUDSDK_CONFIG": str(tmp_path / "gcloud"),
            "CLOUDSDK_CORE_CHECK_GCE_METADATA": "false",
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_CORE_PROJECT": "acme-ml",
        }
        command = ["gcloud", "builds", "triggers", "import", f"--source={source}", "--region=europe-west1"]
        done = subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert "unknown field" not in done.stderr.lower()
        assert [one["name"] for one in world.infra.triggers.values()] == [wanted.name]
        assert wanted.id not in {change.id for change in world.look().changes}
