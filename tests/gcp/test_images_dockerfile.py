"""Rendered Dockerfiles, contexts and tags: pure functions."""

from __future__ import annotations

import gzip
import io
import re
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mawasu.platforms.gcp.builders import IMAGES, Wanted, cache_tag, image_build, key_tag, literal, readable_tag
from mawasu.platforms.gcp.cloudbuild import lint
from mawasu.platforms.gcp.dockerfile import Context, context, pack, render
from mawasu.platforms.gcp.refusals import refusal
from mawasu.spec.feature import GcpImages
from mawasu.words import digest_of
from tests.gcp.kiln import CLOUD, spec

WANTED = Wanted(IMAGES, digest_of(b"key"), ("callback-main-1a2b3c4d5e-api",), "callback-api", "api/uv.lock")
NAMES = st.lists(st.text(min_size=1, max_size=80), min_size=1, max_size=6).map("/".join)


def test_a_dockerfile_is_rendered_from_what_a_lock_needs() -> None:
    text = render(("pyproject.toml", "uv.lock"), "3.12.4", "0.9.1")
    lines = text.splitlines()
    assert lines[0] == "FROM python:3.12.4 AS packages"
    assert "FROM python:3.12.4-slim" in lines
    assert "COPY --from=ghcr.io/astral-sh/uv:0.9.1 /uv /usr/local/bin/uv" in lines
    sync = "RUN uv sync --frozen --no-install-project --no-install-workspace --no-default-groups --compile-bytecode"
    assert lines.index("COPY pyproject.toml uv.lock ./") + 1 == lines.index(sync)
    assert lines[-1] == "USER 65532:65532"


def test_hashed_requirements_are_installed_with_their_hashes_only() -> None:
    text = render(("requirements.txt",), "3.12.4", "0.9.1")
    assert "--require-hashes requirements.txt --compile-bytecode" in text


def test_paths_of_the_user_are_in_no_command() -> None:
    """Whatever they hold, nothing is to be escaped."""
    odd = "a $(b) '[c]/re qs.txt"
    made = context(spec({odd: "x==1"}, lock=odd), "3.12.4", "0.9.1")
    assert set(made.files) == {"Dockerfile", "requirements.txt"}
    assert "$(" not in made.files["Dockerfile"].decode()


def test_no_file_of_code_is_in_a_rendered_image() -> None:
    files = {"training/uv.lock": "", "training/pyproject.toml": "", "training/train.py": "print()"}
    made = context(spec(files, lock="training/uv.lock"), "3.12.4", "0.9.1")
    assert set(made.files) == {"Dockerfile", "uv.lock", "pyproject.toml"}


def test_a_users_dockerfile_is_taken_as_it_is_with_the_files_beside_it() -> None:
    files = {"api/Dockerfile": "FROM debian", "api/run.sh": "#!/bin/sh"}
    made = context(spec(files, dockerfile="api/Dockerfile"), "3.12.4", "0.9.1")
    assert (made.dockerfile, set(made.files), made.rendered) == ("api/Dockerfile", set(files), False)


def test_a_context_is_the_same_bytes_whenever_it_is_packed() -> None:
    one = Context("Dockerfile", {"b": b"2", "a": b"#!/bin/sh"})
    other = Context("Dockerfile", {"a": b"#!/bin/sh", "b": b"2"})
    assert pack(one) == pack(other)
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(pack(one)[1]))) as tar:
        assert [(entry.name, entry.mode, entry.mtime) for entry in tar] == [("a", 0o755, 0), ("b", 0o644, 0)]


@given(NAMES)
def test_every_name_makes_valid_docker_tags(name: str) -> None:
    for tag in (readable_tag(name), cache_tag(name), key_tag(digest_of(name.encode()))):
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", tag)


@given(st.sampled_from(["a", "b-c"]), NAMES, NAMES)
def test_other_branches_have_other_tags(feature: str, one: str, other: str) -> None:
    first, second = (readable_tag(f"{feature}/{branch}/1a2b3c4d5e/api") for branch in (one, other))
    assert (first == second) == (one == other)


@pytest.mark.parametrize("builder", ["buildx", "kaniko"])
def test_a_build_has_no_lint_whatever_its_paths_are(builder: str) -> None:
    build = image_build(CLOUD, GcpImages(builder=builder), WANTED, "sources/x.tar.gz", "a $PATH ${HOME}/Dockerfile")  # type: ignore[arg-type]
    assert lint(build, triggered=False) == []


def test_buildx_keeps_the_layers_of_all_stages_in_the_registry() -> None:
    (_, step) = image_build(CLOUD, GcpImages(), WANTED, "s", "Dockerfile")["steps"]
    cache = "type=registry,ref=europe-west1-docker.pkg.dev/acme/mawasu/cache:callback-api"
    assert f"--cache-from={cache}" in step["args"]
    options = ",mode=max,image-manifest=true,oci-mediatypes=true,ignore-error=true"
    assert f"--cache-to={cache}{options}" in step["args"]


def test_kaniko_keeps_layers_as_long_as_it_is_told() -> None:
    settings = GcpImages(builder="kaniko", cache_ttl=7 * 86400.0)
    (step,) = image_build(CLOUD, settings, WANTED, "s", "Dockerfile")["steps"]
    cache = ["--cache=true", "--cache-repo=europe-west1-docker.pkg.dev/acme/mawasu/cache", "--cache-ttl=604800s"]
    assert [argument for argument in step["args"] if argument.startswith("--cache")] == cache


@given(st.text())
def test_literal_text_has_no_substitution(text: str) -> None:
    assert literal(text).replace("$$", "").count("$") == 0


FAILED = {"status": "FAILURE", "failureInfo": {"type": "USER_BUILD_STEP"}, "logUrl": "there"}


def test_the_line_of_a_dockerfile_and_what_its_command_said_are_told() -> None:
    printed = """\
Step #1 - "image": #6 importing cache manifest from europe-west1-docker.pkg.dev/acme/mawasu/cache:callback-api
Step #1 - "image": #6 ERROR: failed to configure registry cache importer: importing cache manifest: not found
Step #1 - "image": #9 2.117 ERROR: Could not find a version that satisfies the requirement torhc (from versions: none)
Step #1 - "image": #9 2.118 ERROR: No matching distribution found for torhc
Step #1 - "image": #9 ERROR: process "/bin/sh -c pip install torhc" did not complete successfully: exit code: 1
Step #1 - "image": ------
Step #1 - "image":  > [2/2] RUN pip install torhc:
Step #1 - "image": ------
Step #1 - "image": Dockerfile:2
Step #1 - "image": --------------------
Step #1 - "image":    1 |     FROM python:3.12
Step #1 - "image":    2 | >>> RUN pip install torhc
Step #1 - "image": --------------------
Step #1 - "image": ERROR: failed to build: failed to solve: process "/bin/sh -c pip install torhc" did not complete
ERROR
ERROR: build step 1 "gcr.io/cloud-builders/docker" failed: step exited with non-zero status: 1"""
    error = refusal("Dockerfile", FAILED, printed.splitlines(), rendered=False)
    expected = "Dockerfile: Dockerfile:2: RUN pip install torhc — ERROR: Could not find a version that satisfies"
    assert error.message.startswith(expected)
    assert error.hint == "the whole log: there"


def test_what_kaniko_says_is_told() -> None:
    printed = ['Step #0 - "image": error building image: error building stage: failed to execute command: exit 2']
    error = refusal("api/Dockerfile", FAILED, printed, rendered=False)
    assert "error building stage: failed to execute command: exit 2" in error.message


def test_a_push_that_is_denied_is_told_with_the_role_that_is_missing() -> None:
    denied = 'denied: Permission "artifactregistry.repositories.uploadArtifacts" denied on resource "mawasu"'
    error = refusal("uv.lock", FAILED, [f'Step #1 - "image": {denied}'], rendered=True)
    assert "roles/artifactregistry.writer" in error.hint


def test_a_build_that_printed_nothing_says_what_cloud_build_says() -> None:
    assert "a step failed" in refusal("uv.lock", FAILED | {"statusDetail": "a step failed"}, [], rendered=True).message
