from __future__ import annotations

import subprocess
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mawasu.errors import CancelledError, StepError
from mawasu.home import Home
from mawasu.platforms.local.images import LocalImages, python, uv
from mawasu.platforms.local.limits import Limiter
from mawasu.platforms.local.sandbox import USER, Sandbox, interpreter
from mawasu.ports import Cancel
from mawasu.words import Image, ImageSpec, digest_of

from .packages import SDIST, WHEEL, hash_of, sdist, wheel
from .support import Lines, eventually


class Maker:
    def __init__(self, home: Home, sandbox: Sandbox, limiter: Limiter) -> None:
        self.home = home
        self.images = LocalImages(home, sandbox, limiter)
        self.log = Lines()
        self.cancel = Cancel()

    def make(self, lock: str, files: Mapping[str, bytes]) -> Image:
        spec = ImageSpec(digest_of(repr((lock, files)).encode()), lock, files, "callback/main/1a2b3c")
        return self.images.ensure(spec, self.log, self.cancel)

    def requirements(self, name: str, data: bytes, hashed: str = "") -> Image:
        """An image from hashed requirements that name one file beside them."""
        line = f"./{name} --hash={hashed or hash_of(data)}\n"
        return self.make("api/requirements.txt", {"api/requirements.txt": line.encode(), f"api/{name}": data})


@pytest.fixture
def maker(home: Home, closed: Sandbox, detected: Limiter) -> Maker:
    return Maker(home, closed, detected)


def ask(image: Image, code: str) -> str:
    done = subprocess.run([python(image), "-c", code], env={}, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def locked_project(tmp_path: Path, requires: str = ">=3.8") -> dict[str, bytes]:
    """pyproject.toml and uv.lock, locked by uv itself, of a project that depends on one wheel beside it."""
    text = f"""
[project]
name = "app"
version = "0"
requires-python = "{requires}"
dependencies = ["tiny"]
[dependency-groups]
dev = []
[tool.uv]
package = false
default-groups = []
[tool.uv.sources]
tiny = {{path = "{WHEEL}"}}
"""
    (tmp_path / "pyproject.toml").write_text(text)
    (tmp_path / WHEEL).write_bytes(wheel({"tiny.py": "answer = 42\n"}))
    command = [
        str(uv()),
        "lock",
        "--offline",
        "--no-cache",
        "--quiet",
        "--python",
        str(interpreter()),
        "--directory",
        str(tmp_path),
    ]
    subprocess.run(command, check=True)
    return {f"api/{name}": (tmp_path / name).read_bytes() for name in ("pyproject.toml", "uv.lock", WHEEL)}


def test_an_image_holds_what_uv_lock_says(maker: Maker, tmp_path: Path) -> None:
    image = maker.make("api/uv.lock", locked_project(tmp_path))
    assert ask(image, "import tiny; print(tiny.answer)") == "42"


def test_an_image_holds_what_hashed_requirements_say(maker: Maker) -> None:
    image = maker.requirements(WHEEL, wheel({"tiny.py": "answer = 42\n"}))
    assert ask(image, "import tiny; print(tiny.answer)") == "42"
    assert list(Path(image.ref).rglob("__pycache__/tiny.*.pyc"))


def test_images_are_made_without_a_sandbox_too(home: Home, detected: Limiter) -> None:
    maker = Maker(home, Sandbox.detect(trust_pushers=True), detected)
    assert ask(maker.requirements(WHEEL, wheel({"tiny.py": ""})), "import tiny; print('ok')") == "ok"


def test_an_image_without_a_lock_is_the_interpreter_alone(image: Image) -> None:
    code = "import sys, importlib.metadata as m; print(sys.base_prefix != sys.prefix, len(list(m.distributions())))"
    assert ask(image, code) == "True 0"


def test_an_image_is_made_once(maker: Maker) -> None:
    data = wheel({"tiny.py": ""})
    first = maker.requirements(WHEEL, data)
    maker.log.lines.clear()
    assert maker.requirements(WHEEL, data) == first
    assert maker.log.lines == []
    assert maker.images.has(first.key)


def test_two_who_ask_at_once_get_one_image(maker: Maker) -> None:
    data = wheel({"tiny.py": ""})
    with ThreadPoolExecutor(2) as pool:
        made = [future.result() for future in [pool.submit(maker.requirements, WHEEL, data) for _ in range(2)]]
    assert made[0] == made[1]
    assert maker.log.text.count("+ tiny==1.0") == 1


def test_a_half_made_image_is_made_again(maker: Maker) -> None:
    data = wheel({"tiny.py": ""})
    image = maker.requirements(WHEEL, data)
    (Path(image.ref) / ".complete").unlink()
    (Path(image.ref) / "left-over").touch()
    assert not maker.images.has(image.key)
    maker.requirements(WHEEL, data)
    assert maker.images.has(image.key)
    assert not (Path(image.ref) / "left-over").exists()


def test_other_bytes_than_locked_are_refused(maker: Maker) -> None:
    with pytest.raises(StepError, match=r"(?i)api/requirements\.txt: .*hash mismatch") as caught:
        maker.requirements(WHEEL, wheel({"tiny.py": ""}), hashed=hash_of(b"something else"))
    assert "lock again" in caught.value.hint
    assert "\n" not in str(caught.value)
    assert not [path for path in maker.home.images.iterdir() if path.name != ".locks"]


def test_requirements_without_hashes_are_refused(maker: Maker) -> None:
    with pytest.raises(StepError, match="--generate-hashes"):
        maker.make("requirements.txt", {"requirements.txt": b"tiny==1.0\n"})


def test_a_python_that_the_project_does_not_take_is_told(maker: Maker, tmp_path: Path) -> None:
    files = locked_project(tmp_path)
    files = {name: data.replace(b'">=3.8"', b'">=3.99"') for name, data in files.items()}
    with pytest.raises(StepError, match=r"3\.99.*requires-python"):
        maker.make("api/uv.lock", files)


def test_a_lock_that_is_none_is_told(maker: Maker) -> None:
    with pytest.raises(StepError, match=r"uv\.lock: .*"):
        maker.make("uv.lock", {"uv.lock": b"{", "pyproject.toml": b'[project]\nname = "x"\nversion = "0"\n'})


def test_a_file_outside_the_repository_is_refused(maker: Maker) -> None:
    with pytest.raises(StepError, match="outside the repository"):
        maker.make("requirements.txt", {"requirements.txt": b"", "../evil": b"x"})


def test_a_source_package_is_built_as_nobody_and_cannot_touch_the_shared_cache(maker: Maker) -> None:
    look = f"seen = [os.getuid(), os.path.exists({str(maker.home.uv_cache)!r}), os.path.exists('/etc/shadow')]"
    image = maker.requirements(SDIST, sdist(look))
    assert ask(image, "import tiny; print(tiny.seen)") == f"[{USER}, False, False]"
    assert "a package has no wheel" in maker.log.text
    assert not list(maker.home.uv_cache.rglob("tiny*"))


def test_a_source_package_that_does_not_build_is_told(maker: Maker) -> None:
    with pytest.raises(StepError, match="a compiler is missing"):
        maker.requirements(SDIST, sdist("raise SystemExit('a compiler is missing')"))


def test_no_code_of_a_wheel_runs_while_its_image_is_made(maker: Maker) -> None:
    code = "import sys; open(sys.prefix + '/was-here', 'w').close()\n"
    image = maker.requirements(WHEEL, wheel({"tiny.pth": code, "tiny.py": ""}))
    assert not (Path(image.ref) / "was-here").exists()


@pytest.mark.parametrize("setting", ["UV_FIND_LINKS", "PIP_FIND_LINKS", "uv.toml"])
def test_packages_come_from_where_this_machine_gets_them(
    maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    mirror.chmod(0o755)
    data = wheel({"tiny.py": ""})
    (mirror / WHEEL).write_bytes(data)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config/uv").mkdir(parents=True)
    if setting == "uv.toml":
        (tmp_path / "config/uv/uv.toml").write_text(f'find-links = ["{mirror}"]\n')
    else:
        monkeypatch.setenv(setting, str(mirror))
    image = maker.make("requirements.txt", {"requirements.txt": f"tiny==1.0 --hash={hash_of(data)}\n".encode()})
    assert ask(image, "import tiny; print('ok')") == "ok"


def test_making_an_image_can_be_given_up(maker: Maker) -> None:
    def give_up() -> None:
        eventually(lambda: "a package has no wheel" in maker.log.text)
        maker.cancel.set()

    thread = threading.Thread(target=give_up)
    thread.start()
    with pytest.raises(CancelledError):
        maker.requirements(SDIST, sdist("import time; time.sleep(60)"))
    thread.join()
    assert not [path for path in maker.home.images.iterdir() if path.name != ".locks"]


def test_a_dockerfile_alone_is_refused_and_told_where_it_works(maker: Maker) -> None:
    spec = ImageSpec(key=digest_of(b"own"), dockerfile="training/Dockerfile", files={"training/Dockerfile": b"FROM x"})
    with pytest.raises(StepError, match=r"training/Dockerfile: one machine has no engine") as refused:
        maker.images.ensure(spec, maker.log, Cancel())
    assert "Google Cloud" in refused.value.hint
