"""Images on Google Cloud through the front door: `GcpImages.ensure` on the double, whose builds really make them."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mawasu.errors import CancelledError, PlatformError, StepError
from mawasu.platforms.gcp.builders import key_tag
from mawasu.platforms.gcp.cloudbuild import lint
from mawasu.platforms.local.images import uv
from mawasu.ports import Cancel
from mawasu.spec.feature import Gcp, GcpImages
from mawasu.words import Image, ImageSpec, is_digest
from tests.gcp.kiln import CLOUD, Kiln, a_kiln, pinned, spec
from tests.google.double.cloudbuild import Fate
from tests.google.double.logging import logs_of
from tests.jobs.packages import WHEEL, hash_of, wheel
from tests.jobs.support import eventually

ANSWER = "import tiny; print(tiny.answer)"
CREATE = "cloudbuild.projects.locations.builds.create"


@pytest.fixture
def kiln(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kiln]:
    with a_kiln(tmp_path, monkeypatch) as made:
        yield made


# ---------------------------------------------------------------------------------------------------- what is made


def test_an_image_holds_what_hashed_requirements_say(kiln: Kiln) -> None:
    image = kiln.ensure(pinned(kiln))
    package, _, digest = image.ref.partition("@")
    assert package == "europe-west1-docker.pkg.dev/acme/mawasu/images"
    assert is_digest(digest)
    assert kiln.run(image, ANSWER) == "42"


def test_an_image_holds_what_uv_lock_says(kiln: Kiln, tmp_path: Path) -> None:
    (kiln.wheels / WHEEL).write_bytes(wheel({"tiny.py": "answer = 43\n"}))
    text = '[project]\nname = "app"\nversion = "0"\nrequires-python = ">=3.8"\ndependencies = ["tiny"]\n'
    (tmp_path / "pyproject.toml").write_text(text)
    subprocess.run([uv(), "lock", "--quiet", "--directory", str(tmp_path)], check=True)
    files = {f"training/{name}": (tmp_path / name).read_text() for name in ("pyproject.toml", "uv.lock")}
    assert kiln.run(kiln.ensure(spec(files, lock="training/uv.lock")), ANSWER) == "43"


def test_an_image_without_a_lock_is_the_interpreter_alone(kiln: Kiln) -> None:
    code = "import sys, importlib.metadata as m; print(sys.base_prefix != sys.prefix, len(list(m.distributions())))"
    assert kiln.run(kiln.ensure(spec({})), code) == "True 0"


def test_a_users_own_dockerfile_is_built_with_the_files_it_copies(kiln: Kiln) -> None:
    files = {"api/Dockerfile": "FROM debian\nCOPY api/serve.sh /\n", "api/serve.sh": "#!/bin/sh\n"}
    image = kiln.ensure(spec(files, dockerfile="api/Dockerfile"))
    assert image.ref in kiln.builds.images


@pytest.mark.parametrize("builder", ["buildx", "kaniko"])
def test_both_builders_push_under_the_key_and_a_name_that_people_read(kiln: Kiln, builder: str) -> None:
    gcp = Gcp(project="acme", region="europe-west1", bucket=CLOUD.bucket, images=GcpImages(builder=builder))  # type: ignore[arg-type]
    wanted = pinned(kiln)
    kiln.another(gcp).ensure(wanted, kiln.log, kiln.cancel)
    tags = {name.rpartition("/")[2] for name in kiln.builds.registry.tags}
    assert tags == {key_tag(wanted.key), "callback-feature--sgbdt-1a2b3c4d5e-training"}
    assert lint(kiln.requests(CREATE)[0], triggered=False) == []


def test_what_the_build_prints_is_in_the_steps_log(kiln: Kiln) -> None:
    kiln.ensure(pinned(kiln))
    assert "+ tiny==1.0" in kiln.log.text
    assert not any(line.startswith("Step #") for line in kiln.log.lines)


def test_a_log_that_comes_late_is_read_to_its_end_once(kiln: Kiln) -> None:
    logs_of(kiln.double).late = 2
    with pytest.raises(StepError, match="Hash mismatch"):
        kiln.ensure(pinned(kiln, hashed=hash_of(b"something else")))
    errors = [line for line in kiln.log.lines if line.startswith("ERROR: build step")]
    assert len(errors) == 1


# ------------------------------------------------------------------------------------------------ nothing twice


def test_an_unchanged_image_is_found_by_its_key_whoever_made_it(kiln: Kiln) -> None:
    first = kiln.ensure(pinned(kiln))
    assert kiln.another().ensure(pinned(kiln), kiln.log, kiln.cancel) == first
    assert len(kiln.builds.builds) == 1
    assert kiln.another().has(first.key)
    assert not kiln.images.has(spec({}).key)


def test_what_was_found_is_not_asked_for_again(kiln: Kiln) -> None:
    kiln.ensure(pinned(kiln))
    before = len(kiln.double.requests)
    kiln.ensure(pinned(kiln))
    assert len(kiln.double.requests) == before


def test_a_context_is_uploaded_once(kiln: Kiln) -> None:
    kiln.builds.fates.append(Fate("INTERNAL_ERROR"))
    kiln.ensure(pinned(kiln))
    sources = [build["source"]["storageSource"]["object"] for build in kiln.builds.builds]
    assert len(sources) == 2
    assert len(set(sources)) == 1
    assert sources[0].startswith("sources/")


def test_an_image_that_was_cleaned_up_is_made_again_although_its_tag_is_left(kiln: Kiln) -> None:
    first = kiln.ensure(pinned(kiln))
    kiln.builds.collect(first.ref)
    again = kiln.another().ensure(pinned(kiln), kiln.log, kiln.cancel)
    assert again.ref != first.ref
    assert kiln.run(again, ANSWER) == "42"


def test_two_who_want_one_image_at_once_build_it_once(kiln: Kiln) -> None:
    wanted = pinned(kiln)
    with ThreadPoolExecutor(2) as pool:
        made = [future.result() for future in [pool.submit(kiln.ensure, wanted) for _ in range(2)]]
    assert made[0] == made[1]
    assert len(kiln.builds.builds) == 1


def test_two_machines_that_begin_at_once_end_with_one_image(kiln: Kiln) -> None:
    """A list that lags shows neither the other's build: both create, both then see both, and the first one goes on."""
    wanted, both = pinned(kiln), threading.Barrier(2)
    kiln.builds.polls = 6
    kiln.builds.unlisted = 1

    def one() -> Image:
        images = kiln.another()
        both.wait()
        return images.ensure(wanted, kiln.log, kiln.cancel)

    with ThreadPoolExecutor(2) as pool:
        made = {future.result().ref for future in [pool.submit(one) for _ in range(2)]}
    assert len(made) == 1
    assert sorted(build["status"] for build in kiln.builds.builds).count("SUCCESS") == 1


def test_a_build_whose_poller_died_is_found_again(kiln: Kiln) -> None:
    wanted = pinned(kiln)
    kiln.builds.polls = 3
    kiln.double.faults.fail("cloudbuild.googleapis.com", method="GET", path="*/builds/*", status=403)
    with pytest.raises(PlatformError):
        kiln.ensure(wanted)
    kiln.run(kiln.another().ensure(wanted, kiln.log, kiln.cancel), ANSWER)
    assert len(kiln.builds.builds) == 1


def test_a_build_whose_creation_got_no_answer_is_found_by_its_tag(kiln: Kiln) -> None:
    kiln.double.faults.cut_after_effect("cloudbuild.googleapis.com", "POST", "*/builds")
    kiln.builds.unlisted = 2
    kiln.run(kiln.ensure(pinned(kiln)), ANSWER)
    assert len(kiln.builds.builds) == 1


def test_a_build_that_was_never_created_is_created_then(kiln: Kiln) -> None:
    kiln.double.faults.fail("cloudbuild.googleapis.com", method="POST", path="*/builds", status=503)
    kiln.run(kiln.ensure(pinned(kiln)), ANSWER)
    assert len(kiln.builds.builds) == 1


def test_every_call_may_fail_once(kiln: Kiln) -> None:
    for host in ("cloudbuild.googleapis.com", "artifactregistry.googleapis.com", "logging.googleapis.com"):
        kiln.double.faults.fail(host, status=503)
        kiln.double.faults.fail(host, status=429)
    kiln.double.faults.fail("storage.googleapis.com", status=503)
    kiln.run(kiln.ensure(pinned(kiln)), ANSWER)
    assert len(kiln.builds.builds) == 1


# ---------------------------------------------------------------------------------------------------- given up


def test_a_superseded_build_is_cancelled(kiln: Kiln) -> None:
    kiln.builds.fates.append(Fate(hangs=True))
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(kiln.ensure, pinned(kiln))
        try:
            eventually(lambda: [build["status"] for build in kiln.builds.builds] == ["WORKING"])
        finally:
            kiln.cancel.set()
        with pytest.raises(CancelledError):
            ended.result(timeout=10)
    assert kiln.builds.builds[0]["status"] == "CANCELLED"


def test_a_build_that_was_found_under_way_is_not_cancelled(kiln: Kiln) -> None:
    """Somebody else may wait for it."""
    kiln.builds.fates.append(Fate(hangs=True))
    wanted, first = pinned(kiln), Cancel()
    with ThreadPoolExecutor(2) as pool:
        pool.submit(kiln.another().ensure, wanted, kiln.log, first)
        try:
            eventually(lambda: [build["status"] for build in kiln.builds.builds] == ["WORKING"])
            before = len(kiln.double.seen("builds.get"))
            second = pool.submit(kiln.another().ensure, wanted, kiln.log, kiln.cancel)
            eventually(lambda: len(kiln.double.seen("builds.get")) > before + 20)
            kiln.cancel.set()
            with pytest.raises(CancelledError):
                second.result(timeout=10)
            assert kiln.builds.builds[0]["status"] == "WORKING"
        finally:
            first.set()


def test_an_image_whose_build_somebody_cancelled_is_made_once_more(kiln: Kiln) -> None:
    kiln.builds.fates.append(Fate("CANCELLED"))
    kiln.run(kiln.ensure(pinned(kiln)), ANSWER)
    assert [build["status"] for build in kiln.builds.builds] == ["CANCELLED", "SUCCESS"]


def test_google_may_fail_inside_so_often_and_no_more(kiln: Kiln) -> None:
    kiln.builds.fates.extend(Fate("INTERNAL_ERROR") for _ in range(3))
    with pytest.raises(PlatformError, match="begun 3 times, and never done"):
        kiln.ensure(pinned(kiln))


# ---------------------------------------------------------------------------------------------------- refusals


def test_other_bytes_than_locked_are_refused_in_one_line(kiln: Kiln) -> None:
    with pytest.raises(StepError, match=r"api/requirements\.txt: .*Hash mismatch for `tiny==1\.0`") as caught:
        kiln.ensure(pinned(kiln, hashed=hash_of(b"something else")))
    assert "lock again" in caught.value.hint
    assert "\n" not in str(caught.value)
    assert "Dockerfile" not in str(caught.value)


def test_requirements_without_hashes_are_refused(kiln: Kiln) -> None:
    (kiln.wheels / WHEEL).write_bytes(wheel({"tiny.py": ""}))
    with pytest.raises(StepError, match="must have a hash") as caught:
        kiln.ensure(spec({"requirements.txt": "tiny==1.0\n"}, lock="requirements.txt"))
    assert "--generate-hashes" in caught.value.hint


def test_a_dockerfile_that_copies_what_is_not_declared_is_told_with_its_line(kiln: Kiln) -> None:
    files = {"api/Dockerfile": "FROM python:3.12\nCOPY model.bin /srv/\n"}
    with pytest.raises(StepError, match=r"api/Dockerfile:2: COPY model\.bin /srv/ — .*/model\.bin") as caught:
        kiln.ensure(spec(files, dockerfile="api/Dockerfile"))
    assert "`paths:`" in caught.value.hint


def test_a_dockerfile_that_is_not_committed_is_told_before_anything_is_sent(kiln: Kiln) -> None:
    with pytest.raises(StepError, match="api/Dockerfile is not in the commit"):
        kiln.ensure(spec({"api/app.py": ""}, dockerfile="api/Dockerfile"))
    assert kiln.builds.builds == []


def test_a_build_that_takes_too_long_says_so(kiln: Kiln) -> None:
    kiln.builds.fates.append(Fate("TIMEOUT", ("TIMEOUT", "ERROR: context deadline exceeded")))
    with pytest.raises(StepError, match="not made in time") as caught:
        kiln.ensure(pinned(kiln))
    assert "console.cloud.google.com/cloud-build/builds;region=europe-west1/" in caught.value.hint


def test_a_build_that_gets_no_machine_says_so(kiln: Kiln) -> None:
    kiln.builds.fates.append(Fate("EXPIRED"))
    with pytest.raises(PlatformError, match="had no machine for it in time"):
        kiln.ensure(pinned(kiln))


def test_a_context_that_the_builders_account_may_not_read_is_not_the_users_fault(kiln: Kiln) -> None:
    lines = ("ERROR: build step 0 failed",)
    kiln.builds.fates.append(Fate("FAILURE", lines, failure="FETCH_SOURCE_FAILED"))
    with pytest.raises(PlatformError) as caught:
        kiln.ensure(pinned(kiln))
    assert "mawasu gcp apply" in caught.value.hint


def test_a_log_that_may_not_be_read_fails_no_build(kiln: Kiln) -> None:
    kiln.double.faults.fail("logging.googleapis.com", status=403, times=100)
    kiln.run(kiln.ensure(pinned(kiln)), ANSWER)
    assert kiln.log.text.count("cannot be read here") == 1


def test_a_path_outside_the_repository_is_refused(kiln: Kiln) -> None:
    with pytest.raises(StepError, match="outside the repository"):
        kiln.ensure(ImageSpec(spec({}).key, lock="a", files={"a": b"", "../x": b""}, name="a/b/c/d"))
